"""Temporal's schedules, kept equal to the triggers of the kind `schedule`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleAction,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Intake
from innkeeper.gateway.deliveries.schedule_times import ScheduleTimes, upcoming
from innkeeper.gateway.errors import BadRequest, EngineAway
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.triggers.model import Trigger
from innkeeper.gateway.triggers.reading import InvalidTrigger, TriggerProblem
from innkeeper.gateway.triggers.schedule import (
    SchedulePart,
    schedule_policy,
    schedule_spec,
    schedule_state,
)
from innkeeper.workflows.engine.trigger_launcher import LAUNCHER_TYPE, SCHEDULE_PREFIX, Launch, schedule_id
from innkeeper.workflows.sdk_errors import worded
from innkeeper.workflows.signing import HEADER, Signer, launch_message

logger = logging.getLogger("innkeeper.gateway.schedules")

LOOK_S = 60.0
LOOKS = 200
"""At most so many at once: each is a question to the server."""
STRAYS_S = 3_600.0
RETRY_S = 1.0
LAST_RETRY_S = 60.0
CALL_TIMEOUT = timedelta(seconds=5)
TASK_TIMEOUT = timedelta(seconds=5)
PATIENCE_S = 3_600
"""How much longer than its time allows a start asks a gateway that is away: so that its results tell of it. After that
nobody does, and starts that may overlap do not gather without end."""
MAX_SUMMARY_CHARS = 100
MAX_PREVIEW = 100
LEFT_OUT: Mapping[str, str] = {
    "overlapSkipped": "the run of an earlier time was open (overlap)",
    "missed": "later than catchUpSeconds allows, or too many were waiting",
}
"""Counters of a trigger to why Temporal leaves starts out."""


class Schedules:
    """Writes the schedules, repairs them, and says what the server thinks of one.

    Args:
        task_queue: That of the workers. It also tells which schedules of a shared namespace are ours.

    Attributes:
        left_out: By counter of `LEFT_OUT`: starts that Temporal has left out, as far as they were noted since this
            process began.
    """

    def __init__(
        self, book: TriggerBook, intake: Intake, temporal: TemporalLink, signer: Signer, *, task_queue: str
    ) -> None:
        self._book = book
        self._intake = intake
        self._temporal = temporal
        self._signer = signer
        self._queue = task_queue
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._drafts: set[str] = set()
        self._refusals: dict[str, str] = {}
        self._looks = 0
        self.left_out: dict[str, int] = dict.fromkeys(LEFT_OUT, 0)

    # --- keeping equal --------------------------------------------------------------------------------------------

    def changed(self, before: StoredTrigger | None, after: StoredTrigger | None) -> None:
        """A trigger was made, changed or deleted."""
        found = [trigger for trigger in (before, after) if trigger is not None]
        if any(trigger.definition.schedule is not None for trigger in found):
            self._due |= {trigger.id for trigger in found}
            self._wake.set()

    async def keep_equal(self) -> None:
        """For ever: write what has changed, at once; each minute look at what is there, for others write to Temporal
        too, and it counts what it has left out."""
        next_look = next_strays = 0.0
        pause_s = RETRY_S
        clock = asyncio.get_running_loop().time
        while True:
            client = await self._temporal.wait()
            self._wake.clear()
            if clock() >= next_look:
                self._due |= self._next_looks(None if next_look == 0 else LOOKS)
                next_look = clock() + LOOK_S
            is_done = await self._write_due(client)
            if is_done and clock() >= next_strays:
                is_done = await self._tried("strays", self._delete_strays(client))
                next_strays = clock() + (STRAYS_S if is_done else 0)
            pause_s = RETRY_S if is_done else min(2 * pause_s, LAST_RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_look - clock()) if is_done else pause_s):
                    await self._wake.wait()

    def _next_looks(self, limit: int | None) -> set[str]:
        """The triggers whose schedules are looked at now: in turn, where there are many. `limit` None: all."""
        ids = [trigger.id for trigger in self._book.of_kind("schedule", enabled=False)]
        start = self._looks % len(ids) if ids else 0
        self._looks = start + len(ids[:limit])
        return set((ids + ids)[start : self._looks])

    async def _write_due(self, client: Client) -> bool:
        """False: some are to be tried again. One that fails keeps no other from being written."""
        failed = set()
        while self._due and self._temporal.reachable:
            trigger = self._due.pop()
            if not await self._tried(trigger, self._write(client, trigger)):
                failed.add(trigger)
        self._due |= failed
        return not self._due

    async def _tried(self, what: str, work: Awaitable[None]) -> bool:
        try:
            await work
        except Exception as error:
            if is_away(error):
                self._temporal.lost()
            else:
                logger.exception("a schedule could not be written", extra={"event": "schedule_failed", "trigger": what})
            return False
        return True

    async def _write(self, client: Client, id: str) -> None:
        """Make one schedule as its trigger says: the whole of it, or delete it."""
        handle = client.get_schedule_handle(schedule_id(id))
        trigger = self._book.find(id)
        if trigger is None or trigger.definition.schedule is None:
            self._refusals.pop(id, None)
            await _delete(handle)
            return
        wanted = self._schedule(trigger, trigger.definition.schedule)
        try:
            found = await self._make_equal(client, handle, wanted)
        except RPCError as error:
            if error.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
            self._note_refusal(trigger, worded(error.message, "")[0])
        else:
            self._refusals.pop(id, None)
            self._note_left_out(trigger, found)

    def _note_refusal(self, trigger: StoredTrigger, reason: str) -> None:
        """The server took it when it was saved, but may have other zone data now. Told once."""
        if self._refusals.get(trigger.id) != reason:
            self._refusals[trigger.id] = reason
            logger.error("Temporal refuses a schedule: %s", reason, extra={"trigger": trigger.id})
            self._intake.refuse(trigger, f"Temporal does not take this schedule: {reason}")

    async def _make_equal(self, client: Client, handle: ScheduleHandle, wanted: Schedule) -> Mapping[str, int]:
        """How many starts Temporal has left out so far, by counter."""
        try:
            found = await handle.describe(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            await client.create_schedule(handle.id, wanted, rpc_timeout=CALL_TIMEOUT)
            return dict.fromkeys(LEFT_OUT, 0)
        # Only when it differs: an update drops the starts that are due since before it.
        if not _is_equal(found.schedule, wanted):
            await handle.update(lambda _: ScheduleUpdate(wanted), rpc_timeout=CALL_TIMEOUT)
            await self._end_unreadable(client, found)
        return _left_out(found)

    async def _end_unreadable(self, client: Client, found: ScheduleDescription) -> None:
        """End launchers that were signed with a key that is gone. No worker will take them again, and the next times of
        their schedule would wait for them for ever. Their runs go on."""
        action = found.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        if not action.headers or self._signer.knows_key(action.headers):
            return
        for running in found.info.running_actions:
            if isinstance(running, ScheduleActionExecutionStartWorkflow):
                with _if_there():
                    launcher = client.get_workflow_handle(running.workflow_id)
                    await launcher.terminate(reason="its signing key is gone", rpc_timeout=CALL_TIMEOUT)

    def _note_left_out(self, trigger: StoredTrigger, counts: Mapping[str, int]) -> None:
        """Tell in the trigger's results what Temporal has left out since the last look. Its counters keep what was told
        by then; a schedule that was made anew counts from 0."""
        for counter, count in counts.items():
            more = count - trigger.counters.get(counter, 0)
            if more > 0:
                starts = "a start" if more == 1 else f"{more} starts"
                self._intake.skip(trigger, f"Temporal left out {starts}: {LEFT_OUT[counter]}", by=more)
                self.left_out[counter] += more
            if more:
                self._intake.count(trigger, counter, more)

    def _schedule(self, trigger: StoredTrigger, part: SchedulePart) -> Schedule:
        launch = Launch(trigger.id, part.overlap != "allow_all", part.catch_up_seconds + PATIENCE_S)
        return Schedule(
            action=self._action(schedule_id(trigger.id), launch, trigger.definition.name),
            spec=schedule_spec(part),
            policy=schedule_policy(part),
            state=schedule_state(part, enabled=trigger.definition.enabled),
        )

    def _action(self, id: str, launch: Launch, name: str) -> ScheduleActionStartWorkflow:
        action = ScheduleActionStartWorkflow(
            LAUNCHER_TYPE,
            launch,
            id=id,
            task_queue=self._queue,
            task_timeout=TASK_TIMEOUT,
            static_summary=name[:MAX_SUMMARY_CHARS],
        )
        action.headers = self._signer.signed({}, launch_message(id, launch))
        return action

    async def _delete_strays(self, client: Client) -> None:
        """Delete schedules of ours that have no trigger: an earlier gateway, or a backup, left them."""
        async for listed in await client.list_schedules(rpc_timeout=CALL_TIMEOUT):
            if listed.id.startswith(SCHEDULE_PREFIX) and not self._is_known(listed.id):
                handle = client.get_schedule_handle(listed.id)
                with _if_there():
                    if self._is_ours(await handle.describe(rpc_timeout=CALL_TIMEOUT)):
                        await handle.delete(rpc_timeout=CALL_TIMEOUT)
                        logger.info("deleted a schedule that has no trigger", extra={"schedule": listed.id})

    def _is_known(self, schedule: str) -> bool:
        trigger = self._book.find(schedule.removeprefix(SCHEDULE_PREFIX))
        return trigger is not None or schedule in self._drafts

    def _is_ours(self, found: ScheduleDescription) -> bool:
        action = found.schedule.action
        return (
            isinstance(action, ScheduleActionStartWorkflow)
            and action.workflow == LAUNCHER_TYPE
            and action.task_queue == self._queue
        )

    # --- asking the server ----------------------------------------------------------------------------------------

    async def check(self, trigger: Trigger) -> None:
        """Ask the server whether it takes the schedule of a trigger; other kinds it is not asked about.

        Raises:
            InvalidTrigger: It does not; with its reason.
            EngineAway: Nobody can tell: a schedule that it might not take must not be saved, for it would never fire.
        """
        if trigger.schedule is not None:
            async with self._draft(trigger.schedule):
                pass

    async def preview(self, trigger: StoredTrigger, count: int = 10) -> JsonObject:
        """The next times as the server lists them, without jitter, and what people may not expect of them:
        `{"times": [ISO], "notes": [text]}`.

        Raises:
            BadRequest: It is no schedule.
            InvalidTrigger, EngineAway: As `check`.
        """
        definition, part = trigger.definition, trigger.definition.schedule
        if part is None:
            raise BadRequest(f"a trigger of the kind {definition.kind!r} has no times; only a schedule has")
        async with self._draft(part) as times:
            told = await upcoming(times, part, datetime.now(UTC), min(max(count, 1), MAX_PREVIEW))
        if not definition.enabled:
            told["notes"].insert(0, "the trigger is disabled: until it is enabled, nothing starts")
        return told

    @contextlib.asynccontextmanager
    async def _draft(self, part: SchedulePart) -> AsyncIterator[ScheduleTimes]:
        """A schedule of its own for as long as the block lasts, paused and without jitter: the server lists times only
        of what it has."""
        client = await self._temporal.client()
        id = f"{SCHEDULE_PREFIX}draft-{secrets.token_hex(10)}"
        self._drafts.add(id)
        plain = part.model_copy(update={"jitter_seconds": 0})
        draft = Schedule(
            action=self._action(id, Launch(), "draft"),
            spec=schedule_spec(plain),
            policy=schedule_policy(part),
            state=schedule_state(part, enabled=False),
        )
        try:
            with self._told_by_server():
                handle = await client.create_schedule(id, draft, rpc_timeout=CALL_TIMEOUT)
                try:
                    yield ScheduleTimes(client, id)
                finally:
                    # What cannot be deleted now goes with the strays.
                    with contextlib.suppress(RPCError):
                        await handle.delete(rpc_timeout=CALL_TIMEOUT)
        finally:
            self._drafts.discard(id)

    @contextlib.contextmanager
    def _told_by_server(self) -> Iterator[None]:
        try:
            yield
        except RPCError as error:
            if is_away(error):
                self._temporal.lost()
                raise EngineAway("Temporal does not answer, so nobody knows whether it takes this schedule") from error
            if error.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
            reason = f"Temporal does not take this schedule: {worded(error.message, '')[0]}"
            raise InvalidTrigger([TriggerProblem("schedule", reason)]) from error


def _left_out(found: ScheduleDescription) -> dict[str, int]:
    too_many = found.raw_description.info.buffer_dropped
    return {
        "overlapSkipped": found.info.num_actions_skipped_overlap,
        "missed": found.info.num_actions_missed_catchup_window + too_many,
    }


def _is_equal(found: Schedule, wanted: Schedule) -> bool:
    """Does a described schedule do what another one says? Its summary is left out: it only shows a name."""
    same = (found.spec, found.policy, found.state) == (wanted.spec, wanted.policy, wanted.state)
    return same and _essence(found.action) == _essence(wanted.action)


def _essence(action: ScheduleAction) -> tuple[object, ...]:
    """What an action does. Its arguments are what is signed; they may come encrypted, each time in another way."""
    assert isinstance(action, ScheduleActionStartWorkflow)
    header = (action.headers or {}).get(HEADER)
    signature = header.data if header is not None else b""
    return action.workflow, action.id, action.task_queue, signature


async def _delete(handle: ScheduleHandle) -> None:
    with _if_there():
        await handle.delete(rpc_timeout=CALL_TIMEOUT)


@contextlib.contextmanager
def _if_there() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
