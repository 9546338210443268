"""A new index of runs from what can be read of a damaged one, and from the event log."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path

import orjson

from innkeeper.gateway.salvage.events import final_status
from innkeeper.gateway.salvage.sqlite_pages import PageReader, Record, Value

STATUSES = frozenset({"queued", "running", "complete", "error", "interrupted"})
ENDED = frozenset({"complete", "error", "interrupted"})
_MODEL_ORDER = (
    *("number", "id", "user_id", "workflow_id", "workflow_name", "status", "interrupt_requested", "interrupted_at"),
    *("terminate", "paused", "sealed", "submitted_at", "started_at", "ended_at", "key_hash", "body_hash", "plan"),
    *("interface", "warnings", "result", "plan_hash", "rerun", "preview", "over_socket"),
    *("project_id", "workflow_version", "versions"),
)
_FORCE, _RERUNS = ("interrupted_at", "terminate"), ("plan_hash", "rerun", "preview")
_LATER = ("over_socket", "project_id", "workflow_version", "versions")
_OLDEST = tuple(name for name in _MODEL_ORDER if name not in (*_FORCE, "paused", *_RERUNS, *_LATER))
_BEFORE_FORCE = (*(name for name in _MODEL_ORDER if name not in (*_FORCE, *_LATER)), *_FORCE, *_LATER)
_ORDERS = (_MODEL_ORDER, _BEFORE_FORCE, (*_OLDEST, "paused", *_RERUNS, *_FORCE, *_LATER))
"""Of files that were made by this version, and by earlier ones: what came later stands at their end."""
_COUNTS = frozenset({17, 18, 21, 23, 24, 27})
_FLAGS = ("interrupt_requested", "terminate", "paused", "sealed", "preview", "over_socket")
_NUMBERS = ("workflow_version", "interrupted_at", "submitted_at", "started_at", "ended_at")
_TEXTS = ("workflow_id", "workflow_name", "key_hash", "body_hash", "plan_hash", "project_id")
_JSON: Mapping[str, tuple[type, str | None]] = {
    "interface": (dict, "{}"),
    "warnings": (list, "[]"),
    "rerun": (dict, None),
    "versions": (dict, None),
}
_INSERT = f"INSERT OR IGNORE INTO runs({', '.join(_MODEL_ORDER)}) VALUES({', '.join('?' * len(_MODEL_ORDER))})"
Row = dict[str, Value]
Logged = tuple[str, int, int | None]


def salvage_runs(reader: PageReader, db: sqlite3.Connection) -> int:
    """Fill a new, empty index; gives the number of its runs."""
    found: dict[Value, Row] = {}
    for record in reader.records():
        # Of two copies of one row the later one counts; SQLite leaves older ones on pages that it has freed.
        if (row := _run_row(record)) is not None and not (row["id"] in found and row["ended_at"] is None):
            found[row["id"]] = row
    db.execute("BEGIN")
    for row in sorted(found.values(), key=lambda row: (row["ended_at"] is None, row["number"])):
        db.execute(_INSERT, [row[name] for name in _MODEL_ORDER])
    db.execute("COMMIT")
    count: int = db.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    return count


def _run_row(record: Record) -> Row | None:
    if record.rowid is None or len(record.values) not in _COUNTS:
        return None
    for order in _ORDERS:
        row = _sound({**dict.fromkeys(_MODEL_ORDER), **dict(zip(order, record.values, strict=False))}, record.rowid)
        if row is not None:
            return row
    return None


def _sound(row: Row, number: int) -> Row | None:
    """The row with nothing in it that cannot be read; None when it is no run."""
    run, user, status, submitted = row["id"], row["user_id"], row["status"], row["submitted_at"]
    flags = [row[name] for name in ("interrupt_requested", "sealed")]
    is_run = isinstance(run, str) and 0 < len(run) <= 64 and run.isprintable()
    if not is_run or not isinstance(user, str) or status not in STATUSES or not isinstance(submitted, int):
        return None
    if not all(flag in (0, 1) for flag in flags) or not isinstance(row["interface"], str):
        return None
    sound: Row = {**row, "number": number}
    sound.update({name: int(row[name] == 1) for name in _FLAGS})
    sound.update({name: row[name] if isinstance(row[name], int) else None for name in _NUMBERS})
    sound.update({name: row[name] if isinstance(row[name], str) else None for name in _TEXTS})
    sound.update({name: _json_or(row[name], *kind) for name, kind in _JSON.items()})
    sound["result"] = row["result"] if _unpacks(row["result"]) else None
    sound["plan"] = row["plan"] if _unpacks(row["plan"]) else None
    if sound["status"] in ENDED and sound["ended_at"] is None:
        sound["ended_at"] = submitted
    return sound


def _json_or(text: Value, kind: type, otherwise: str | None) -> str | None:
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(text, str) and isinstance(orjson.loads(text), kind):
            return text
    return otherwise


def _unpacks(data: Value) -> bool:
    if not isinstance(data, bytes):
        return False
    with contextlib.suppress(zlib.error):
        zlib.decompress(data)
        return True
    return False


def missing_runs(store: Path | None, log: Path) -> list[Logged]:
    """Runs `(id, created, sealed)` of an event log that a store, if there is one, does not know; oldest first."""
    with contextlib.closing(sqlite3.connect(log)) as db:
        logged: list[Logged] = []
        with contextlib.suppress(sqlite3.OperationalError):  # a log without tables yet
            logged = db.execute("SELECT run, created_ms, sealed_ms FROM runs ORDER BY created_ms, run").fetchall()
    if store is None:
        return logged
    with contextlib.closing(sqlite3.connect(store)) as db:
        known = {run for (run,) in db.execute("SELECT id FROM runs")}
    return [run for run in logged if run[0] not in known]


def restore_runs(store: Path, log: Path, user: str) -> list[str]:
    """Add the runs that only the event log knows: one that has not ended is followed again.

    `interface` says nothing of outputs then: whatever the engine gives counts as one.
    """
    missing = missing_runs(store, log)
    with contextlib.closing(sqlite3.connect(log)) as events, contextlib.closing(sqlite3.connect(store)) as db, db:
        for run, created, sealed in missing:
            status = final_status(events, run) or ("running" if sealed is None else "error")
            row: Row = {
                **dict.fromkeys(_MODEL_ORDER),
                **dict.fromkeys(_FLAGS, 0),
                **{"id": run, "user_id": user, "status": status, "submitted_at": created, "started_at": created},
                **{"interface": "{}", "warnings": "[]", "sealed": int(sealed is not None)},
                "ended_at": (sealed or created) if status in ENDED else None,
            }
            db.execute(_INSERT, [row[name] for name in _MODEL_ORDER])
    return [run for run, _, _ in missing]
