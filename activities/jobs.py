"""The engine's own small activities: values too large for history, and whether anybody polls a queue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import orjson
from temporalio import activity
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from activities.values import JSON_MIME, Values
from nodes.call import LOAD_VALUE, MERGE_VALUES, PREVIEW_CHARS, QUEUE_HAS_WORKERS, STORE_VALUES, is_blob

POLL_AGE_S = 75.0
"""A long poll lasts 60 s: a poller not seen for longer is gone, though the server lists it for minutes."""


class EngineJobs:
    def __init__(self, values: Values, client: Client) -> None:
        self._values = values
        self._client = client

    def activities(self) -> Sequence[Callable[..., Any]]:
        return (self.store_values, self.load_value, self.merge_values, self.queue_has_workers)

    @activity.defn(name=STORE_VALUES)
    async def store_values(self, values: list[Any]) -> list[Any]:
        """Blobs of the values, in order; what is a reference already stays."""
        return [value if is_blob(value) else await self._store(value) for value in values]

    @activity.defn(name=LOAD_VALUE)
    async def load_value(self, reference: dict[str, Any]) -> Any:
        return await self._values.resolve(reference)

    @activity.defn(name=MERGE_VALUES)
    async def merge_values(self, references: list[dict[str, Any]]) -> dict[str, Any]:
        """One blob of all the objects behind the references."""
        merged: dict[str, Any] = {}
        for reference in references:
            merged.update(await self._values.resolve(reference))
        return await self._store(merged)

    @activity.defn(name=QUEUE_HAS_WORKERS)
    async def queue_has_workers(self, queue: str) -> bool:
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        answer = await self._client.workflow_service.describe_task_queue(request)
        newest = max((poller.last_access_time.ToSeconds() for poller in answer.pollers), default=0)
        return time.time() - newest < POLL_AGE_S

    async def nudge(self, run: str) -> None:
        """Have a worker look at a run: if the one that knew it has died, another replays it and tells its facts."""
        with contextlib.suppress(RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            await self._client.get_workflow_handle(run).query("status", args=[0, 0], rpc_timeout=timedelta(seconds=10))

    async def _store(self, value: Any) -> dict[str, Any]:
        data = orjson.dumps(value)
        return await self._values.store(data, JSON_MIME, data[:PREVIEW_CHARS].decode(errors="ignore"))
