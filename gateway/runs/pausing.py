"""Pausing runs and letting them go on.

What was asked for is written down first. What Temporal and the viewers are told follows from it, again and again until
both know, so a gateway that dies in between leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from datetime import timedelta

from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway, shown
from innkeeper.gateway.events.fence import PAUSED
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, RunStore
from innkeeper.nodes.errors import RunNotActive, RunNotFound

logger = logging.getLogger("innkeeper.gateway.runs")

SIGNAL_TIMEOUT = timedelta(seconds=5)
PATIENCE_S = 3.0
"""How long a request waits until everybody knows; the work goes on without it."""
RETRY_S = 1.0


class RunControl:
    """Pauses runs and resumes them."""

    def __init__(
        self, store: RunStore, run_log: RunLog, temporal: TemporalLink, *, on_resumed: Callable[[], None]
    ) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._on_resumed = on_resumed
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: set[str] = set()

    async def pause(self, run: str) -> str:
        """Start no new node of a run; what runs goes on, and a queued run stays queued. Gives a sentence for users.

        Raises:
            RunNotFound, RunNotActive (it has ended).
        """
        if await self._set(run, paused=True):
            return f"run {run} is paused: what runs goes on, nothing new starts"
        return f"run {run} will be paused as soon as Temporal and the event log answer"

    async def resume(self, run: str) -> str:
        """Let a paused run go on. Gives a sentence for users.

        Raises:
            RunNotFound, RunNotActive (it has ended).
        """
        try:
            settled = await self._set(run, paused=False)
        finally:  # though whoever asked has left
            self._on_resumed()
        return f"run {run} goes on" if settled else f"run {run} will go on as soon as Temporal and the event log answer"

    async def _set(self, run: str, *, paused: bool) -> bool:
        if not await self._store.set_paused(run, paused):
            await ended_or_unknown(self._store, run, "paused or resumed")
        self._asked.add(run)
        task = self.settle_soon(run)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
        return bool(done)

    def started(self, run: str, *, paused: bool) -> None:
        """A run was handed to Temporal. Somebody may have asked for the contrary after it had been read."""
        if paused or run in self._asked:
            self.settle_soon(run)

    def settle_soon(self, run: str) -> asyncio.Task[None]:
        """Bring Temporal and the viewers to what was asked for last. The task ends when they are there."""
        task = asyncio.create_task(self._persist(run), name=f"settle-{run}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def recover(self) -> None:
        """After a restart: take up the state of every open run, and what was asked for and not done."""
        for row in await self._store.active():
            said = await self._run_log.announced(row.id)
            if bool(row.paused) != (said == PAUSED):
                self.settle_soon(row.id)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _persist(self, run: str) -> None:
        while True:
            try:
                async with self._lock(run):
                    await self._settle(run)
                return
            except EngineAway:
                await self._temporal.wait()
            except Exception:
                logger.exception("pausing or resuming a run failed", extra={"event": "settle_failed", "run": run})
            await asyncio.sleep(RETRY_S)

    def _lock(self, run: str) -> asyncio.Lock:
        return self._locks.setdefault(run, asyncio.Lock())

    async def _settle(self, run: str) -> None:
        row = await self._store.get(run)
        if row is None or row.status in ENDED:
            self._asked.discard(run)
            return
        wanted, said = PAUSED if row.paused else row.status, await self._run_log.announced(run)
        if wanted == said or PAUSED not in (wanted, said):
            if row.started_at is not None:  # else whoever starts it may have read what was wanted before
                self._asked.discard(run)
            return
        if row.status == "running" and not await self._signal(run, paused=row.paused):
            return  # not started yet: whoever starts it settles it. Or just ended
        await self._run_log.announce(run, wanted)
        self._asked.discard(run)

    async def _signal(self, run: str, *, paused: bool) -> bool:
        """False: Temporal does not have the run, or not any more."""
        try:
            handle = (await self._temporal.client()).get_workflow_handle(run)
            await handle.signal("pause", paused, rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise away(self._temporal, error) from error
        return True


async def active_row(store: RunStore, run: str, what: str) -> RunRow:
    """A run that has not ended.

    Args:
        what: What cannot be done when it has: a participle for the sentence.

    Raises:
        RunNotFound, RunNotActive.
    """
    row = await store.get(run)
    if row is None or row.status in ENDED:
        await ended_or_unknown(store, run, what)
    assert row is not None
    return row


async def ended_or_unknown(store: RunStore, run: str, what: str) -> None:
    """Say why nothing can be done with a run that is not active. Raises RunNotFound or RunNotActive."""
    row = await store.get(run)
    if row is None:
        raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/history lists them")
    raise RunNotActive(f"run {run!r} has ended already ({row.status}): it cannot be {what} any more")


def away(temporal: TemporalLink, error: RPCError) -> Exception:
    """What an error of a call to Temporal means: it is away (and is looked for at once), or the error itself."""
    if not is_away(error):
        return error
    temporal.lost()
    return EngineAway("Temporal does not answer; try again in a moment or look at 'innkeeper up'")
