from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.gateway.salvage import database
from innkeeper.gateway.salvage.database import SMALL_BYTES, DatabaseFile, Mark, needs_look
from innkeeper.gateway.salvage.sqlite_pages import PageReader
from innkeeper.gateway.salvage.wal import WalState, wal_state

LARGE = SMALL_BYTES + 1


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (None, True),
        (Mark("boot", LARGE, 5), False),
        (Mark("earlier boot", LARGE, 5), False),
        (Mark("boot", LARGE, 6), True),
        (Mark("boot", LARGE + 1, 5), True),
        (Mark("boot"), False),
        (Mark("earlier boot"), True),
        (Mark("boot", suspect=True), True),
    ],
)
def test_large_file_is_looked_through_only_when_there_is_a_sign(mark: Mark | None, expected: bool) -> None:
    assert needs_look(mark, LARGE, 5, "boot") is expected
    assert needs_look(mark, 100, 5, "boot")


def filled(path: Path, rows: int = 400) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        db.executemany("INSERT INTO t VALUES(?,?)", ((number, "x" * 200) for number in range(rows)))
        db.commit()
    return path


def with_open_wal(path: Path, folder: Path) -> Path:
    """A copy of a database whose last commit is in its write-ahead log only, as a killed process leaves it."""
    with contextlib.closing(sqlite3.connect(filled(path))) as db:
        db.execute("INSERT INTO t VALUES(1000, 'newest')")
        db.commit()
        copy = folder / "left.db"
        copy.write_bytes(path.read_bytes())
        copy.with_name("left.db-wal").write_bytes(path.with_name(f"{path.name}-wal").read_bytes())
    return copy


def saved(file: DatabaseFile) -> set[int]:
    """Rebuild a database; the keys of the rows that could be read."""
    found: set[int] = set()

    def fill(reader: PageReader, draft: Path) -> None:
        found.update(record.rowid for record in reader.records() if record.rowid is not None)
        filled(draft, 1)

    file.rebuild(fill)
    return found


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * 4096 : 3 * 4096] = os.urandom(4096)
    path.write_bytes(data)


def test_sound_database_has_no_problem_and_stays_as_it_is(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db")
    before = path.read_bytes()
    assert DatabaseFile(path, "boot").problem() is None
    assert path.read_bytes() == before
    assert DatabaseFile(tmp_path / "none.db", "boot").problem() is None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, ""),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(os.urandom(9000)), "not a database"),
        (lambda path: os.truncate(path, 5000), ""),
        (lambda path: (path.unlink(), path.mkdir()), "not a file"),
        (lambda path: (path.unlink(), path.with_name("a.db-wal").write_bytes(b"x")), "missing"),
    ],
)
def test_damaged_database_is_found_and_put_aside_as_it_was(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    path = filled(tmp_path / "a.db")
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    file = DatabaseFile(path, "boot")
    problem = file.problem()
    assert problem is not None
    assert reason in problem
    saved(file)
    assert DatabaseFile(path, "boot").problem() is None
    asides = [aside for aside in tmp_path.glob("a.db.damaged-*") if aside.is_file()]
    assert [aside.read_bytes() for aside in asides] == ([before] if before is not None else [])


def test_what_a_query_finds_damaged_is_rebuilt_at_the_next_start_even_if_no_check_sees_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db")
    file = DatabaseFile(path, "boot")
    file.note_open()
    file.note_suspect()
    file.note_closed()
    assert "query" in (DatabaseFile(path, "boot").problem() or "")
    assert len(saved(file)) >= 400
    file.note_open()
    assert DatabaseFile(path, "boot").problem() is None


def test_large_file_that_somebody_has_changed_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SMALL_BYTES", 0)
    path = filled(tmp_path / "a.db")
    file = DatabaseFile(path, "boot")
    file.note_open()
    file.note_closed()
    damaged(path)
    assert file.problem() is not None
    file.note_open()  # and its process was killed, which harms no file
    assert DatabaseFile(path, "boot").problem() is None
    assert DatabaseFile(path, "next boot").problem() is not None


def used(path: Path, work: str = "SELECT 1") -> None:
    """A process of somebody else has made or used the database, between its start and its end."""
    file = DatabaseFile(path, "boot")
    assert file.problem() is None
    file.note_open()
    with contextlib.closing(sqlite3.connect(path if path.exists() else filled(path))) as db, db:
        db.execute(work)
    file.note_closed()


def test_schema_of_others_that_was_damaged_is_found_and_one_that_they_changed_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    used(path)
    used(path, "ALTER TABLE t ADD COLUMN c")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"TABLE t(a", b"TABLE t(e"))
    file = DatabaseFile(path, "boot")
    assert "schema" in (file.problem() or "")
    file.set_aside()
    used(path)
    path.unlink()
    used(path)


def test_schema_of_others_is_known_also_when_they_left_a_write_ahead_log(tmp_path: Path) -> None:
    copy = with_open_wal(tmp_path / "a.db", tmp_path)
    wal = copy.with_name("left.db-wal")
    before = wal.read_bytes()
    file = DatabaseFile(copy, "boot")
    file.note_open()
    file.note_closed()
    assert wal.read_bytes() == before
    assert DatabaseFile(copy, "boot").problem() is None
    copy.write_bytes(copy.read_bytes().replace(b"TABLE t(a", b"TABLE t(e"))
    assert "schema" in (DatabaseFile(copy, "boot").problem() or "")


def test_commits_that_are_only_in_the_write_ahead_log_are_saved(tmp_path: Path) -> None:
    for spoiled in (1, 2):
        copy = with_open_wal(tmp_path / f"a{spoiled}.db", tmp_path)
        data = bytearray(copy.read_bytes())
        data[(spoiled - 1) * 4096 : spoiled * 4096] = bytes(4096)
        copy.write_bytes(data)
        assert 1000 in saved(DatabaseFile(copy, "boot"))


def test_damaged_write_ahead_log_is_told_of_and_kept(tmp_path: Path) -> None:
    copy = with_open_wal(tmp_path / "a.db", tmp_path)
    wal = copy.with_name("left.db-wal")
    whole = wal.read_bytes()
    file = DatabaseFile(copy, "boot")
    assert file.keep_damaged_wal() is None
    file.note_open()
    file.note_closed()
    assert file.keep_damaged_wal() is None

    spoiled = bytearray(whole)
    spoiled[-100] ^= 8
    for content, reason in ((bytes(spoiled), "can be read"), (whole[:-4120], "cut short"), (b"x" * 99, "can be read")):
        wal.write_bytes(content)
        os.utime(wal, (1, 1))
        assert reason in (file.keep_damaged_wal() or "")
    assert {aside.read_bytes() for aside in tmp_path.glob("left.db-wal.damaged-*")} >= {bytes(spoiled), b"x" * 99}
    wal.unlink()
    assert "missing" in (file.keep_damaged_wal() or "")


def test_every_flipped_frame_of_a_write_ahead_log_is_seen(tmp_path: Path) -> None:
    copy = with_open_wal(tmp_path / "a.db", tmp_path)
    whole = copy.with_name("left.db-wal").read_bytes()
    frames = wal_state(whole).frames
    assert wal_state(whole) == WalState(frames, frames)
    for number in range(frames):
        for place in (8, 20, 3000):
            spoiled = bytearray(whole)
            spoiled[32 + number * 4120 + place] ^= 1
            # The salt of the last frame cannot be told from the end of the log.
            assert not wal_state(bytes(spoiled)).is_whole or (place, number) == (8, frames - 1)
