"""Runs that only the event log knows."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from innkeeper.gateway.salvage.events import final_status
from innkeeper.gateway.salvage.store_tables import ENDED, RUNS
from innkeeper.gateway.salvage.tables import LATEST_MS, Row

Logged = tuple[str, int, int | None]


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
        for run, noted, sealed in missing:
            created = min(max(noted, 0), LATEST_MS)
            status = final_status(events, run) or ("running" if sealed is None else "error")
            row: Row = {
                **{"id": run, "user_id": user, "status": status, "submitted_at": created, "started_at": created},
                **{"interface": "{}", "interrupt_requested": 0, "sealed": int(sealed is not None)},
                "ended_at": (sealed or created) if status in ENDED else None,
            }
            RUNS.insert(db, [RUNS.sound(row)])
    return [run for run, _, _ in missing]
