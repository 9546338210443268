"""Takes workflows off the sticky queue of a worker that has died.

The server keeps the next workflow task of a run for the worker that had the run in memory. After a kill each such task
waits out the sticky time-out (2 s) before another worker gets it. An activity that is run again because its last
attempt ended without a word is the sign that this worker may be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from innkeeper.activities.execution.heartbeat import EarlierAttempts

CALL_TIMEOUT = timedelta(seconds=5)


class StickyQueueReset(Interceptor):
    """Watches the activities of a worker. A workflow whose worker lives after all is replayed once more."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Watch(next, self)

    def reset_soon(self, workflow: str) -> None:
        """Beside the activity, which does not wait for it."""
        task = asyncio.create_task(self._reset(around(workflow)), name=f"reset-sticky-{workflow}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reset(self, workflows: Iterable[str]) -> None:
        for workflow in workflows:
            request = ResetStickyTaskQueueRequest(
                namespace=self._client.namespace, execution=WorkflowExecution(workflow_id=workflow)
            )
            with contextlib.suppress(RPCError):  # it has ended, or the time-out does it later
                await self._client.workflow_service.reset_sticky_task_queue(request, timeout=CALL_TIMEOUT)


class _Watch(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, resets: StickyQueueReset) -> None:
        super().__init__(next)
        self._resets = resets

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        is_repeated = info.attempt > 1 and not info.is_local
        if is_repeated and info.workflow_id and EarlierAttempts.of(info.attempt, info.heartbeat_details).deaths:
            self._resets.reset_soon(info.workflow_id)
        return await self.next.execute_activity(input)


def around(workflow: str) -> list[str]:
    """A workflow and those it is a child of, itself first: the id of a child is `<id of its run>/<path>`."""
    parts = workflow.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
