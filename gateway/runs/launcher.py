"""Starting runs: at once, or from the queue as soon as there is a free place and Temporal answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway
from innkeeper.gateway.events.log import LogUnavailable
from innkeeper.gateway.events.worker_starts import WorkerStarts
from innkeeper.gateway.metrics import RunLatency
from innkeeper.gateway.runs.admission import log_meta
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.open_runs import OpenRuns
from innkeeper.gateway.runs.outcome import RunOutcome
from innkeeper.gateway.runs.pausing import RunControl
from innkeeper.gateway.runs.reruns import Reruns
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.start_request import StartRequests, send_start
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore, json_of
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.worker_protocol import StartPlace
from innkeeper.workflows.sdk_errors import worded

logger = logging.getLogger("innkeeper.gateway.runs")

RETRY_S = 2.0
MAX_APART = 100
"""Runs that are handed over while their submission is answered; each holds its plan. Beyond, submissions wait."""
LOOK_S = 5.0
"""Between two looks at the queue that nothing has called for."""


class RunLauncher:
    """Hands runs that are written down to Temporal, each once, whatever is away meanwhile."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        run_log: RunLog,
        temporal: TemporalLink,
        *,
        open_runs: OpenRuns,
        finisher: RunFinisher,
        control: RunControl,
        reruns: Reruns,
        requests: StartRequests,
        worker_starts: WorkerStarts,
        latency: RunLatency,
    ) -> None:
        self._settings = settings
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._open_runs = open_runs
        self._finisher = finisher
        self._control = control
        self._reruns = reruns
        self._requests = requests
        self._worker_starts = worker_starts
        self._latency = latency
        self._launching: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Claimed runs that Temporal may not have yet; of an earlier process' nobody knows before the store is asked.
        self._unstarted: set[str] = set()
        self._knows_unstarted = False
        self._dispatching = asyncio.Lock()
        self._wake = asyncio.Event()
        self._wake.set()  # what an earlier process left waiting
        self._no_search_attributes = False

    @property
    def first_status(self) -> str:
        """The status that a new run is written down with: with a limit every run goes through the queue."""
        return "queued" if self._settings.max_concurrent_runs else "running"

    async def start(self, row: RunRow) -> None:
        """Announce a run that was just written down as running, and have it handed to Temporal; or as queued.

        From then on it starts, whatever crashes. So Temporal is not waited for, unless it is behind with many runs.

        Raises:
            LogUnavailable: It is written down and starts later; its client may ask again with the same key.
        """
        if row.status == "running":
            if not self._is_launched(row) and await self._try(row, self._announce):
                await self._hand_over_soon(row)
            return
        await self._dispatch()
        current = await self._store.get(row.id)
        if current is not None and current.status == "queued":
            # Should it start in this moment, the log knows that `queued` is behind `running` and drops it.
            await self._run_log.begin(row.id, log_meta(json_of(row.interface)), "queued")

    def wake(self) -> None:
        """Something changed that may let a waiting run start."""
        self._wake.set()

    async def keep_starting(self) -> None:
        """For ever: start what waits for a free place or for Temporal."""
        while True:
            try:
                if await self._is_due():
                    await self._temporal.wait()
                    await self._dispatch()
            except Exception:
                logger.exception("starting runs failed", extra={"event": "start_failed"})
                self._wake_later()

    async def _is_due(self) -> bool:
        """Wait for a wake-up, but LOOK_S at most: one that was lost must not hold up the queue. Is there work then?"""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        is_woken = self._wake.is_set()
        self._wake.clear()
        return is_woken or bool(self._unstarted) or bool(await self._store.queued(1))

    def _wake_later(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def recover(self) -> None:
        """After a restart: find out which running runs only wait. Until then they hold places."""
        while True:
            try:
                left = [row.id for row in await self._store.active() if self._is_unknown(row)]
                for run in left:
                    if (state := await self._run_log.state(run)) is not None:
                        self._open_runs.started(run, state)
                if not left:
                    return
            except Exception:  # the store is busy
                logger.exception("looking at running runs failed", extra={"event": "recover_failed"})
            await asyncio.sleep(RETRY_S)  # the log may not be readable yet

    def _is_unknown(self, row: RunRow) -> bool:
        return row.status == "running" and row.started_at is not None and not self._open_runs.is_started(row.id)

    async def _dispatch(self) -> None:
        """Hand over what was claimed before, then as many queued runs as there are free places.

        A run that wakes takes its place back at once, so more may work than the limit: then nothing new starts.
        """
        async with self._dispatching:
            if self._unstarted or not self._knows_unstarted:
                await self._launch_claimed()
            for row in await self._store.queued(await self._free_places()):
                self._unstarted.add(row.id)  # before: whoever waits for the claim may be cancelled meanwhile
                if await self._store.claim(row.id):
                    await self._launch_apart(row)
                else:
                    self._unstarted.discard(row.id)
                    self._wake.set()  # it left the queue or was paused: its place is for another one

    async def _launch_claimed(self) -> None:
        rows = await self._store.claimed()
        # Some were ended meanwhile. Others are being handed over by who submitted them, maybe since the store was read.
        self._unstarted &= {row.id for row in rows} | self._launching
        self._unstarted |= {row.id for row in rows}
        self._knows_unstarted = True
        for row in rows:
            await self._launch_apart(row)

    async def _free_places(self) -> int | None:
        """None: there is no limit."""
        limit = self._settings.max_concurrent_runs
        if limit is None:
            return None
        running, _ = await self._store.active_counts()
        return max(0, limit - running + self._open_runs.idle)

    async def _launch_apart(self, row: RunRow) -> None:
        """Launch one of several runs: one that cannot be launched keeps no other from it."""
        try:
            await self._launch(row)
        except LogUnavailable:  # concerns all
            raise
        except Exception:
            logger.exception("a run could not be started", extra={"event": "start_failed", "run": row.id})

    async def _launch(self, row: RunRow) -> None:
        """Hand a claimed run to Temporal. When that is away, the run keeps waiting.

        Raises:
            LogUnavailable: It will be started; its client may ask again with the same key meanwhile.
        """
        if not self._is_launched(row):
            await self._try(row, self._announce, self._hand_over)

    def is_launching(self, run: str) -> bool:
        """Is a run handed to Temporal just now, which may get it at any moment?"""
        return run in self._launching

    def _is_launched(self, row: RunRow) -> bool:
        """Was the run handed to Temporal, or is it just now?"""
        if self._finisher.follows(row.id):  # it was read before the store knew
            self._unstarted.discard(row.id)
            return True
        return row.id in self._launching

    async def _try(self, row: RunRow, *steps: Callable[[RunRow], Awaitable[None]]) -> bool:
        """Take steps of launching a claimed run. False: not now, or never."""
        self._unstarted.add(row.id)
        self._launching.add(row.id)
        try:
            for step in steps:
                await step(row)
            return True
        except EngineAway:
            self._wake.set()
        except ResourceError as error:
            # Trying again would not bring it back, and others wait to be started.
            message = f"what the run was to take over is gone: {error.message}; run it anew"
            self._close_unstarted(row.id, message, error.code)
        except RPCError as error:
            self._not_started(row.id, error)
        except BaseException:  # whatever it was, and whoever is cancelled: the run is written down
            self._wake_later()
            raise
        finally:
            self._launching.discard(row.id)
        return False

    async def _hand_over_soon(self, row: RunRow) -> None:
        task = asyncio.create_task(self._hand_over_apart(row), name=f"start-{row.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if len(self._tasks) > MAX_APART:
            await asyncio.wait({task})

    async def _hand_over_apart(self, row: RunRow) -> None:
        if self._is_launched(row):
            return
        try:
            await self._try(row, self._hand_over)
        except Exception:
            logger.exception("a run could not be started", extra={"event": "start_failed", "run": row.id})

    async def stop(self) -> None:
        """Give up what is being handed over: the next process goes on with it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _announce(self, row: RunRow) -> None:
        await self._run_log.begin(row.id, log_meta(json_of(row.interface)), "running")
        await self._reruns.announce(row)

    async def _hand_over(self, row: RunRow) -> None:
        await self._start(await self._temporal.client(), row)
        self._finisher.follow(row.id)
        self._unstarted.discard(row.id)
        self._control.started(row.id, paused=row.paused)
        self._open_runs.started(row.id, await self._run_log.state(row.id))

    def _close_unstarted(self, run: str, message: str, code: str) -> None:
        self._unstarted.discard(run)
        self._finisher.close_unstarted(run, RunOutcome("error", {}, error={"message": message, "code": code}))

    def _not_started(self, run: str, error: RPCError) -> None:
        if is_away(error):
            self._temporal.lost()
            self._wake.set()
        elif error.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED):
            self._close_unstarted(run, f"Temporal refused the run: {worded(error.message, '')[0]}", "engine_refused")
        else:
            logger.error("Temporal did not start a run", extra={"run": run, "code": str(error.status)})
            self._wake_later()

    async def _start(self, client: Client, row: RunRow) -> None:
        plan = row.plan if "plan" in row.__dict__ else await self._store.plan(row.id)
        if plan is None:
            return
        self._latency.starting(row.id, row.submitted_at)  # its first event may come before Temporal's answer
        try:
            await self._send_start(client, row, plan)
        except RPCError as error:
            if self._no_search_attributes or not _is_about_search_attributes(error):
                raise
            logger.warning("this Temporal namespace lacks GraphId, TenantId and RunStatus; runs go without them")
            self._no_search_attributes = True
            await self._send_start(client, row, plan)
        self._latency.started(row.id)

    async def _send_start(self, client: Client, row: RunRow, plan: bytes) -> None:
        has_search_attributes = not self._no_search_attributes
        request = await self._requests.build(client, row, plan, has_search_attributes=has_search_attributes)
        # Whoever else starts it as well, or is late to, finds that it is there.
        place = StartPlace(self._settings.task_queue, self._temporal.namespace_id)
        if not await self._worker_starts.start(place, row.id, request.SerializeToString()):
            await send_start(client, request)


def _is_about_search_attributes(error: RPCError) -> bool:
    return error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()
