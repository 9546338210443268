"""Runs that cannot go on, by what Temporal says of their workflows: nobody takes their tasks, each task fails, or the
engine cannot store or read values.

When a worker dies before it has told that a node waits, or the log loses what it was told, the log believes for ever
that the run works. Where Temporal knows of no work, the workflow is queried: a worker then tells of its waits again.
Whatever comes of that, the run holds no place until it is heard of again.

Temporal is asked only about runs without a new event for a while, about each at most every CHECK_S, and about few in
that time. What it said is kept in memory for lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
    TaskQueueType,
    WorkerVersioningMode,
    WorkflowExecutionStatus,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway
from innkeeper.gateway.runs.open_runs import OpenRuns
from innkeeper.gateway.runs.temporal_client import TemporalLink, describe_workflow, failure_message, is_away
from innkeeper.nodes.call import EXECUTE_NODE, EXECUTE_SEGMENT

logger = logging.getLogger("innkeeper.gateway.runs")

QUIET_S = 3.0
"""A run that was heard of later than this works."""
CHECK_S = 5.0
"""Between two questions about one run, and between two rounds through all."""
ROUND_RUNS = 20
"""Runs that one round asks about, and as many between two on request: with CHECK_S this bounds the load, whatever
number of runs is open."""
MAX_WORKFLOWS = 20
"""Workflows of one run that are looked at: itself and its children."""
PATIENCE_S = 1.0
CALL_TIMEOUT = timedelta(seconds=3)
QUERY_TIMEOUT = timedelta(seconds=10)
REQUERY_S = 60.0
"""Between two such queries of one run."""
FAILING_ATTEMPTS = 3
"""A workflow task may fail once or twice when a worker dies; then another attempt succeeds."""
UNTAKEN_S = 10.0
"""A task that waits so long for a worker, while workers are there, only says that they are busy."""
POLL_AGE_S = 75.0
"""A long poll lasts 60 s: a poller that was not seen for longer is gone."""
NO_WORKER = "no worker takes its tasks: start one with 'innkeeper up' or 'innkeeper worker'"
LAST_EVENTS = 20
MAX_REASON_CHARS = 400
NODE_ACTIVITIES = frozenset({EXECUTE_NODE, EXECUTE_SEGMENT})


@dataclass(frozen=True)
class Stuck:
    """Why a run cannot go on.

    Attributes:
        code: `workflow_task_failing`, `engine_activity_failing` or `no_worker`.
        message: The reason, and what to do, for the user.
        since_ms: Milliseconds since 1970.
    """

    code: str
    message: str
    since_ms: int

    def to_json(self, iso: Callable[[int], str]) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "since": iso(self.since_ms)}


@dataclass(frozen=True)
class FailingActivity:
    """An activity of the engine's own, as its server describes it; `since_ms`: when its last attempt began."""

    name: str
    attempts: int
    reason: str
    since_ms: int


@dataclass(frozen=True)
class PendingWork:
    """What one workflow waits for.

    Attributes:
        attempt: Of its workflow task; 0 when there is none.
        task_since_ms: When that task was first scheduled, milliseconds since 1970.
        untaken_since_ms: Since when its workflow task or an activity waits for a worker; None when none does.
        reason: Of the last failed workflow task, when it fails again and again.
        failing: The engine's own activity that fails again and again, if any.
        works: It has a workflow task or an activity; else it waits for a timer, a signal or its children.
    """

    attempt: int = 0
    task_since_ms: int = 0
    untaken_since_ms: int | None = None
    reason: str = ""
    failing: FailingActivity | None = None
    works: bool = False


def diagnose(run: str, found: Iterable[PendingWork], now_ms: int, *, no_worker: str | None) -> Stuck | None:
    """Why a run with these workflows is stuck, or None.

    Args:
        no_worker: Why nobody takes its tasks; None: somebody may.
    """
    found = list(found)
    if (failing := max(found, key=lambda work: work.attempt, default=None)) and failing.attempt >= FAILING_ATTEMPTS:
        reason = f": {failing.reason}" if failing.reason else ""
        message = f"its workflow task fails again and again ({failing.attempt} attempts so far){reason}. "
        message += f"See the worker's log; to end the run: innkeeper cancel {run} --force"
        return Stuck("workflow_task_failing", message, failing.task_since_ms)
    for broken in (work.failing for work in found if work.failing is not None):
        message = f"the engine cannot {broken.name} ({broken.attempts} attempts so far): {broken.reason}. "
        message += "The run goes on by itself when that is mended, for example when the disk has space again"
        return Stuck("engine_activity_failing", message, broken.since_ms)
    untaken = min((since for work in found if (since := work.untaken_since_ms) is not None), default=now_ms)
    if no_worker is None or now_ms - untaken < UNTAKEN_S * 1000:
        return None
    return Stuck("no_worker", f"{no_worker}; to end the run: innkeeper cancel {run} --force", untaken)


