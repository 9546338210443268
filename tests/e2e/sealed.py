"""Waiting for the last thing that a gateway does with a run."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

UNSEALED = {
    "gateway.db": "SELECT id FROM runs WHERE NOT sealed",
    "events.db": "SELECT run FROM runs WHERE sealed_ms IS NULL",
}


async def until_sealed(data: Path, *, but: Collection[str] = ()) -> None:
    """Return as soon as all runs of a data directory are sealed: clients see the end of a run before that.

    Args:
        but: Runs that go on.
    """
    async with asyncio.timeout(60):
        while unsealed(data) - set(but):
            await asyncio.sleep(0.02)


def unsealed(data: Path) -> set[str]:
    found: set[str] = set()
    for name, query in UNSEALED.items():
        # Read-only: such a connection leaves the write-ahead log to its owner.
        with contextlib.closing(sqlite3.connect(f"{(data / name).as_uri()}?mode=ro", uri=True)) as db:
            found.update(run for (run,) in db.execute(query))
    return found
