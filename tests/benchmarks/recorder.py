"""What the recorded counterparts by hand keep: rows in SQLite. Nothing of the project is imported."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

Row = tuple[str, str | bytes]
"""A run, and what is kept of it."""


class Recorder:
    """Commits rows in one thread: all that wait in one transaction."""

    def __init__(self, file: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "CREATE TABLE lines(run, body)"):
            self._db.execute(statement)
        self._waiting: list[tuple[Sequence[Row], asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None

    async def keep(self, rows: Sequence[Row]) -> None:
        """Gives when they are committed."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._commit())
        await done

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._write, [row for rows, _ in batch for row in rows])
            for _, done in batch:
                done.set_result(None)

    def _write(self, rows: list[Row]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO lines VALUES(?, ?)", rows)
        self._db.execute("COMMIT")
