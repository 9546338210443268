"""A new event log from what can be read of a damaged one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from innkeeper.gateway.salvage.sqlite_pages import PageReader, Record

ID_CHARS = 64
FINAL = frozenset({"complete", "error", "interrupted"})
MAX_NAMED = 20
"""Runs that one sentence names."""


@dataclass
class SalvagedEvents:
    """What became of a log.

    Attributes:
        runs: Runs that are in the new log.
        incomplete: Runs of which events are missing.
    """

    runs: int = 0
    incomplete: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        whole = self.runs - len(self.incomplete)
        said = f"the events of {whole} runs were saved whole"
        return f"{said}; events are missing of {named(self.incomplete)}" if self.incomplete else said


def named(runs: list[str]) -> str:
    """Runs, as a sentence lists them."""
    more = f" and {len(runs) - MAX_NAMED} more" if len(runs) > MAX_NAMED else ""
    return ("run " if len(runs) == 1 else "runs ") + ", ".join(runs[:MAX_NAMED]) + more


def salvage_events(reader: PageReader, db: sqlite3.Connection, salvaged: SalvagedEvents) -> None:
    """Fill a new, empty log. Its runs end where their last event is: only so can open ones be written on."""
    known: dict[str, tuple[int, int | None, int, str]] = {}
    db.execute("BEGIN")
    for record in reader.records():
        if (row := _event_row(record)) is not None:
            db.execute("INSERT OR IGNORE INTO rows VALUES(?,?,?,?)", row)
        elif (entry := _run_row(record)) is not None:
            known[entry[0]] = entry[1:]
    for run in sorted(known.keys() | {name for (name,) in db.execute("SELECT DISTINCT run FROM rows")}):
        last, size, holes = _extent(db, run)
        created, sealed, told, meta = known.get(run) or (*_times(db, run), last, "{}")
        db.execute("INSERT INTO runs VALUES(?,?,?,?,?,?)", (run, created, sealed, last, size, meta))
        salvaged.runs += 1
        if holes or last < told:
            salvaged.incomplete.append(run)
    db.execute("COMMIT")


def _event_row(record: Record) -> tuple[str, int, int, bytes] | None:
    match record:
        case (int(), (str(run), int(last), int(first), bytes(body))) if 0 < first <= last and _is_id(run):
            return (run, last, first, body) if body.count(b"\n") == last - first else None
    return None


def _run_row(record: Record) -> tuple[str, int, int | None, int, str] | None:
    match record:
        case (None, (str(run), int(created), int() | None as sealed, int(last), int(), str(meta))) if _is_id(run):
            return run, created, sealed, last, meta if _is_object(meta) else "{}"
    return None


def _is_id(run: str) -> bool:
    return 0 < len(run) <= ID_CHARS and run.isprintable()


def _is_object(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return isinstance(orjson.loads(text), dict)
    return False


def _extent(db: sqlite3.Connection, run: str) -> tuple[int, int, bool]:
    """The last event of a run, the bytes of all, and whether some are missing before the last."""
    expected, size, holes = 1, 0, False
    rows = db.execute("SELECT first_seq, last_seq, LENGTH(body) FROM rows WHERE run=? ORDER BY last_seq", (run,))
    for first, last, length in rows:
        holes |= first != expected
        expected, size = last + 1, size + length
    return expected - 1, size, holes


def _times(db: sqlite3.Connection, run: str) -> tuple[int, int | None]:
    """When a run began, and when it was sealed, by its events."""
    events = list(_first_and_last(db, run))
    times = [moment for event in events if isinstance(moment := event.get("ts"), int)] or [0]
    return times[0], times[-1] if final_status(db, run) else None


def final_status(db: sqlite3.Connection, run: str) -> str | None:
    """The status that a run ended with, by the last event of its log."""
    events = list(_first_and_last(db, run))
    payload = events[-1].get("payload") if events else None
    status = payload.get("status") if isinstance(payload, dict) else None
    return status if status in FINAL else None


def _first_and_last(db: sqlite3.Connection, run: str) -> Iterator[dict[str, object]]:
    for order, index in (("ASC", 0), ("DESC", -1)):
        found = db.execute(f"SELECT body FROM rows WHERE run=? ORDER BY last_seq {order} LIMIT 1", (run,)).fetchone()
        with contextlib.suppress(ValueError, TypeError):
            event = orjson.loads(found[0].split(b"\n")[index].partition(b"\t")[0])
            if isinstance(event, dict):
                yield event
