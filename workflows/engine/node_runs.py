"""How one node runs as an activity: its call, its queue, its limits, and what its failure means."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
)
from temporalio.exceptions import TimeoutError as ActivityTimeout

from innkeeper.nodes.call import EXECUTE_NODE, PIECES, QUEUE_HAS_WORKERS, STORE_VALUES, NodeCall
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import node_values
from innkeeper.workflows.engine.engine_activities import (
    HEARTBEAT_TIMEOUT,
    MAX_MESSAGE_BYTES,
    engine_activity,
    failure_of,
    pieces_of,
)
from innkeeper.workflows.engine.parking import Before
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan, SlotKey

MAX_INLINE_INPUTS = 256_000
"""Bytes of JSON that one node's inputs may have together before they are stored first."""
UNPOLLED_QUEUE_S = 60.0
PIECES_SINCE = NAMED_SINCE = 2
"""The first plan version whose multi slots travel in pieces, and whose activities are named like their nodes."""
STOP_PATIENCE = timedelta(seconds=5)
"""The activity itself holds a node to its limit and tells of it; the server gives up on one that does not stop then."""
LEAST_TOTAL_S = 10.0
"""What a node that was parked has at least, when its attempts before have used up the time for all of them."""
FIRST = Before()
STREAM_LIMIT = timedelta(hours=24)
"""A node at either end of a STREAM edge may wait this long; its own limit counts what it does not wait."""


class NodeRuns:
    """Starts the activities that run the nodes of one graph.

    Args:
        context: The run and its user, for the calls.
        location: Gives the nodes their paths in the run, and says whose streams are wanted outside.
        plan: Says who consumes whose streams.
    """

    def __init__(self, context: WorkflowContext, location: GraphLocation, plan: RunPlan) -> None:
        self._context = context
        self._location = location
        self._plan = plan
        self._followers: AbstractSet[NodeId] = frozenset(link.id for link in plan.links if link.follows)

    def follows(self, node: PlannedNode) -> bool:
        """Does it read a stream while it comes?"""
        return node.id in self._followers

    def start(
        self, node: PlannedNode, inputs: dict[str, Any], size: int, before: Before = FIRST
    ) -> asyncio.Future[dict[str, Any]]:
        """`size`: bytes of JSON of all inputs together. `before`: what was before this activity of the node."""
        if size <= MAX_INLINE_INPUTS and node.queue is None:
            try:
                return self._activity(node, inputs, before)
            except ApplicationError as error:
                refused: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
                refused.set_exception(error)
                return refused
        return asyncio.create_task(self._store_and_watch(node, inputs, size, before))

    def _activity(
        self, node: PlannedNode, inputs: dict[str, Any], before: Before
    ) -> workflow.ActivityHandle[dict[str, Any]]:
        retry = RetryPolicy(
            initial_interval=timedelta(seconds=node.initial_s),
            backoff_coefficient=node.backoff,
            maximum_interval=timedelta(seconds=max(node.maximum_s, node.initial_s)),
            maximum_attempts=0,  # failures are counted by the activity, which knows which attempts only waited
            non_retryable_error_types=["PayloadsTooLarge"],
        )
        is_in_stream = self._is_in_stream(node)
        # Its own limit is then not for all of an attempt: the activity holds the node to it.
        is_open_ended = is_in_stream or node.counts_silence
        has_total = node.counts_silence or not is_in_stream
        total_s = max(node.total_timeout_s - before.spent_s, min(LEAST_TOTAL_S, node.total_timeout_s))
        call = self._call(node, inputs, before).to_wire()
        must_fit(node, call)
        return workflow.start_activity(
            EXECUTE_NODE,
            call,
            # Named, so that a replay that starts another node here is noticed; the server only compares type and id.
            activity_id=self._location.of(node.id) if self._plan.plan_version >= NAMED_SINCE else None,
            task_queue=self._queue_of(node),
            result_type=dict,
            start_to_close_timeout=STREAM_LIMIT if is_open_ended else timedelta(seconds=node.timeout_s) + STOP_PATIENCE,
            schedule_to_close_timeout=timedelta(seconds=total_s) if has_total else STREAM_LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{node.id}: {node.title or node.type}"[:200],
        )

    def _is_in_stream(self, node: PlannedNode) -> bool:
        return self.follows(node) or self._is_followed(node)

    def _is_followed(self, node: PlannedNode) -> bool:
        return node.id in self._plan.consumers or node.id in self._location.kept

    def _queue_of(self, node: PlannedNode) -> str | None:
        """None is the run's own queue. Consumers wait in slots of their own, or they would starve their producers."""
        return f"{node.queue or workflow.info().task_queue}.streams" if self.follows(node) else node.queue

    def _call(self, node: PlannedNode, inputs: dict[str, Any], before: Before) -> NodeCall:
        return NodeCall(
            run=self._context.run,
            path=self._location.of(node.id),
            type=node.type,
            inputs=inputs,
            mode=node.mode,
            config=dict(node.config),
            multi=[key for key, slot in node.inputs.items() if slot.multi],
            seal={key: list(slot.seal) for key, slot in node.outputs.items() if slot.seal},
            streams=[key for key, slot in node.outputs.items() if slot.stream],
            collect_chunks=node.collect_chunks or node.id in self._location.lists,
            base_attempt=before.attempts,
            max_failures=max(1, node.max_attempts - min(before.fused, 1)),
            non_retryable=list(node.non_retryable),
            run_user=self._context.user_id,
            interface_inputs=interface_inputs(self._plan, self._location) if node.interface_values else {},
            stream_inputs=self.sources(node),
            keep_chunks=self._is_followed(node),
            active_timeout_s=node.timeout_s,
            counts_silence=node.counts_silence,
            max_timeouts=node.max_timeouts,
            may_park=True,
            counted=dict(before.counted),
            cached=node.cached and not self._context.no_cache,
        )

    def sources(self, node: PlannedNode) -> dict[str, list[str | None]]:
        """Where its stream inputs come from: paths in the run."""
        found = node_values.stream_inputs(self._plan, node)
        return {key: [self._location.of(path) if path else path for path in paths] for key, paths in found.items()}

    async def _store_and_watch(
        self, node: PlannedNode, inputs: dict[str, Any], size: int, before: Before
    ) -> dict[str, Any]:
        """Start a node with large inputs, which are stored first, or one whose queue may have no worker."""
        if size > MAX_INLINE_INPUTS:
            inputs = await stored(node, inputs, in_pieces=self._plan.plan_version >= PIECES_SINCE)
        handle = self._activity(node, inputs, before)
        if node.queue is not None:
            await self._watch_queue(self._queue_of(node) or node.queue, handle)
        return await handle

    async def _watch_queue(self, queue: str, handle: workflow.ActivityHandle[dict[str, Any]]) -> None:
        """Return when the node ended; fail it when the server reports that nobody polls its queue."""
        patience = UNPOLLED_QUEUE_S
        while not handle.done():
            try:
                await workflow.wait_condition(handle.done, timeout=patience)
            except TimeoutError:
                patience *= 2
                is_polled = await _has_workers(queue)
                if self._context.interrupted:  # meanwhile
                    handle.cancel()
                    return
                if not is_polled:
                    handle.cancel()
                    message = f"no worker polls the queue {queue!r}; start one with INNKEEPER_QUEUES={queue}"
                    raise ApplicationError(message, type="no_worker", non_retryable=True) from None
            except asyncio.CancelledError:
                if not self._context.interrupted:  # but evicted
                    raise
                handle.cancel()
                return


