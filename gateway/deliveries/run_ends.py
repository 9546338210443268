"""Telling of ended runs: each listener hears of each run that ended at least once, also after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore, json_of

logger = logging.getLogger("innkeeper.gateway.triggers")

AT_ONCE = 100
LOOK_S = 5.0
RETRY_S = 1.0
LAST_RETRY_S = 60.0


@dataclass(frozen=True)
class RunEnd:
    """A run that ended: `status` is `complete`, `error` or `interrupted`; `origin` is empty unless a trigger started
    it."""

    row: RunRow
    status: str
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return self.row.id


Listener = Callable[[RunEnd], Awaitable[None]]
"""Must bear to be told again. When it raises, all are told again later."""


class RunEnds:
    """Tells of ended runs.

    Attributes:
        listeners: Whom.
        cares: Does somebody want to hear of this run, when it ends with this status? When nobody does, its end is not
            kept for telling.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._awaited: set[str] = set()
        self._after = 0
        self.listeners: list[Listener] = []
        self.cares: list[Callable[[RunRow, str], bool]] = []

    def is_awaited(self, row: RunRow, status: str) -> bool:
        """Is a run's end to be kept until it is told? Asked when it is written down."""
        is_awaited = any(care(row, status) for care in self.cares)
        if is_awaited:
            self._awaited.add(row.id)
        return is_awaited

    def closed(self, run: str) -> None:
        """A run has ended, and its end is kept. Nothing is looked up for one that nobody awaits."""
        if run in self._awaited:
            self._awaited.discard(run)
            self._wake.set()

    async def keep_telling(self) -> None:
        """For ever: tell of runs that ended."""
        self._wake.set()  # what an earlier process left
        pause_s = RETRY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                told_all = await self._tell_some()
            except Exception:  # the store is busy
                logger.exception("telling of ended runs failed", extra={"event": "tell_failed"})
                told_all = False
            if told_all:
                pause_s = RETRY_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_RETRY_S)
                self._wake.set()

    async def _tell_some(self) -> bool:
        """False: something went wrong, and is to be done again."""
        rows = await self._store.untold(AT_ONCE, after=self._after)
        results = await asyncio.gather(*(self._tell(row) for row in rows))
        if told := [row.id for row, is_told in zip(rows, results, strict=True) if is_told]:
            await self._store.mark_told(*told)
        # Those that nobody can be told of must not keep the others waiting.
        self._after = rows[-1].number if len(rows) == AT_ONCE else 0
        if self._after:
            self._wake.set()
        return len(told) == len(rows)

    async def _tell(self, row: RunRow) -> bool:
        end = RunEnd(row, row.status, json_of(row.origin))
        is_told = True
        for listener in self.listeners:
            try:
                await listener(end)
            except Exception:
                logger.exception("a listener failed at the end of a run", extra={"run": row.id})
                is_told = False
        return is_told
