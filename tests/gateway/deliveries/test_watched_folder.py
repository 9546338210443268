"""Looking into real folders."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from innkeeper.gateway.deliveries import watched_folder
from innkeeper.gateway.deliveries.watched_folder import FileChanged, Stamp, WatchedFolder, is_shared, stamp_of
from innkeeper.nodes.errors import ResourceError

FOLDER = "user://in"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "users" / "ann" / "in"
    root.mkdir(parents=True)
    return root


def watched(root: Path, glob: str = "**", folder: str = FOLDER) -> WatchedFolder:
    return WatchedFolder(root.parents[2], "ann", folder, glob)


def names(root: Path, glob: str = "**") -> list[str]:
    return sorted(path.removeprefix(f"{FOLDER}/") for path in watched(root, glob).scan().files)


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_that_fit_are_found_with_size_and_time(root: Path) -> None:
    put(root / "a.png", "abc")
    put(root / "x" / "b.png")
    put(root / "c.txt")
    os.utime(root / "a.png", ns=(5, 7))
    found = watched(root, "**/*.png").scan()
    assert found.files.keys() == {"user://in/a.png", "user://in/x/b.png"}
    assert found.files["user://in/a.png"].stamp == Stamp(3, 7)
    assert {Path(place.path) for place in found.places} == {root, root / "x"}
    assert names(root, "*.png") == ["a.png"]


def test_hidden_and_temporary_files_are_left_out(root: Path) -> None:
    left_out = [
        *(".hidden", ".~lock.a.odt#", ".new-abcdefgh", "~$a.docx", "a.txt~"),
        *("a.part", "a.PART", "a.crdownload", "a.filepart", "a.tmp", ".a.swp", ".deleted/a", "x/.git/a"),
    ]
    for name in (*left_out, "a.txt", "apart"):
        put(root / name)
    assert names(root) == ["a.txt", "apart"]


def test_folder_that_is_not_there_is_empty(root: Path) -> None:
    found = watched(root, folder="user://in/deeper/down").scan()
    assert (found.files, found.places, found.problems, found.refusal) == ({}, set(), [], None)
    put(root / "file")
    assert watched(root, folder="user://in/file").scan().refusal is None


def test_symbolic_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "secret")
    put(root / "a")
    (root / "file").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "inside").symlink_to(root / "a")
    (root / "nowhere").symlink_to(root / "gone")
    found = watched(root).scan()
    assert found.files.keys() == {"user://in/a"}
    assert {Path(place.path) for place in found.places} == {root}
    assert "'user://in/file' is not taken: it is a symbolic link" in found.problems


def test_folder_that_leads_out_is_refused(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "secret")
    (root / "out").symlink_to(tmp_path / "outside")
    found = watched(root, folder="user://in/out").scan()
    assert found.files == {}
    assert "a symbolic link leads out of its folder" in str(found.refusal)
    with pytest.raises(ResourceError, match="leads out"):
        watched(root).sha256("user://in/out/secret", Stamp(1, 1), threading.Event())


def test_what_is_no_file_is_left_out(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    assert names(root) == []


def test_name_that_is_no_text_is_told_and_left_out(root: Path) -> None:
    with open(os.fsencode(root) + b"/\xff", "w"):
        pass
    put(root / "a")
    found = watched(root).scan()
    assert found.files.keys() == {"user://in/a"}
    assert found.problems == ["a file in 'user://in' is not taken: its name is not UTF-8"]


@pytest.mark.parametrize(("bound", "words"), [("MAX_FILES", "files that fit '**'"), ("MAX_ENTRIES", "names")])
def test_too_many_files_are_refused_together(
    root: Path, monkeypatch: pytest.MonkeyPatch, bound: str, words: str
) -> None:
    monkeypatch.setattr(watched_folder, bound, 3)
    for number in range(3):
        put(root / f"{number}")
    assert watched(root).scan().refusal is None
    put(root / "3")
    found = watched(root).scan()
    assert found.files == {}
    assert found.places  # events tell when there are fewer
    assert found.refusal == f"'user://in' holds more than 3 {words}; nothing is taken until there are fewer"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_folder_that_cannot_be_listed_is_told(root: Path) -> None:
    put(root / "a")
    put(root / "shut" / "b")
    (root / "shut").chmod(0)
    try:
        found = watched(root).scan()
        assert found.files.keys() == {"user://in/a"}
        assert found.problems == ["'user://in/shut' cannot be listed: Permission denied"]
        root.chmod(0)
        # Of its files nothing is known, so nothing is said.
        assert watched(root).scan().refusal == "'user://in' cannot be listed: Permission denied"
    finally:
        root.chmod(0o700)
        (root / "shut").chmod(0o700)


def test_content_is_hashed_in_pieces(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_folder, "HASHED_AT_ONCE", 10)
    file = put(root / "a", "0123456789" * 5 + "end")
    stamp = stamp_of(file.stat())
    assert (
        watched(root).sha256("user://in/a", stamp, threading.Event()) == hashlib.sha256(file.read_bytes()).hexdigest()
    )


def test_file_that_changes_while_it_is_read_has_no_hash(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(root / "a", "before")
    stamp = stamp_of(file.stat())
    digest = watched_folder._digest

    def meanwhile(*args: object) -> str:
        found = digest(*args)  # type: ignore[arg-type]
        file.write_text("after it was read")
        return found

    monkeypatch.setattr(watched_folder, "_digest", meanwhile)
    with pytest.raises(FileChanged):
        watched(root).sha256("user://in/a", stamp, threading.Event())


def test_file_that_is_not_as_it_was_found_has_no_hash(root: Path) -> None:
    file = put(root / "a", "before")
    stamp = stamp_of(file.stat())
    file.write_text("longer than before")
    with pytest.raises(FileChanged):
        watched(root).sha256("user://in/a", stamp, threading.Event())
    file.unlink()
    with pytest.raises(FileChanged):
        watched(root).sha256("user://in/a", stamp, threading.Event())


def test_hashing_stops_when_nobody_wants_to_know(root: Path) -> None:
    file = put(root / "a", "x")
    stop = threading.Event()
    stop.set()
    with pytest.raises(FileChanged):
        watched(root).sha256("user://in/a", stamp_of(file.stat()), stop)


def test_time_beyond_what_a_database_keeps_is_its_last_one(root: Path) -> None:
    file = put(root / "a")
    facts = list(file.stat())
    result = os.stat_result(facts, {"st_mtime_ns": 2**70})
    assert stamp_of(result).mtime_ns == 2**63 - 1


@pytest.mark.parametrize(
    ("file_system", "shared"),
    [("ext4", False), ("overlay", False), (None, False), ("fuseblk", False), ("nfs4", True), ("fuse.s3fs", True)],
)
def test_file_systems_that_others_write_to_tell_nothing(file_system: str | None, shared: bool) -> None:
    assert is_shared(file_system) is shared
