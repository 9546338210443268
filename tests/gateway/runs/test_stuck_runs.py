"""When a run counts as stuck, by what Temporal says; without Temporal."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import ActivityType
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState, WorkerVersioningMode
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowTaskFailedEventAttributes
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingWorkflowTaskInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse, DescribeWorkflowExecutionResponse

from innkeeper.gateway.runs.stuck_runs import (
    MAX_REASON_CHARS,
    POLL_AGE_S,
    FailingActivity,
    PendingWork,
    diagnose,
    last_failure,
    one_line,
    pending_work,
    why_untaken,
)

NOW = 1_000_000


@pytest.mark.parametrize(
    ("found", "has_worker", "code"),
    [
        ([PendingWork()], False, None),
        ([PendingWork(attempt=2, task_since_ms=1)], True, None),
        ([PendingWork(attempt=3, task_since_ms=1)], True, "workflow_task_failing"),
        ([PendingWork(), PendingWork(attempt=9, task_since_ms=1)], True, "workflow_task_failing"),
        ([PendingWork(attempt=1, untaken_since_ms=NOW - 11_000)], False, "no_worker"),
        ([PendingWork(attempt=1, untaken_since_ms=NOW - 11_000)], True, None),
        ([PendingWork(attempt=1, untaken_since_ms=NOW - 9_000)], False, None),
        ([], False, None),
        ([PendingWork(failing=FailingActivity("store_values", 4, "disk full", NOW))], True, "engine_activity_failing"),
    ],
)
def test_diagnose(found: list[PendingWork], has_worker: bool, code: str | None) -> None:
    stuck = diagnose("r", found, NOW, no_worker=None if has_worker else "no worker")
    assert (stuck and stuck.code) == code
    hint = "goes on by itself" if code == "engine_activity_failing" else "innkeeper cancel r --force"
    assert stuck is None or hint in stuck.message


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def test_pending_work_takes_the_first_schedule_and_what_waits_longest() -> None:
    described = DescribeWorkflowExecutionResponse(
        pending_workflow_task=PendingWorkflowTaskInfo(
            state=PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED,
            attempt=4,
            scheduled_time=at(50),
            original_scheduled_time=at(20),
        ),
        pending_activities=[
            PendingActivityInfo(state=PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED, scheduled_time=at(40)),
            PendingActivityInfo(state=PendingActivityState.PENDING_ACTIVITY_STATE_STARTED, scheduled_time=at(10)),
        ],
    )
    assert pending_work(described) == PendingWork(attempt=4, task_since_ms=20_000, untaken_since_ms=40_000, works=True)
    assert pending_work(DescribeWorkflowExecutionResponse()) == PendingWork()


def test_activity_of_the_engine_that_fails_is_told_and_one_of_a_node_is_not() -> None:
    def failed(name: str, attempt: int) -> PendingActivityInfo:
        return PendingActivityInfo(
            activity_type=ActivityType(name=name),
            attempt=attempt,
            last_failure=Failure(message="No space\nleft"),
            last_started_time=at(7),
            scheduled_time=at(9),
            state=PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
        )

    def described(*activities: PendingActivityInfo) -> PendingWork:
        return pending_work(DescribeWorkflowExecutionResponse(pending_activities=activities))

    assert described(failed("execute_node", 9), failed("store_values", 3)).failing is None
    assert described(failed("store_values", 4)).failing == FailingActivity("store_values", 3, "No space left", 7000)


def test_reason_is_that_of_the_newest_failure_on_one_line_of_bounded_length() -> None:
    def failed(message: str) -> HistoryEvent:
        return HistoryEvent(
            event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
            workflow_task_failed_event_attributes=WorkflowTaskFailedEventAttributes(failure=Failure(message=message)),
        )

    started = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
    assert last_failure([started, failed("newest"), failed("older")]) == Failure(message="newest")
    assert one_line("new\nest") == "new est"
    assert len(one_line("x" * 5000)) == MAX_REASON_CHARS
    timed_out = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
    found = last_failure([timed_out, failed("older")])
    assert found is not None
    assert found.message == "the worker did not finish it in time"
    assert last_failure([started]) is None


def polled(*builds: str | None, current: str = "") -> DescribeTaskQueueResponse:
    """A queue that is polled by workers of builds (None: not versioned), the last of which went away long ago."""
    found = DescribeTaskQueueResponse()
    found.versioning_info.current_deployment_version.build_id = current
    for build, ago in zip(builds, [1] * (len(builds) - 1) + [POLL_AGE_S + 1], strict=True):
        mode = "VERSIONED" if build else "UNVERSIONED"
        options = WorkerDeploymentOptions(
            build_id=build or "any",
            worker_versioning_mode=WorkerVersioningMode.Value(f"WORKER_VERSIONING_MODE_{mode}"),
        )
        found.pollers.add(deployment_options=options).last_access_time.FromSeconds(int(1_000 - ago))
    return found


@pytest.mark.parametrize(
    ("found", "build", "said"),
    [
        (polled(None, None), "", None),
        (polled(None), "", "no worker takes its tasks"),
        (polled("a", "b", None, current="a"), "", None),
        (polled("a", "b", None, current="a"), "b", None),
        (polled("a", "b", current="a"), "b", "no worker of its build 'b'"),
        (polled("a", "b"), "", "innkeeper deploy set BUILD"),
        (polled("b", None, current="a"), "", "no worker takes its tasks"),
        (polled(None, "b", current="a"), "a", "no worker of its build 'a'"),
    ],
)
def test_reason_why_nobody_takes_tasks_knows_builds(
    found: DescribeTaskQueueResponse, build: str, said: str | None
) -> None:
    reason = why_untaken(found, build, 1_000)
    assert reason is None if said is None else reason is not None and said in reason
