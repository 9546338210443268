"""The workflow that a schedule starts: it has the gateway start a run, and stays open for as long as that run is.

Temporal's overlap policies look at the open workflows of a schedule, so this one ends when its run does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import CancelledError

from innkeeper.nodes.call import FIRE_TRIGGER, INTERRUPT_RUN, LOOK_AT_RUN
from innkeeper.workflows.engine.engine_activities import HEARTBEAT_TIMEOUT, JSON
from innkeeper.workflows.engine.signature_check import launch_refusal

LAUNCHER_TYPE = "TriggerLauncher"
RUN_ENDED = "run_ended"
SCHEDULE_PREFIX = "trigger-"
FIRST_LOOK = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=2)
"""Between two looks at a run whose end nobody has told. A look takes 10 events: at this pace a history is full after
more than a year."""
ATTEMPT_TIMEOUT = timedelta(seconds=30)
RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=30)
)
"""For as long as the gateway is away. An attempt that finds nobody ends at once, and a pause holds no slot. A gateway
that is back is asked within half the time that it was away."""
T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """What a schedule starts its workflow with.

    Attributes:
        trigger: Id of the trigger.
        waits: Stay open until the run has ended: another start of the schedule depends on it.
        patience_s: How long a gateway that is away is asked to start the run.
    """

    trigger: str = ""
    waits: bool = True
    patience_s: int = 3_600


def schedule_id(trigger: str) -> str:
    """The id of a trigger's schedule."""
    return f"{SCHEDULE_PREFIX}{trigger}"


def launcher_id(trigger: str, scheduled_at: str) -> str:
    """The id that Temporal gives to the workflow of one time. `scheduled_at`: `2030-01-31T08:00:00Z`."""
    return f"{schedule_id(trigger)}-{scheduled_at}"


@workflow.defn(name=LAUNCHER_TYPE, sandboxed=False)
class TriggerLauncher:
    """Starts the run of one time of a schedule, and waits for its end. Cancelled, it interrupts the run first."""

    @workflow.init
    def __init__(self, launch: Launch) -> None:
        self._refusal = launch_refusal(schedule_id(launch.trigger), launch)
        self._ended: set[str] = set()
        self._is_cancelled = False

    @workflow.signal(name=RUN_ENDED)
    def run_ended(self, run: str) -> None:
        self._ended.add(run)

    @workflow.run
    async def run(self, launch: Launch) -> dict[str, Any]:
        """What became of this time: `{"outcome", "reason", "run"}`."""
        if self._refusal is not None:
            raise self._refusal
        fired = await self._fire(launch)
        if launch.waits and fired.get("run"):
            await self._until_ended(fired["run"])
            if self._is_cancelled:
                raise CancelledError("the run was interrupted")
        return fired

    async def _fire(self, launch: Launch) -> dict[str, Any]:
        info = workflow.info()
        request = {
            "trigger": launch.trigger,
            "scheduledAt": info.workflow_id.removeprefix(launcher_id(launch.trigger, "")),
            "startedAt": info.workflow_start_time.isoformat(),
        }
        firing: workflow.ActivityHandle[dict[str, Any]] = workflow.start_activity(
            FIRE_TRIGGER,
            request,
            result_type=JSON,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            schedule_to_close_timeout=timedelta(seconds=launch.patience_s),
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRIES,
        )
        return await self._finished(firing)

    async def _until_ended(self, run: str) -> None:
        """The gateway tells the end by a signal. Looks, ever more seldom, are for a signal that does not come: a run
        that could never begin, or that was deleted."""
        question, pause = LOOK_AT_RUN, FIRST_LOOK
        while run not in self._ended:
            if self._is_cancelled and question == LOOK_AT_RUN:
                question, pause = INTERRUPT_RUN, FIRST_LOOK  # asked once more later on, it ends the run by force
            elif await self._hears_nothing(run, pause):
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                continue
            if await self._ask(question, run):
                return

    async def _hears_nothing(self, run: str, pause: timedelta) -> bool:
        """Has nobody told the end of the run, or cancelled this workflow, for so long?"""
        try:
            await workflow.wait_condition(lambda: run in self._ended, timeout=pause)
        except TimeoutError:
            return True
        except asyncio.CancelledError:
            if not self._take_cancellation():
                raise
        return False

    async def _ask(self, question: str, run: str) -> bool:
        """Has the run ended?"""
        asking: workflow.ActivityHandle[bool] = workflow.start_activity(
            question,
            run,
            result_type=bool,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRIES,
        )
        return await self._finished(asking)

    async def _finished(self, work: workflow.ActivityHandle[T]) -> T:
        """What an activity gives. A cancellation waits for it: a run that is being started can only be interrupted
        when it is known."""
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled() or not self._take_cancellation():
                raise
        return await work

    def _take_cancellation(self) -> bool:
        """Did somebody cancel this workflow? False: a worker evicts it, and the error must be raised on."""
        if self._is_cancelled or workflow.cancellation_reason() is None:
            return False
        self._is_cancelled = True
        return True