@dataclass
class _Checked:
    at: float
    stuck: Stuck | None


class StuckRuns:
    """Says of open runs whether they are stuck.

    Args:
        queue: The task queue of the runs.
        has_connected_worker: Is a worker connected to this gateway?
    """

    def __init__(
        self, temporal: TemporalLink, runs: OpenRuns, *, queue: str, has_connected_worker: Callable[[], bool]
    ) -> None:
        self._temporal = temporal
        self._runs = runs
        self._queue = queue
        self._has_connected_worker = has_connected_worker
        self._checked: dict[str, _Checked] = {}
        self._checking: dict[str, asyncio.Task[None]] = {}
        self._requeried: dict[str, float] = {}
        self._window_began, self._asked_in_window = 0.0, 0

    def known(self, run: str) -> Stuck | None:
        """What was found out last, unless the run was heard of since."""
        found = self._checked.get(run)
        if found is None or self._runs.quiet_s(run) < time.monotonic() - found.at:
            return None
        return found.stuck

    async def look(self, run: str) -> Stuck | None:
        """What is known of one run, asking Temporal first when that is due; waits for it PATIENCE_S at most.

        A run that only waits is left to the rounds, and so are all while many are asked for.
        """
        if self._is_due(run) and not self._runs.is_idle(run) and (run in self._checking or self._may_ask()):
            # Kept on when nobody waits any more: whoever asks next has the answer.
            task = self._checking.get(run) or self._start_check(run)
            await asyncio.wait({task}, timeout=PATIENCE_S)
        return self.known(run)

    async def keep_looking(self) -> None:
        """For ever: look at the runs without news, those first that were not looked at for longest."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self._temporal.wait()
            for run in self._next_round():
                await self._check(run)

    async def stop(self) -> None:
        for task in self._checking.values():
            task.cancel()
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    def _next_round(self) -> list[str]:
        known = self._runs.known()
        self._checked = {run: self._checked[run] for run in known if run in self._checked}
        self._requeried = {run: self._requeried[run] for run in known if run in self._requeried}
        due = [run for run in known if self._is_due(run)]
        # Runs that only wait come last: as a rule they are well.
        return sorted(due, key=lambda run: (self._runs.is_told_idle(run), self._last_check(run)))[:ROUND_RUNS]

    def _last_check(self, run: str) -> float:
        found = self._checked.get(run)
        return found.at if found is not None else 0.0

    def _is_due(self, run: str) -> bool:
        return self._runs.quiet_s(run) >= QUIET_S and time.monotonic() - self._last_check(run) >= CHECK_S

    def _may_ask(self) -> bool:
        """Somebody may ask for the status of a thousand runs each second."""
        now = time.monotonic()
        if now - self._window_began >= CHECK_S:
            self._window_began, self._asked_in_window = now, 0
        self._asked_in_window += 1
        return self._asked_in_window <= ROUND_RUNS

    def _start_check(self, run: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._check(run), name=f"check-{run}")
        self._checking[run] = task
        task.add_done_callback(lambda _: self._checking.pop(run, None))
        return task

    async def _check(self, run: str) -> None:
        at = time.monotonic()
        stuck = None
        try:
            stuck = await self._asked(await self._temporal.client(), run)
        except EngineAway:
            pass
        except RPCError as error:
            if is_away(error):
                self._temporal.lost()
            elif error.status != RPCStatusCode.NOT_FOUND:
                logger.warning("a run could not be looked at", extra={"run": run, "code": str(error.status)})
        except Exception:  # its end would leave all later runs unwatched
            logger.exception("a run could not be looked at", extra={"event": "check_failed", "run": run})
        self._checked[run] = _Checked(at, stuck)

    async def _asked(self, client: Client, run: str) -> Stuck | None:
        began = time.monotonic()
        found: dict[str, PendingWork] = {}
        left, build = [run], ""
        while left and len(found) < MAX_WORKFLOWS:
            workflow = left.pop(0)
            try:
                described = await describe_workflow(client, workflow, CALL_TIMEOUT)
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND or workflow == run:
                    raise
                continue  # a child that has ended meanwhile
            if described.workflow_execution_info.status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING:
                return None  # it has just ended
            if workflow == run:  # its groups are pinned to the same one
                build = described.workflow_execution_info.versioning_info.deployment_version.build_id
            work = pending_work(described)
            if work.attempt >= FAILING_ATTEMPTS:
                work = replace(work, reason=await _why(client, workflow))
            found[workflow] = work
            left += [child.workflow_id for child in described.pending_children]
        no_worker = await _why_untaken(client, self._queue, build) if self._has_connected_worker() else NO_WORKER
        has_no_work = not (left or any(work.works for work in found.values()))
        if has_no_work and not self._runs.is_told_idle(run):
            if no_worker is None:
                await self._requery(client, run, found)
            if self._runs.quiet_s(run) > time.monotonic() - began:
                self._runs.found_without_work(run)
        return diagnose(run, found.values(), time.time_ns() // 1_000_000, no_worker=no_worker)

    async def _requery(self, client: Client, run: str, workflows: Iterable[str]) -> None:
        now = time.monotonic()
        if now - self._requeried.get(run, -REQUERY_S) < REQUERY_S:
            return
        self._requeried[run] = now
        for workflow in workflows:
            # Whatever comes of it: the log tells whether it helped.
            with contextlib.suppress(RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
                await client.get_workflow_handle(workflow).query("status", args=[0, 0], rpc_timeout=QUERY_TIMEOUT)


def pending_work(found: DescribeWorkflowExecutionResponse) -> PendingWork:
    """What a described workflow waits for, without the reason of failures."""
    untaken = [
        _milliseconds(activity.scheduled_time)
        for activity in found.pending_activities
        if activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    ]
    failing = next(_failing(found.pending_activities), None)
    if not found.HasField("pending_workflow_task"):
        works = bool(found.pending_activities)
        return PendingWork(untaken_since_ms=min(untaken, default=None), failing=failing, works=works)
    task = found.pending_workflow_task
    first = task.original_scheduled_time if task.HasField("original_scheduled_time") else task.scheduled_time
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        untaken.append(_milliseconds(task.scheduled_time))
    return PendingWork(task.attempt, _milliseconds(first), min(untaken, default=None), failing=failing, works=True)


def _failing(activities: Iterable[PendingActivityInfo]) -> Iterator[FailingActivity]:
    """Nodes have retries of their own, which the events tell."""
    for activity in activities:
        name, attempts = activity.activity_type.name, activity.attempt - 1
        if name not in NODE_ACTIVITIES and attempts >= FAILING_ATTEMPTS and activity.HasField("last_failure"):
            reason = one_line(activity.last_failure.message)
            yield FailingActivity(name, attempts, reason, _milliseconds(activity.last_started_time))


def last_failure(events: Iterable[HistoryEvent]) -> Failure | None:
    """Of the newest workflow task that failed, why it did; the newest event comes first."""
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return event.workflow_task_failed_event_attributes.failure
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            return Failure(message="the worker did not finish it in time")
    return None


def one_line(message: str) -> str:
    """What a failure says, for a status."""
    return " ".join(message.split())[:MAX_REASON_CHARS]


def _milliseconds(moment: Timestamp) -> int:
    return int(moment.ToMilliseconds())


async def _why(client: Client, workflow: str) -> str:
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow),
        maximum_page_size=LAST_EVENTS,
    )
    found = await client.workflow_service.get_workflow_execution_history_reverse(request, timeout=CALL_TIMEOUT)
    failure = last_failure(found.history.events)
    return "" if failure is None else one_line(await failure_message(client, failure))


async def _why_untaken(client: Client, queue: str, build: str) -> str | None:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    found = await client.workflow_service.describe_task_queue(request, timeout=CALL_TIMEOUT)
    return why_untaken(found, build, time.time())


def why_untaken(found: DescribeTaskQueueResponse, build: str, now: float) -> str | None:
    """Why nobody takes the tasks of a run; None when somebody asks for them.

    Args:
        build: The build of workers that the run began on; empty: it began on none, or has not begun.
    """
    current = found.versioning_info.current_deployment_version.build_id
    builds = {
        poller.deployment_options.build_id if _is_versioned(poller) else ""
        for poller in found.pollers
        if now - poller.last_access_time.ToSeconds() < POLL_AGE_S
    }
    if (build or current) in builds:
        return None
    if build:
        return f"no worker of its build {build!r} takes its tasks: start one of that build"
    if builds and not current:
        return "no build of the workers gets new runs: 'innkeeper deploy set BUILD' gives them to one"
    return NO_WORKER


def _is_versioned(poller: PollerInfo) -> bool:
    return poller.deployment_options.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
