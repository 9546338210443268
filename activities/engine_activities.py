"""The engine's own small activities: values too large for history, and whether anybody polls a queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.activities.execution.values import JSON_MIME, MAX_VALUE_BYTES, Values, stored_bytes
from innkeeper.nodes.call import (
    EDIT_VALUE,
    GATHER_VALUES,
    INLINE_LIMIT,
    LOAD_VALUE,
    MERGE_VALUES,
    OPEN_VALUE,
    PREVIEW_CHARS,
    QUEUE_HAS_WORKERS,
    STORE_VALUES,
    edited,
    holds_marker,
    is_blob,
    kind_of,
    listed,
)
from innkeeper.nodes.json_values import NotJsonData, encode_json

MAX_STORED_DEPTH = 250
"""More than a node may give: items and rounds are put together to lists and objects of results."""
SLICE_ITEMS = 1_000
SLICE_BYTES = 300_000
"""JSON of a value's parts that travels at once."""
POLL_AGE_S = 75.0
"""A long poll lasts 60 s: a poller not seen for longer is gone, though the server lists it for minutes."""


class EngineActivities:
    def __init__(self, values: Values, client: Client) -> None:
        self._values = values
        self._client = client

    def activities(self) -> Sequence[Callable[..., Any]]:
        return (
            self.store_values,
            self.load_value,
            self.merge_values,
            self.open_value,
            self.gather_values,
            self.edit_value,
            self.queue_has_workers,
        )

    @activity.defn(name=STORE_VALUES)
    async def store_values(self, values: list[Any]) -> list[Any]:
        """Blobs of the values, in order; what is a reference already stays."""
        with _heartbeat():
            return [value if is_blob(value) else await self._store(value) for value in values]

    @activity.defn(name=LOAD_VALUE)
    async def load_value(self, reference: dict[str, Any]) -> Any:
        with _heartbeat():
            return await self._values.resolve(reference)

    @activity.defn(name=MERGE_VALUES)
    async def merge_values(self, references: list[dict[str, Any]]) -> dict[str, Any]:
        """One blob of all the objects behind the references."""
        with _heartbeat():
            merged: dict[str, Any] = {}
            for reference in references:
                merged.update(await self._values.resolve(reference))
            return await self._store(merged)

    @activity.defn(name=OPEN_VALUE)
    async def open_value(self, request: dict[str, Any]) -> dict[str, Any]:
        """The parts of a value, large parts as references: `{"items", "total", "kind"}`.

        Of a list the items from `start` on, as many as may travel at once; of an object all fields; with `peek` the
        beginning of a text, of anything else only whether it holds something. Raises ApplicationError when the fields
        are too many.
        """
        with _heartbeat():
            value = await self._values.resolve(request["value"])
            opened: Any = None
            if request.get("peek"):
                opened = value.strip()[:PREVIEW_CHARS] if isinstance(value, str) else bool(value)
            elif isinstance(value, list):
                opened = await self._slice(value, int(request.get("start", 0)))
            elif isinstance(value, dict):
                opened = await self._fields(value)
        return {"items": opened, "total": len(value) if isinstance(value, list | dict) else 1, "kind": kind_of(value)}

    async def _slice(self, value: list[Any], start: int) -> list[Any]:
        items: list[Any] = []
        size = 0
        for item in value[start : start + SLICE_ITEMS]:
            items.append(await self._light(item))
            size += len(_encoded(items[-1]))
            if size > SLICE_BYTES:
                break
        return items

    async def _fields(self, value: dict[str, Any]) -> dict[str, Any]:
        fields = {key: await self._light(item) for key, item in value.items()}
        if len(_encoded(fields)) > SLICE_BYTES:
            message = f"an object of {len(fields)} fields is too large to go through it field by field"
            raise ApplicationError(f"{message}; nest what belongs together", type="value_too_large", non_retryable=True)
        return fields

    @activity.defn(name=GATHER_VALUES)
    async def gather_values(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whole values of parts that were kept apart: the results of all items, or the state of a loop."""
        with _heartbeat():
            if "state" in request:
                _fit_together("the fields of the state", request["state"].values())
                return {"state": await self._light({key: await self._whole(v) for key, v in request["state"].items()})}
            outcomes = [pair for piece in request["pieces"] for pair in await self._values.resolve(piece)]
            lists = listed(outcomes, request["on_error"], request.get("result_key", ""))
            results = await self._whole_results(lists["results"], bool(request.get("result_key")))
            return {"results": await self._light(results), "errors": await self._light(lists["errors"])}

    async def _whole_results(self, results: list[Any], is_one_each: bool) -> list[Any]:
        """Results with the values behind their references; each is one value, or an object of them (or null)."""
        values = results if is_one_each else [value for each in results for value in (each or {}).values()]
        _fit_together("all results", values)
        if is_one_each:
            return [await self._whole(value) for value in results]
        return [each and {key: await self._whole(value) for key, value in each.items()} for each in results]

    @activity.defn(name=EDIT_VALUE)
    async def edit_value(self, request: dict[str, Any]) -> Any:
        """A value with the values that somebody has changed."""
        with _heartbeat():
            value = await self._whole(request.get("value"))
            return await self._light(edited(value, request["values"]))

    @activity.defn(name=QUEUE_HAS_WORKERS)
    async def queue_has_workers(self, queue: str) -> bool:
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        with _heartbeat():
            answer = await self._client.workflow_service.describe_task_queue(request)
        newest = max((poller.last_access_time.ToSeconds() for poller in answer.pollers), default=0)
        # By the server's clock, as the poller's time is: this machine's may be a day off.
        return activity.info().started_time.timestamp() - newest < POLL_AGE_S

    async def requery(self, run: str, paths: Iterable[str]) -> None:
        """Have a worker look at the workflows in which these nodes of a run stand, and at all around them: if the one
        that knew them has died, another replays them and tells their facts."""
        await asyncio.gather(*(self._look_at(workflow) for workflow in workflows_around(run, paths)))

    async def _look_at(self, workflow: str) -> None:
        # Not every part of a path is a workflow: the number of an item or a round is none.
        with contextlib.suppress(RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            handle = self._client.get_workflow_handle(workflow)
            await handle.query("status", args=[0, 0], rpc_timeout=timedelta(seconds=10))

    async def _whole(self, value: Any) -> Any:
        whole = await self._values.resolve(value) if is_blob(value) else value
        if isinstance(whole, bytes):
            message = "a repeated workflow gave bytes, which no list or object holds; encode them as text"
            raise ApplicationError(message, type="invalid_output", non_retryable=True)
        return whole

    async def _light(self, value: Any) -> Any:
        """The value itself, or a reference when it is large or would be taken for one."""
        is_light = len(_encoded(value)) <= INLINE_LIMIT and not holds_marker(value)
        return value if is_light else await self._store(value)

    async def _store(self, value: Any) -> dict[str, Any]:
        data = _encoded(value)
        return await self._values.store(data, JSON_MIME, data[:PREVIEW_CHARS].decode(errors="ignore"))


def _encoded(value: Any) -> bytes:
    """Raises ApplicationError: lists and objects put together out of good ones can still be nested too deeply."""
    try:
        return encode_json(value, max_depth=MAX_STORED_DEPTH).data
    except NotJsonData as error:
        raise ApplicationError(f"what is to be stored {error}", type="invalid_output", non_retryable=True) from None


@contextlib.contextmanager
def _heartbeat() -> Iterator[None]:
    heartbeat = Heartbeat()
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()


def _fit_together(what: str, values: Iterable[Any]) -> None:
    """Raises ApplicationError when one value of all these would be too large. Nothing was loaded by then."""
    if (size := stored_bytes(values)) > MAX_VALUE_BYTES:
        message = f"{what} are {size} bytes together, over the limit of {MAX_VALUE_BYTES}; write them to files"
        raise ApplicationError(message, type="value_too_large", non_retryable=True)


def workflows_around(run: str, paths: Iterable[str]) -> list[str]:
    """The run, and every group that one of these nodes may be in."""
    parts = [path.split("/")[:-1] for path in paths]
    groups = ("/".join((run, *part[:depth])) for part in parts for depth in range(1, len(part) + 1))
    return list(dict.fromkeys((run, *groups)))
