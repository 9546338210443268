"""Schemas whose text is damaged, which SQLite's own checks do not see."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.container import Container, StoreUnusable, open_container
from innkeeper.gateway.events import sqlite as event_log
from innkeeper.gateway.events.log import Batch
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.sqlite_schema import create_tables, log_schema_problem
from innkeeper.gateway.salvage.database import DatabaseFile, problem_in
from innkeeper.gateway.salvage.events import SalvagedEvents, salvage_events
from innkeeper.gateway.salvage.schema import SchemaCheck, schema_of
from innkeeper.gateway.salvage.sqlite_pages import HEADER_BYTES, PageReader
from innkeeper.gateway.salvage.store_tables import TABLES
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.engine import NEWEST, create_store
from innkeeper.gateway.store.schema_check import newest_schema, schema_at, store_schema_problem
from innkeeper.nodes.services.damaged import told_since
from tests.effort import LONG
from tests.gateway.salvage.test_rows import RUNS, ended
from tests.gateway.salvage.test_store_tables import REVISIONS, migrate

STRIDE = 1 if LONG else 7
"""Each so manieth byte of the store's schema, which has 9,000 of them."""


def problem(path: Path, check: SchemaCheck) -> str | None:
    """At a start of which nothing is known."""
    for suffix in ("-wal", "-shm", ".state"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return DatabaseFile(path, "boot", check).problem()


@contextlib.contextmanager
def memory(image: bytes = b"") -> Iterator[sqlite3.Connection]:
    """A database in memory: a copy of a file without a write-ahead log, or an empty one."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        if image:
            db.deserialize(image)
        yield db


def image_of(path: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    return path.read_bytes()


def schema_text(image: bytes) -> list[int]:
    """Where the bytes of names and statements are that describe the tables."""
    with memory(image) as db:
        entries = db.execute("SELECT type || name || tbl_name, sql FROM sqlite_schema").fetchall()
    texts = [text.encode() for entry in entries for text in entry if text is not None]
    return [place for text in texts for place in range(image.index(text), image.index(text) + len(text))]


def flips(image: bytes, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Copies with one bit changed, at each of some places; which bit it is changes with the place."""
    for place in places:
        spoiled = bytearray(image)
        spoiled[place] ^= 1 << place % 8
        yield place, bytes(spoiled)


def is_found(image: bytes, check: SchemaCheck) -> bool:
    with memory(image) as db:
        return problem_in(db, "integrity_check(1)", check) is not None


# --- the event log ----------------------------------------------------------------------------------------------------

Rows = list[tuple[Any, ...]]


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log of one run that has ended, and one that is open."""
    path = tmp_path / "events.db"
    opened = await SqliteEventLog.open(path, boot="boot")
    for run in ("ended", "open"):
        batch = Batch(run, 1, [b'{"seq":1}', b'{"seq":2}'], new_run_meta={"of": run}, is_last=run == "ended")
        await opened.append([batch])
    await opened.close()
    return path


def rows_of(db: sqlite3.Connection) -> Rows:
    runs = db.execute(f"SELECT {event_log._RUN_COLUMNS} FROM runs ORDER BY run").fetchall()
    return runs + db.execute("SELECT run, last_seq, first_seq, body FROM rows ORDER BY run, last_seq").fetchall()


def saved(image: bytes) -> Rows:
    with memory() as db:
        create_tables(db)
        salvage_events(PageReader(image), db, SalvagedEvents())
        return rows_of(db)


def use_log(db: sqlite3.Connection) -> None:
    """All that is ever done with the log."""
    event_log._commit(db, lambda db: event_log._identify(db, Path("events.db"), "boot"))
    batches = [Batch("open", 3, [b"{}"]), Batch("new", 1, [b"{}"], new_run_meta={})]
    event_log._commit(db, lambda db: event_log._append(db, batches))
    event_log._commit(db, lambda db: event_log._seal(db, ["open", "new"]))
    assert event_log._too_old_or_much(db, -1, 0) == ["ended", "open", "new"]
    assert len(event_log._select_events(db, "open", after=0, limit=9, max_bytes=999)) == 3
    event_log._commit(db, lambda db: event_log._delete(db, "new"))
    event_log._give_back(db)
    assert event_log._stats(db)["events"] == 5


async def test_log_with_any_byte_of_its_schema_changed_works_or_keeps_all_events(log: Path) -> None:
    image = image_of(log)
    with memory(image) as db:
        before = rows_of(db)
    found = works = 0
    for place, spoiled in flips(image, schema_text(image)):
        if is_found(spoiled, log_schema_problem):
            assert saved(spoiled) == before, place
            found += 1
        else:
            with memory(spoiled) as db:
                assert rows_of(db) == before, place
                use_log(db)
            works += 1
    assert found > 10 * works > 0


async def test_log_with_any_byte_of_its_header_changed_works_or_keeps_all_events(log: Path) -> None:
    whole = log.read_bytes()
    with contextlib.closing(sqlite3.connect(log)) as db:
        before = rows_of(db)
    for place, spoiled in flips(whole, range(HEADER_BYTES)):
        log.write_bytes(spoiled)
        if problem(log, log_schema_problem) is not None:
            assert saved(spoiled) == before, place
            continue
        with contextlib.closing(event_log._open_writer(log, False, "boot")[0]) as db:
            assert rows_of(db) == before, place


async def test_log_of_a_newer_version_is_left_alone_and_a_garbled_version_is_damage(log: Path) -> None:
    for version, words in (("2", None), ("10", None), ("q", "format"), ("0", "format"), ("", "format")):
        with contextlib.closing(sqlite3.connect(log)) as db, db:
            db.execute("UPDATE meta SET value=? WHERE key='format_version'", (version,))
            db.execute("ALTER TABLE runs RENAME COLUMN last_seq TO newest")
        found = problem(log, log_schema_problem)
        assert (found is None) if words is None else (words in (found or "")), version
        with contextlib.closing(sqlite3.connect(log)) as db, db:
            db.execute("ALTER TABLE runs RENAME COLUMN newest TO last_seq")


def test_log_that_was_not_made_yet_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        assert log_schema_problem(db) is None
    assert problem(path, log_schema_problem) is None


# --- the store --------------------------------------------------------------------------------------------------------


def use_store(db: sqlite3.Connection) -> None:
    """Read and write all columns of all tables."""
    for table in TABLES:
        names = ", ".join(table.columns)
        # Each row is there already: a key that does not hold would let a second one in.
        copies = db.execute(f"INSERT OR IGNORE INTO {table.name}({names}) SELECT {names} FROM {table.name}")
        assert copies.rowcount == 0
    assert db.execute("SELECT id FROM runs").fetchall() == [("r",)]


def test_store_with_any_byte_of_its_schema_changed_works_or_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    create_store(path)
    add_run(path)
    image = image_of(path)
    found = works = 0
    for _, spoiled in flips(image, schema_text(image)[::STRIDE]):
        if is_found(spoiled, store_schema_problem):
            found += 1
        else:
            with memory(spoiled) as db:
                use_store(db)
            works += 1
    assert found > 5 * works > 0


def add_run(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO runs(id, user_id, status, interrupt_requested, sealed, submitted_at, interface, warnings) "
            "VALUES('r', 'u', 'complete', 0, 1, 5, '{}', '[]')"
        )


@pytest.mark.parametrize("revision", REVISIONS)
def test_store_of_each_version_is_sound_before_and_after_its_migration(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "gateway.db"
    migrate(path, revision)
    assert problem(path, store_schema_problem) is None
    migrate(path, "head")
    assert problem(path, store_schema_problem) is None


def test_migrations_and_models_make_the_same_tables() -> None:
    assert schema_at(NEWEST).items() >= newest_schema().items()


@pytest.mark.parametrize("revision", ["0001", "0009", "0012"])
def test_damaged_store_of_an_older_version_is_found(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "gateway.db"
    migrate(path, revision)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE runs RENAME COLUMN sealed TO seale")
    assert "sealed" in (problem(path, store_schema_problem) or "")


VERSIONS: dict[str, tuple[str, str | None]] = {
    "next": ("UPDATE alembic_version SET version_num='0014'", None),
    "far": ("UPDATE alembic_version SET version_num='9999'", None),
    "older": ("UPDATE alembic_version SET version_num='0011'", "columns"),
    "zero": ("UPDATE alembic_version SET version_num='0000'", "version"),
    "garbled": ("UPDATE alembic_version SET version_num='00q3'", "version"),
    "bytes": ("UPDATE alembic_version SET version_num=x'30303133'", "version"),
    "empty": ("UPDATE alembic_version SET version_num=''", "version"),
    "none": ("DELETE FROM alembic_version", "version"),
    "two": ("INSERT INTO alembic_version VALUES('0012')", "version"),
    "table": ("DROP TABLE alembic_version", "alembic_version"),
}
OTHERS: dict[str, tuple[str, str | None]] = {
    "index that helps": ("CREATE INDEX mine ON runs(workflow_name)", None),
    "index of a text": ("CREATE INDEX mine ON runs(lower(workflow_name))", None),
    "view": ("CREATE VIEW mine AS SELECT id FROM runs", None),
    "another table": ("CREATE TABLE mine(a)", None),
    "statistics": ("ANALYZE", None),
    "trigger": ("CREATE TRIGGER mine BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'no'); END", "trigger"),
    "unique index": ("CREATE UNIQUE INDEX mine ON runs(status)", "index"),
    "index that is gone": ("DROP INDEX ix_runs_sealed", "index"),
    "table that is gone": ("DROP TABLE broadcasts", "broadcasts"),
    "column too many": ("ALTER TABLE runs ADD COLUMN more TEXT NOT NULL DEFAULT ''", "more"),
}


@pytest.mark.parametrize(("change", "expected"), (VERSIONS | OTHERS).values(), ids=(VERSIONS | OTHERS).keys())
def test_what_counts_as_damage_of_a_store(tmp_path: Path, change: str, expected: str | None) -> None:
    path = tmp_path / "gateway.db"
    create_store(path)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    found = problem(path, store_schema_problem)
    assert found is None if expected is None else expected in (found or "")


# --- a gateway --------------------------------------------------------------------------------------------------------


def flip_text(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def change(path: Path, query: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(query)


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "column of the log": ("events.db", lambda path: flip_text(path, b"last_seq INTEGER", b"last_req INTEGER")),
    "table of the log": ("events.db", lambda path: flip_text(path, b"TABLE rows(", b"TABLE rowr(")),
    "column of the store": ("gateway.db", lambda path: flip_text(path, b"\tstatus VARCHAR", b"\tstauus VARCHAR")),
    "name in the store": ("gateway.db", lambda path: flip_text(path, b"tablerunsruns", b"tablerunsrunr")),
    "version of the store": ("gateway.db", lambda path: change(path, "UPDATE alembic_version SET version_num='00!3'")),
    "no version of the store": ("gateway.db", lambda path: change(path, "DELETE FROM alembic_version")),
}


async def seen(container: Container) -> list[Any]:
    return [
        [
            {**await container.runs.status(run), "logId": None},
            [event async for page in container.reader.follow(run) for event in page],
        ]
        for run in RUNS
    ]


@pytest.mark.parametrize(("file", "damage"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_gateway_saves_all_runs_of_a_database_with_a_damaged_schema(
    tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    settings = Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9")
    async with open_container(settings) as container:
        for run in RUNS:
            await ended(container, run)
        before = await seen(container)
    damage(tmp_path / file)
    async with open_container(settings) as container:
        assert await seen(container) == before
        async with asyncio.timeout(30):
            await ended(container, "new")
    assert file in " ".join(told_since(tmp_path, 0))


async def test_store_of_a_newer_version_stays_as_it_is(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9")
    create_store(settings.store_path)
    change(settings.store_path, "UPDATE alembic_version SET version_num='0014'")
    change(settings.store_path, "ALTER TABLE runs RENAME COLUMN sealed TO ended")
    with contextlib.closing(sqlite3.connect(settings.store_path)) as db:
        before = schema_of(db)
    with pytest.raises(StoreUnusable, match="another version"):
        async with open_container(settings):
            pass
    with contextlib.closing(sqlite3.connect(settings.store_path)) as db:
        assert schema_of(db) == before
    assert told_since(tmp_path, 0) == []
