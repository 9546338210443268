"""Which files are news, told by looks at a folder and a clock of the test's own."""

from __future__ import annotations

import pytest

from innkeeper.gateway.deliveries import file_tracker
from innkeeper.gateway.deliveries.file_tracker import (
    DueFile,
    FileState,
    FileTracker,
    Look,
    SeenFile,
    is_news,
    known_from_start,
)
from innkeeper.gateway.deliveries.watched_folder import FoundFile, Stamp

A = "user://in/a"
STILL_S = 2.0
OLD, NEW, NEWER = Stamp(1, 10), Stamp(2, 20), Stamp(3, 30)


class Folder:
    """A tracker that looks at files of which only stamps are known."""

    def __init__(self, **seen: SeenFile) -> None:
        self.tracker = FileTracker({f"user://in/{name}": file for name, file in seen.items()}, STILL_S)

    def look(self, now_s: float, **files: Stamp) -> Look:
        found = {f"user://in/{name}": FoundFile(stamp, 0) for name, stamp in files.items()}
        return self.tracker.look(found, now_s=now_s, now_ms=round(now_s * 1000) + 1)


def taken(stamp: Stamp, sha256: str = "s", state: FileState = "taken", gone_at: int = 0) -> SeenFile:
    return SeenFile(stamp, sha256, state, gone_at)


def test_file_is_due_when_it_has_been_still() -> None:
    folder = Folder()
    assert folder.look(0, a=NEW) == Look(next_in_s=2)
    assert folder.look(1.5, a=NEW) == Look(next_in_s=0.5)
    assert folder.look(2, a=NEW).due == (DueFile(A, NEW, "created"),)


def test_each_change_starts_the_time_anew() -> None:
    folder = Folder()
    for second in range(10):
        assert folder.look(second, a=Stamp(second, second)).due == ()
    assert folder.look(10.9, a=Stamp(9, 9)).next_in_s == pytest.approx(0.1)
    assert folder.look(11, a=Stamp(9, 9)).due == (DueFile(A, Stamp(9, 9), "created"),)


def test_file_stays_due_until_it_is_noted() -> None:
    folder = Folder()
    folder.look(0, a=NEW)
    assert folder.look(2, a=NEW).due == folder.look(3, a=NEW).due != ()
    folder.tracker.note(A, taken(NEW))
    assert folder.look(4, a=NEW) == Look()


def test_what_was_seen_is_no_news_until_it_changes() -> None:
    folder = Folder(a=taken(OLD))
    assert folder.look(0, a=OLD) == Look()
    folder.look(1, a=NEW)
    assert folder.look(3, a=NEW).due == (DueFile(A, NEW, "changed"),)


def test_file_that_was_gone_is_created_when_it_comes_again() -> None:
    folder = Folder(a=taken(OLD))
    assert folder.look(0) == Look(next_in_s=2)
    assert folder.look(2).changed == {A: taken(OLD, gone_at=2001)}
    assert folder.look(3) == Look()
    folder.look(4, a=NEW)
    assert folder.look(6, a=NEW).due == (DueFile(A, NEW, "created"),)


def test_file_that_comes_back_as_it_was_is_no_news() -> None:
    folder = Folder(a=taken(OLD, gone_at=1))
    assert folder.look(0, a=OLD) == Look(changed={A: taken(OLD)})
    assert folder.look(9, a=OLD) == Look()


def test_file_that_is_missed_for_a_moment_was_changed() -> None:
    """An editor that saves moves the old file away first."""
    folder = Folder(a=taken(OLD))
    folder.look(0)
    folder.look(1, a=NEW)
    assert folder.look(3, a=NEW).due == (DueFile(A, NEW, "changed"),)


def test_file_that_goes_before_it_is_still_is_forgotten() -> None:
    folder = Folder()
    folder.look(0, a=NEW)
    assert folder.look(1) == Look()
    assert folder.look(2, a=NEW).due == ()


def test_the_oldest_file_is_due_first() -> None:
    folder = Folder()
    files = {"a": NEWER, "b": OLD, "c": NEW}
    folder.look(0, **files)
    assert [file.path[-1] for file in folder.look(2, **files).due] == ["b", "c", "a"]


def test_files_that_went_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tracker, "MAX_GONE", 1)
    folder = Folder(a=taken(OLD, gone_at=2), b=taken(OLD, gone_at=1), c=taken(OLD))
    assert folder.tracker.surplus() == ["user://in/b"]
    assert set(folder.tracker.seen) == {A, "user://in/c"}


def test_a_watch_that_begins_knows_what_came_before_it() -> None:
    files = {A: FoundFile(NEW, 99), "user://in/b": FoundFile(NEW, 100), "user://in/c": FoundFile(OLD, 1)}
    seen = {"user://in/c": taken(OLD)}
    assert known_from_start(files, seen, 100) == {A: SeenFile(NEW, None, "known")}
    # Changed while nobody watched: that is not news either.
    assert known_from_start({A: FoundFile(NEW, 99)}, {A: taken(OLD)}, 100) == {A: SeenFile(NEW, None, "known")}


@pytest.mark.parametrize(
    ("seen", "is_new"),
    [
        (None, True),
        (taken(OLD, "s"), False),
        (taken(OLD, "other"), True),
        (SeenFile(OLD, None, "known"), True),
        (taken(OLD, "s", "known"), False),
        (taken(OLD, "s", "passed"), True),
        (taken(OLD, "s", "taken", gone_at=5), True),
    ],
    ids=["new", "touched", "changed", "never looked at", "not wanted", "offered in vain", "was gone"],
)
def test_content_decides_whether_a_file_is_news(seen: SeenFile | None, is_new: bool) -> None:
    assert is_news(seen, "s") is is_new
