"""What the launchers of schedules ask: to start the run of one time, whether a run has ended, to interrupt it.

A launcher is a workflow that Temporal's schedule starts (`workflows/engine/trigger_launcher.py`). It may ask anything
again, since an answer may be lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Arrival, Handled, Intake
from innkeeper.gateway.deliveries.run_ends import RunEnd
from innkeeper.gateway.errors import BadRequest
from innkeeper.gateway.moments import iso_of
from innkeeper.gateway.runs.pausing import away
from innkeeper.gateway.runs.service import Runs
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.runs import ENDED, RunStore
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.triggers.schedule import SchedulePart, start_refusal
from innkeeper.nodes.errors import RunNotActive, RunNotFound
from innkeeper.workflows.engine.trigger_launcher import RUN_ENDED, launcher_id

logger = logging.getLogger("innkeeper.gateway.schedules")

SIGNAL_TIMEOUT = timedelta(seconds=5)
GONE = {"outcome": "skipped", "reason": "there is no such schedule any more", "run": None}


@dataclass(frozen=True)
class Occurrence:
    """One time of a schedule.

    Attributes:
        scheduled_at: Its nominal time as Temporal writes it into the id of the launcher, `2030-01-31T08:00:00Z`.
        started_at: When Temporal started the launcher.
        asked_at: When the gateway was asked, by Temporal's clock too.
    """

    scheduled_at: str
    started_at: datetime
    asked_at: datetime

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.scheduled_at).astimezone(UTC)

    @classmethod
    def read(cls, body: JsonObject) -> Occurrence:
        """Raises BadRequest: these are no moments."""
        scheduled, *moments = (str(body.get(key)) for key in ("scheduledAt", "startedAt", "askedAt"))
        try:
            found = cls(scheduled, *map(datetime.fromisoformat, moments))
            # Temporal's own form alone: the same time in another one would be another delivery.
            if f"{found.moment:%Y-%m-%dT%H:%M:%SZ}" == scheduled and found.started_at.tzinfo and found.asked_at.tzinfo:
                return found
        except (ValueError, OverflowError):
            pass
        raise BadRequest(
            "'scheduledAt' must look like '2030-01-31T08:00:00Z'; 'startedAt' and 'askedAt' must be moments of ISO 8601"
        )


def run_of(trigger: str, occurrence: Occurrence) -> str:
    """The id of the run of one time: asked for again, it is the same run."""
    return hashlib.sha256(f"{trigger} {occurrence.scheduled_at}".encode()).hexdigest()[:20]


class Launches:
    """Answers launchers, and tells them the ends of their runs.

    Attributes:
        late: How many starts came too late since this process began: the gateway or all workers had been away.
    """

    def __init__(
        self,
        book: TriggerBook,
        intake: Intake,
        runs: Runs,
        temporal: TemporalLink,
        *,
        run_store: RunStore,
        deliveries: TriggerStore,
    ) -> None:
        self._book = book
        self._intake = intake
        self._runs = runs
        self._temporal = temporal
        self._run_store = run_store
        self._deliveries = deliveries
        self.late = 0

    async def fire(self, trigger_id: str, occurrence: Occurrence) -> JsonObject:
        """Start the run of one time: `{"outcome", "reason", "run"}`, with the run that the launcher waits for.

        Raises:
            TooManyDeliveries: It is to ask again later.
        """
        trigger = self._book.find(trigger_id)
        if trigger is None or trigger.definition.schedule is None:
            return GONE
        run = run_of(trigger_id, occurrence)
        # What was taken before is not judged again: by now it may be late.
        is_known = await self._deliveries.of_run(run) is not None
        if not is_known and (handled := self._refused(trigger, trigger.definition.schedule, occurrence)) is not None:
            return _answer(handled, run)
        if not is_known and trigger.definition.schedule.overlap == "terminate_other":
            await self._end_open_runs(trigger)
        return _answer(await self._intake.take(trigger, _arrival(trigger, occurrence, run)), run)

    def _refused(self, trigger: StoredTrigger, part: SchedulePart, occurrence: Occurrence) -> Handled | None:
        waited = occurrence.asked_at - occurrence.started_at
        refusal = start_refusal(part, occurrence.moment, waited=waited)
        if refusal is None:
            return None
        self._intake.skip(trigger, refusal.reason, _payload(trigger, occurrence))
        if refusal.is_late:
            self.late += 1
            self._intake.count(trigger, "late")
        return Handled("skipped", refusal.reason)

    async def _end_open_runs(self, trigger: StoredTrigger) -> None:
        """Temporal has terminated the launcher of the run before, which could do nothing more about its run."""
        for row in await self._deliveries.open_of(trigger.number):
            with contextlib.suppress(RunNotFound, RunNotActive):
                await self._runs.interrupt(row.run_id or "", force=True)

    async def has_ended(self, run: str) -> bool:
        """Has a run ended, or will it never begin?"""
        row = await self._run_store.get(run)
        if row is not None:
            return row.status in ENDED
        delivery = await self._deliveries.of_run(run)
        return delivery is None or delivery.status == "failed"

    async def interrupt(self, run: str) -> bool:
        """Interrupt a run, the second time by force; has it ended already?"""
        with contextlib.suppress(RunNotFound, RunNotActive):
            await self._runs.interrupt(run)
        return await self.has_ended(run)

    async def hear_of_end(self, end: RunEnd) -> None:
        """Listener of `RunEnds`: tell the launcher, which may be over already.

        Raises:
            EngineAway: It must be told again.
        """
        if end.origin.get("kind") != "schedule":
            return
        delivery = await self._deliveries.of_run(end.run)
        if delivery is None or delivery.replay_key is None:  # the trigger is gone; the launcher looks by itself
            return
        launcher = launcher_id(str(end.origin.get("trigger")), delivery.replay_key)
        try:
            handle = (await self._temporal.client()).get_workflow_handle(launcher)
            await handle.signal(RUN_ENDED, end.run, rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise away(self._temporal, error) from error


def _arrival(trigger: StoredTrigger, occurrence: Occurrence, run: str) -> Arrival:
    # The replay key makes it one delivery whatever the trigger says of duplicates, and names the launcher.
    return Arrival(
        _payload(trigger, occurrence), delivery_id=occurrence.scheduled_at, replay_key=occurrence.scheduled_at, run=run
    )


def _payload(trigger: StoredTrigger, occurrence: Occurrence) -> JsonObject:
    return {
        "schedule": {
            "scheduledAt": iso_of(occurrence.moment),
            "firedAt": iso_of(occurrence.started_at),
            "triggerId": trigger.id,
            "name": trigger.definition.name,
        }
    }


def _answer(handled: Handled, run: str) -> JsonObject:
    # The first delivery of a duplicate may be that of another time, whose launcher waits for it.
    waits = handled.run if handled.run == run else None
    return {"outcome": handled.outcome, "reason": handled.reason, "run": waits}
