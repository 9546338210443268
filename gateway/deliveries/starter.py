"""Making runs of accepted deliveries: each once, whatever crashes or is away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Intake
from innkeeper.gateway.errors import status_of
from innkeeper.gateway.runs.origin import Origin
from innkeeper.gateway.runs.refusals import Refusals
from innkeeper.gateway.runs.service import Runs
from innkeeper.gateway.store.models import DeliveryRow
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.store.workflows import unpack
from innkeeper.nodes.errors import InnkeeperError, RunNotActive, RunNotFound

logger = logging.getLogger("innkeeper.gateway.triggers")

AT_ONCE = 8
LOOK_S = 5.0
"""Between two looks that nothing has called for: a wake-up may be lost."""
RETRY_S = 1.0
LAST_RETRY_S = 60.0
MAX_FAULTS = 10
"""Attempts that ended in a fault of ours. Then the delivery has failed: it would go on like that for ever."""
CANCELLED = "a later delivery took its place"


class Starter:
    """Submits what was accepted, with the run id that its sender was told: a second attempt finds the same run."""

    def __init__(self, book: TriggerBook, store: TriggerStore, intake: Intake, runs: Runs, refusals: Refusals) -> None:
        self._book = book
        self._store = store
        self._intake = intake
        self._runs = runs
        self._refusals = refusals
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._settled = asyncio.Condition()
        intake.on_accepted = self._wake.set

    async def keep_starting(self) -> None:
        """For ever: make runs of accepted deliveries."""
        self._wake.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._start_some()
            except Exception:  # the store is busy or away
                logger.exception("starting runs of triggers failed", extra={"event": "start_failed"})
                asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def stop(self) -> None:
        """Leave what is not started to the next gateway."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_settled(self, delivery: str, timeout_s: float) -> Literal["fired", "failed", "pending"]:
        """Wait until the run of a delivery exists, or will not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    row = await self._store.delivery(delivery)
                    if row is None or row.status not in ("accepted", "queued"):
                        return "fired" if row is not None and row.status == "fired" else "failed"
                    async with self._settled:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_S):
                                await self._settled.wait()
        return "pending"

    async def _start_some(self) -> None:
        free = AT_ONCE - len(self._tasks)
        if free <= 0:
            return  # whoever ends wakes this again
        now = time.monotonic()
        waiting = {delivery for delivery, moment in self._not_before.items() if moment > now}
        rows = await self._store.accepted(free + len(self._tasks) + len(waiting))
        for row in rows:
            if row.id not in self._tasks and row.id not in waiting and len(self._tasks) < AT_ONCE:
                task = asyncio.create_task(self._start(row), name=f"delivery-{row.id}")
                self._tasks[row.id] = task
                task.add_done_callback(lambda done, delivery=row.id: self._done(delivery, done))  # type: ignore[misc]

    def _done(self, delivery: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(delivery, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # What went wrong could not be written down: the store is busy or away. At once it would be no better.
            logger.error("a delivery could not be looked after", exc_info=error, extra={"delivery": delivery})
            self._later(delivery, RETRY_S)
        self._wake.set()

    async def _start(self, row: DeliveryRow) -> None:
        try:
            await self._submit(row)
        except Exception as error:
            if _is_passing(error):
                # Temporal or the log is away, or too many runs wait: what was accepted is kept until they are back.
                self._later(row.id, RETRY_S)
            elif isinstance(error, InnkeeperError) and status_of(error) < 500:
                await self._fail(row, error)
            else:
                await self._fault(row, error)
            return
        self._forget(row.id)
        await self._told_settled()

    async def _submit(self, row: DeliveryRow) -> None:
        request = await _request_of(row)
        trigger = self._book.by_number(row.trigger)
        if trigger is None or row.run_id is None:  # deleted meanwhile, and its deliveries with it
            return
        for run in request["cancels"]:
            await self._cancel(run)
        origin = _origin(row, trigger, request)
        body = {**request["body"], **_callback(trigger)}
        await self._runs.submit(body, trigger.user, origin=origin)
        await self._intake.started(row)

    async def _cancel(self, run: str) -> None:
        """End a run whose place a later delivery takes. It may not exist yet, or not any more."""
        if await self._intake.drop(run, CANCELLED):
            return
        with contextlib.suppress(RunNotFound, RunNotActive):
            await self._runs.interrupt(run)

    async def _fail(self, row: DeliveryRow, error: InnkeeperError) -> None:
        """It cannot become a run. People find it where they look for runs, and in the results of the trigger."""
        trigger = self._book.by_number(row.trigger)
        if trigger is not None:
            body = {"workflowId": trigger.definition.workflow.id}
            origin = _origin(row, trigger, {})
            await self._refusals.record(body, trigger.user, error, origin=origin)
        await self._intake.failed(row, error.message)
        self._forget(row.id)
        await self._told_settled()

    async def _fault(self, row: DeliveryRow, error: Exception) -> None:
        faults = self._faults[row.id] = self._faults.get(row.id, 0) + 1
        logger.error("a delivery could not be started", exc_info=error, extra={"delivery": row.id, "attempt": faults})
        if faults < MAX_FAULTS:
            self._later(row.id, min(RETRY_S * 2**faults, LAST_RETRY_S))
            return
        self._forget(row.id)
        await self._intake.failed(row, "a fault inside the gateway; its log says more")
        await self._told_settled()

    def _later(self, delivery: str, pause_s: float) -> None:
        self._not_before[delivery] = time.monotonic() + pause_s
        asyncio.get_running_loop().call_later(pause_s, self._wake.set)

    def _forget(self, delivery: str) -> None:
        self._faults.pop(delivery, None)
        self._not_before.pop(delivery, None)

    async def _told_settled(self) -> None:
        async with self._settled:
            self._settled.notify_all()


def _origin(row: DeliveryRow, trigger: StoredTrigger, request: Mapping[str, Any]) -> Origin:
    return Origin(
        run=row.run_id or "",
        trigger=trigger.id,
        name=trigger.definition.name,
        kind=trigger.definition.kind,
        delivery=row.id,
        depth=request.get("depth", 0),
        labels=request.get("labels", trigger.definition.labels),
    )


def _callback(trigger: StoredTrigger) -> dict[str, Any]:
    callback = trigger.definition.callback
    return {} if callback is None else {"callback": callback.model_dump(mode="json", exclude_none=True)}


def _is_passing(error: Exception) -> bool:
    return isinstance(error, InnkeeperError) and status_of(error) in (429, 503, 507)


async def _request_of(row: DeliveryRow) -> dict[str, Any]:
    """Raises DeliveryDamaged: it cannot be read."""
    try:
        found = orjson.loads(await unpack(row.request or b""))
        return {
            "body": dict(found["body"]),
            "cancels": [run for run in found.get("cancels") or () if isinstance(run, str)],
            "depth": int(found.get("depth") or 0),
            "labels": dict(found.get("labels") or {}),
        }
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError):
        raise DeliveryDamaged("what is kept of the delivery is damaged: have it sent again") from None


class DeliveryDamaged(InnkeeperError):
    """What was to be submitted cannot be read any more."""

    code = "delivery_damaged"
