"""Keeping the data directory small: old runs and event logs are deleted, stored values that nobody needs collected."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from innkeeper.gateway.events.clock import LOOK_S, AgeGuard, correct_dates
from innkeeper.gateway.events.log import EventLog

logger = logging.getLogger("innkeeper.gateway")

FIRST_COLLECTION_S = 120.0
"""What a gateway takes up at its start comes first."""


@dataclass(frozen=True)
class Retention:
    """How long what is kept. Days of 0 for `run_days` and `usage_days`, and seconds of 0 for `collect_every_s`, mean:
    never.

    Attributes:
        delete_older: Deletes runs that ended so many seconds ago; gives how many.
        purge: Forgets workflows that were deleted long ago; gives how many.
        delete_usage: Forgets requests to models that began so many seconds ago; gives how many.
        keep_collecting: Collects stored values for ever: after the first pause, then with the second between.
    """

    log: EventLog
    delete_older: Callable[[float], Awaitable[int]]
    purge: Callable[[], Awaitable[int]]
    delete_usage: Callable[[float], Awaitable[int]]
    keep_collecting: Callable[[float, float], Awaitable[None]]
    run_days: float
    usage_days: float
    event_days: float
    event_bytes: int
    collect_every_s: float

    async def keep_clean(self) -> None:
        """For ever: delete the event logs of runs that ended long ago, whose results stay, and runs that ended even
        longer ago."""
        ages = AgeGuard()
        while True:
            try:
                await correct_dates(self.log, time.time())
                if ages.is_calm():
                    await self._clean()
            except Exception:
                logger.exception("deleting runs and event logs failed", extra={"event": "clean_failed"})
            await asyncio.sleep(LOOK_S)

    async def _clean(self) -> None:
        if self.run_days and (runs := await self.delete_older(self.run_days * 86_400)):
            logger.info("runs deleted", extra={"event": "cleaned", "count": runs})
        if self.usage_days and (calls := await self.delete_usage(self.usage_days * 86_400)):
            logger.info("accounts of requests deleted", extra={"event": "cleaned", "count": calls})
        if workflows := await self.purge():
            logger.info("deleted workflows purged", extra={"event": "cleaned", "count": workflows})
        if gone := await self.log.delete_sealed(max_age_s=self.event_days * 86_400, max_bytes=self.event_bytes):
            logger.info("event logs deleted", extra={"event": "cleaned", "count": len(gone)})

    async def keep_collected(self) -> None:
        """Collect for ever, if it is wanted at all."""
        if not self.collect_every_s:
            await asyncio.Event().wait()
        await self.keep_collecting(min(FIRST_COLLECTION_S, self.collect_every_s), self.collect_every_s)
