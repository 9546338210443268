"""Workflows are taken off the queue of a dead worker; on the real server."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType, TaskQueueKind
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from innkeeper.activities.sticky_queues import StickyQueueReset, around


@workflow.defn(sandboxed=False)
class OneActivity:
    @workflow.run
    async def run(self, how: str) -> None:
        await workflow.execute_activity(
            "twice", how, start_to_close_timeout=timedelta(seconds=30), heartbeat_timeout=timedelta(seconds=1)
        )


@activity.defn(name="twice")
async def twice(how: str) -> None:
    """Its first attempt fails, or ends without a word as after a SIGKILL; the second one takes a moment."""
    if activity.info().attempt > 1:
        await asyncio.sleep(0.5)
    elif how == "fails":
        activity.heartbeat({"failures": 1})
        raise ApplicationError("no")
    else:
        await asyncio.sleep(20)


@pytest.mark.parametrize(
    ("how", "kind"),
    [("dies", TaskQueueKind.TASK_QUEUE_KIND_NORMAL), ("fails", TaskQueueKind.TASK_QUEUE_KIND_STICKY)],
)
async def test_only_after_a_death_the_next_workflow_task_goes_to_any_worker(
    temporal: Client, how: str, kind: TaskQueueKind.ValueType
) -> None:
    queue = f"q-{uuid.uuid4().hex}"
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[OneActivity],
        activities=[twice],
        interceptors=[StickyQueueReset(temporal)],
    )
    async with worker, asyncio.timeout(30):
        handle = await temporal.start_workflow("OneActivity", how, id=f"{queue}/each", task_queue=queue)
        await handle.result()
        tasks = [
            event.workflow_task_scheduled_event_attributes.task_queue.kind
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
        ]
    assert tasks[-1] == kind


def test_a_workflow_and_all_around_it_itself_first() -> None:
    assert around("run") == ["run"]
    assert around("run/each/g") == ["run/each/g", "run/each", "run"]
