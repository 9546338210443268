"""A new store from what can be read of a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from innkeeper.gateway.salvage.library import Indexed, SalvagedLibrary, salvage_library
from innkeeper.gateway.salvage.sqlite_pages import PageReader, Value
from innkeeper.gateway.salvage.store_tables import (
    BROADCASTS,
    CALLBACKS,
    DELIVERIES,
    ENDED,
    FILE_WATCHES,
    MODEL_CALLS,
    PROJECTS,
    RAISED_BUDGETS,
    RUNS,
    SEEN_FILES,
    TABLES,
    TRIGGERS,
    USAGE_DAYS,
    VERSIONS,
    WORKFLOWS,
)
from innkeeper.gateway.salvage.tables import Row, Table


@dataclass
class SalvagedStore:
    """What became of a store. `runs`: how many are in the new one."""

    runs: int = 0
    library: SalvagedLibrary = field(default_factory=SalvagedLibrary)

    def sentence(self) -> str:
        runs = f"{self.runs} {'run was' if self.runs == 1 else 'runs were'} saved"
        library = self.library.sentence()
        return f"{runs}; {library}" if library else runs


@dataclass
class _Copies:
    """The rows of one table by what each is known by.

    Attributes:
        rank: Of two copies of one row the one with the higher rank counts: SQLite leaves older ones on pages that it
            has freed.
    """

    table: Table
    key: str
    rank: Callable[[Row], tuple[int, ...]]
    rows: dict[Value, Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        known = self.rows.get(row[self.key])
        if known is None or self.rank(row) >= self.rank(known):
            self.rows[row[self.key]] = row


def salvage_store(reader: PageReader, db: sqlite3.Connection, user: str) -> SalvagedStore:
    """Fill a new, empty store.

    Args:
        user: Owns workflows of which nothing says whose they are.
    """
    runs = _Copies(RUNS, "id", lambda row: _numbers(row, "ended_at", "started_at", "sealed"))
    broadcasts = _Copies(BROADCASTS, "id", lambda row: (row["status"] != "open",))
    callbacks = _Copies(CALLBACKS, "number", lambda row: (*_numbers(row, "sends", "attempts"), row["status"] != "new"))
    projects = _Copies(PROJECTS, "number", lambda row: (*_numbers(row, "updated_at"), row["deleted_at"] == 0))
    workflows = _Copies(
        WORKFLOWS, "number", lambda row: (*_numbers(row, "version", "updated_at"), row["deleted_at"] == 0)
    )
    triggers = _Copies(TRIGGERS, "number", lambda row: _numbers(row, "version", "updated_at"))
    deliveries = _Copies(
        DELIVERIES, "id", lambda row: (row["status"] not in ("accepted", "queued"), *_numbers(row, "ended"))
    )
    watches, files = (_Copies(table, "number", lambda row: ()) for table in (FILE_WATCHES, SEEN_FILES))
    raised = _Copies(RAISED_BUDGETS, "number", lambda row: _numbers(row, "raised_at"))
    every = (runs, broadcasts, projects, workflows, triggers, deliveries, callbacks, watches, files, raised)
    copies = {kept.table.name: kept for kept in every}
    indexed = Indexed()
    db.execute("BEGIN")
    for record in reader.records():
        indexed.note(record)
        for table in TABLES:
            if (row := table.read(record)) is None:
                continue
            if table is VERSIONS:
                # A version never changes, and all of them may be more than the memory holds.
                VERSIONS.insert(db, [row])
            elif table is MODEL_CALLS:
                _insert_call(db, row)  # there may be millions of them
            elif table is USAGE_DAYS:
                pass  # they are summed up anew
            else:
                copies[table.name].add(row)
            break
    RUNS.insert(db, sorted((_ended(row) for row in runs.rows.values()), key=_by_end))
    BROADCASTS.insert(db, sorted(broadcasts.rows.values(), key=lambda row: _numbers(row, "created_at")))
    for kept in (triggers, deliveries, callbacks, raised):
        kept.table.insert(db, sorted(kept.rows.values(), key=lambda row: _numbers(row, "number")))
    # Of two rows of one file the later one counts. Watches are not kept: one that goes on would take files whose rows
    # are lost for new ones; one that begins again asks when they came.
    SEEN_FILES.insert(db, sorted(files.rows.values(), key=lambda row: _numbers(row, "number"), reverse=True))
    library = salvage_library(db, indexed, list(workflows.rows.values()), list(projects.rows.values()), user)
    db.execute("COMMIT")
    count: int = db.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    return SalvagedStore(count, library)


def _insert_call(db: sqlite3.Connection, row: Row) -> None:
    """Of two copies of one request the one that tells of its end counts."""
    if row["outcome"] != "open":
        db.execute("DELETE FROM model_calls WHERE id = ? AND outcome IN ('open', 'lost')", [row["id"]])
    MODEL_CALLS.insert(db, [row])


def _ended(row: Row) -> Row:
    is_missing = row["status"] in ENDED and row["ended_at"] is None
    return {**row, "ended_at": row["submitted_at"]} if is_missing else row


def _by_end(row: Row) -> tuple[int, ...]:
    """Runs that have ended come first: a number or a key that two have stays with one that has ended."""
    return (row["ended_at"] is None, *_numbers(row, "number"))


def _numbers(row: Row, *names: str) -> tuple[int, ...]:
    return tuple(value if isinstance(value := row[name], int) else 0 for name in names)