async def _has_workers(queue: str) -> bool:
    """Does anybody poll the queue? Yes when that cannot be found out, or the run is interrupted meanwhile."""
    try:
        return await engine_activity(QUEUE_HAS_WORKERS, queue, bool)
    except ActivityError:  # so ends an activity, too, that a cancelled task was waiting for
        return True


def must_fit(node: PlannedNode, message: Any, beside: int = 0) -> None:
    """Raise ApplicationError when a message, with `beside` further bytes, is larger than the server takes: it would
    refuse the workflow task again and again, and the run would stand still."""
    size = json_size(message) + beside
    if size > MAX_MESSAGE_BYTES:
        text = f"what node {node.id!r} is given takes {size} bytes in one message; the limit is {MAX_MESSAGE_BYTES}"
        hint = "give it fewer or shorter settings and inputs"
        raise ApplicationError(f"{text}; {hint}", type="value_too_large", non_retryable=True)


def interface_inputs(plan: RunPlan, location: GraphLocation) -> dict[str, Any]:
    """What core:GroupInput gives here: the workflow's own values, over them what came in from outside."""
    given = {key: value for key, value in location.inputs.items() if key in plan.interface_keys}
    return {**plan.interface_inputs, **given}


async def stored(node: PlannedNode, inputs: dict[str, Any], *, in_pieces: bool) -> dict[str, Any]:
    """The same inputs with the heavier slots as blobs. A multi slot travels in pieces: even references of its elements
    would be too many for one message."""
    heavy = sorted(inputs, key=lambda key: json_size(inputs[key]), reverse=True)
    left = sum(json_size(value) for value in inputs.values())
    result = dict(inputs)
    for key in heavy:
        if left <= MAX_INLINE_INPUTS:
            break
        left -= json_size(inputs[key])
        many = node.inputs[SlotKey(key)].multi and isinstance(inputs[key], list)
        if many and in_pieces:
            result[key] = {
                PIECES: [(await engine_activity(STORE_VALUES, [piece], list))[0] for piece in pieces_of(inputs[key])]
            }
        else:
            values = inputs[key] if many else [inputs[key]]
            must_fit(node, values)
            refs = await engine_activity(STORE_VALUES, values, list)
            result[key] = refs if many else refs[0]
    return result


def describe(error: BaseException, node: PlannedNode) -> tuple[dict[str, Any], int]:
    """What users read about a failed node, and how many attempts it took."""
    cause = error.cause if isinstance(error, ActivityError | ChildWorkflowError) else error
    if isinstance(error, ActivityError) and error.activity_type != EXECUTE_NODE:
        cause = failure_of(error)
    if isinstance(cause, ActivityTimeout):
        last = cause.cause
        limit = f"node {node.id!r}, whose limit is {node.timeout_s:g} s for one attempt, "
        limit += f"did not finish within {node.total_timeout_s:g} s in all attempts together"
        message = f"{limit}; last: {last.message}" if isinstance(last, ApplicationError) else limit
        return {"message": message, "code": "timeout", "retryable": True}, 0
    if isinstance(cause, TerminatedError | CancelledError):
        message = f"the workflow of node {node.id!r} was ended from outside, in Temporal"
        return {"message": message, "code": "terminated", "retryable": False}, 0
    if isinstance(cause, ApplicationError):
        details = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
        described = {
            "message": cause.message,
            "code": cause.type or "node_failed",
            "retryable": bool(details.get("retryable", False)),
        }
        if details.get("details"):
            described["details"] = details["details"]
        return described, int(details.get("attempt", 0))
    return {"message": f"node {node.id!r} failed: {type(error).__name__}", "code": "node_failed", "retryable": False}, 0
