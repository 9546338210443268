"""The one Temporal workflow: it starts what is ready, waits, and records what ended. Decisions are in plan.py."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import orjson
from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as ActivityTimeout

from nodes.call import (
    EXECUTE_NODE,
    LOAD_VALUE,
    MERGE_VALUES,
    QUEUE_HAS_WORKERS,
    STORE_VALUES,
    NodeCall,
    NodeResult,
)
from workflows import plan as plans
from workflows.plan import Missing, NodeId, PlannedNode, RunPlan
from workflows.sink import tell
from workflows.state import NodeStatus, RunState

TASK_QUEUE = "innkeeper"
TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
RUN_STATUS = SearchAttributeKey.for_keyword("RunStatus")
HEARTBEAT_TIMEOUT = timedelta(seconds=5)
MAX_INLINE_INPUTS = 256_000
"""Bytes of JSON that one node's inputs may have together before they are stored first."""
MAX_INLINE_NODES = 200
DRAIN_EVENTS = 20_000
DRAIN_BYTES = 20_000_000
UNPOLLED_QUEUE_S = 60.0
STREAM_LIMIT = timedelta(hours=24)
"""A node at either end of a STREAM edge may wait this long; its own limit counts what it does not wait."""

T = TypeVar("T")


@dataclass(frozen=True)
class RunStart:
    """What a run is started with beside its plan. `state_refs`: the node table of the run before continue-as-new."""

    user_id: str = "default_user"
    state_refs: list[dict[str, Any]] = field(default_factory=list)


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class GraphWorkflow:
    """Runs one plan. Always returns a result (docs/internals.md), for failed and interrupted runs too."""

    @workflow.init
    def __init__(self, plan: bytes, start: RunStart) -> None:
        self._plan_bytes = plan
        self._start = start
        self._plan = RunPlan.decode(plan)
        self._run = workflow.info().workflow_id
        self._state = RunState()
        self._progress, ready = plans.begin(self._plan)
        self._ready: list[tuple[int, NodeId]] = [(self._plan.order[node], node) for node in ready]
        self._held: list[tuple[int, NodeId]] = []  # stream consumers beyond those that may run at a time
        self._consuming = 0
        self._running: dict[NodeId, asyncio.Task[Any]] = {}
        self._ended: list[NodeId] = []
        self._interrupted = False

    @workflow.run
    async def run(self, plan: bytes, start: RunStart) -> dict[str, Any]:
        try:
            await self._restore()
            await self._interpret()
            return await self._result()
        except (asyncio.CancelledError, CancelledError, workflow.ContinueAsNewError):
            raise
        except Exception as bug:
            # A plain exception would be retried as a task failure for ever; non-determinism never comes through here.
            raise ApplicationError(
                f"the interpreter failed: {type(bug).__name__}", type="internal_error", non_retryable=True
            ) from bug

    @workflow.query
    def status(self, offset: int = 0, limit: int = 200) -> dict[str, Any]:
        """One page of the node table, in plan order of their beginning."""
        page = list(self._state.table.items())[offset : offset + limit]
        state = "interrupting" if self._interrupted else "running"
        return {
            "status": state,
            "counts": self._state.counts(),
            "nodes": dict(page),
            "total": len(self._plan.nodes),
        }

    # --- the loop -------------------------------------------------------------------------------------------------

    async def _restore(self) -> None:
        if not self._start.state_refs:
            return
        for ref in self._start.state_refs:
            self._state.table.update(await self._unstoppable(_job(LOAD_VALUE, ref, dict)))
        self._progress, ready = self._state.progress(self._plan)
        self._ready = [(self._plan.order[node], node) for node in ready]

    async def _interpret(self) -> None:
        while True:
            held_back = self._start_ready()
            if not self._running and not self._ended:
                if not (self._ready or self._held) or self._interrupted:
                    return
                await self._continue_as_new()
            await self._wait(0.1 if held_back else None)
            ended, self._ended = self._ended, []
            for node_id in ended:
                self._finish(self._plan.by_id[node_id], self._running.pop(node_id))

    async def _wait(self, timeout_s: float | None) -> None:
        """Wait for the end of any node. `timeout_s` wakes us to start nodes held back by this activation's budget."""
        try:
            await workflow.wait_condition(lambda: bool(self._ended), timeout=timeout_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._interrupt()

    def _interrupt(self) -> None:
        # Remembered here: an activity that completes although it was cancelled would swallow the request.
        self._interrupted = True
        self._ready.clear()
        self._held.clear()
        for task in self._running.values():
            task.cancel()

    def _start_ready(self) -> bool:
        """Start what is ready, in order. True when this activation's budget held nodes back."""
        started = spent = 0
        while self._ready and not self._interrupted and not self._must_drain():
            node = self._plan.by_id[self._ready[0][1]]
            if node.beside and self._consuming >= plans.MAX_CONSUMERS:
                self._held.append(heapq.heappop(self._ready))
                continue
            inputs = plans.inputs_for(node, self._state.outputs)
            if isinstance(inputs, Missing) or node.bypass is not None:
                heapq.heappop(self._ready)
                self._end_without_running(node, inputs)
                continue
            size = len(orjson.dumps(inputs)) if inputs else 0
            if not plans.budget([min(size, MAX_INLINE_INPUTS)], len(self._running), started, spent):
                return len(self._running) < plans.MAX_IN_FLIGHT
            heapq.heappop(self._ready)
            started, spent = started + 1, spent + size
            self._begin(node, inputs, size)
        return False

    def _begin(self, node: PlannedNode, inputs: dict[str, Any], size: int) -> None:
        self._state.move(node.id, NodeStatus.RUNNING, startedAt=_now())
        plain = size <= MAX_INLINE_INPUTS and node.queue is None
        task: asyncio.Task[Any] = (
            self._activity(node, inputs) if plain else asyncio.create_task(self._with_care(node, inputs, size))
        )
        self._running[node.id] = task
        self._consuming += bool(node.beside)
        # Both ends of a STREAM edge are scheduled in one workflow task.
        self._push(plans.started(self._plan, self._progress, node.id))
        task.add_done_callback(lambda _: self._ended.append(node.id))

    def _end_without_running(self, node: PlannedNode, inputs: dict[str, Any] | Missing) -> None:
        if isinstance(inputs, Missing):
            slots = ", ".join(repr(slot) for slot in inputs.slots)
            message = f"node {node.id!r} got no value for required input {slots}; connect it or give it a value"
            self._fail(node, {"message": message, "code": "missing_input", "retryable": False}, attempts=0)
            return
        given = plans.bypass_outputs(node.bypass or {}, inputs)
        self._state.move(node.id, NodeStatus.BYPASSED, output=given, endedAt=_now())
        self._tell(node.id, "NODE_BYPASSED", {"pseudoOutputs": given})
        self._settle(node.id, "bypassed")

    # --- one node -------------------------------------------------------------------------------------------------

    def _activity(self, node: PlannedNode, inputs: dict[str, Any]) -> workflow.ActivityHandle[dict[str, Any]]:
        retry = RetryPolicy(
            initial_interval=timedelta(seconds=node.initial_s),
            backoff_coefficient=node.backoff,
            maximum_interval=timedelta(seconds=max(node.maximum_s, node.initial_s)),
            maximum_attempts=0,  # failures are counted by the activity, which knows which attempts only waited
            non_retryable_error_types=["PayloadsTooLarge"],
        )
        in_stream = self._is_in_stream(node)
        return workflow.start_activity(
            EXECUTE_NODE,
            self._call(node, inputs).to_wire(),
            task_queue=self._queue_of(node),
            result_type=dict,
            start_to_close_timeout=STREAM_LIMIT if in_stream else timedelta(seconds=node.timeout_s),
            schedule_to_close_timeout=STREAM_LIMIT if in_stream else timedelta(seconds=node.total_timeout_s),
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{node.id}: {node.title or node.type}"[:200],
        )

    def _is_in_stream(self, node: PlannedNode) -> bool:
        return bool(node.beside) or node.id in self._plan.consumers

    def _queue_of(self, node: PlannedNode) -> str | None:
        """None is the run's own queue. Consumers wait in slots of their own, or they would starve their producers."""
        return f"{node.queue or workflow.info().task_queue}.streams" if node.beside else node.queue

    def _call(self, node: PlannedNode, inputs: dict[str, Any]) -> NodeCall:
        return NodeCall(
            run=self._run,
            path=node.id,
            type=node.type,
            inputs=inputs,
            mode=node.mode,
            config=dict(node.config),
            multi=[key for key, slot in node.inputs.items() if slot.multi],
            seal={key: list(slot.seal) for key, slot in node.outputs.items() if slot.seal},
            streams=[key for key, slot in node.outputs.items() if slot.stream],
            collect_chunks=node.collect_chunks,
            max_failures=node.max_attempts,
            non_retryable=list(node.non_retryable),
            run_user=self._start.user_id,
            interface_inputs=dict(self._plan.interface_inputs) if node.interface_values else {},
            stream_inputs=plans.stream_inputs(node),
            keep_chunks=node.id in self._plan.consumers,
            active_timeout_s=node.timeout_s if self._is_in_stream(node) else 0.0,
        )

    async def _with_care(self, node: PlannedNode, inputs: dict[str, Any], size: int) -> dict[str, Any]:
        """A node with large inputs, or one whose queue may have no worker."""
        if size > MAX_INLINE_INPUTS:
            inputs = await self._stored(node, inputs)
        handle = self._activity(node, inputs)
        if node.queue is not None:
            await self._watch_queue(self._queue_of(node) or node.queue, handle)
        return await handle

    async def _stored(self, node: PlannedNode, inputs: dict[str, Any]) -> dict[str, Any]:
        """The same inputs with the heavier slots as blobs. Multi slots travel element by element."""
        heavy = sorted(inputs, key=lambda key: len(orjson.dumps(inputs[key])), reverse=True)
        left = sum(len(orjson.dumps(value)) for value in inputs.values())
        result = dict(inputs)
        for key in heavy:
            if left <= MAX_INLINE_INPUTS:
                break
            left -= len(orjson.dumps(inputs[key]))
            many = node.inputs[plans.SlotKey(key)].multi and isinstance(inputs[key], list)
            refs = await _job(STORE_VALUES, inputs[key] if many else [inputs[key]], list)
            result[key] = refs if many else refs[0]
        return result

    async def _watch_queue(self, queue: str, handle: workflow.ActivityHandle[dict[str, Any]]) -> None:
        """Return when the node ended; fail it when the server says that nobody polls its queue."""
        patience = UNPOLLED_QUEUE_S
        while not handle.done():
            try:
                await workflow.wait_condition(handle.done, timeout=patience)
                return
            except TimeoutError:
                if not await _job(QUEUE_HAS_WORKERS, queue, bool):
                    handle.cancel()
                    message = f"no worker polls the queue {queue!r}; start one with INNKEEPER_QUEUES={queue}"
                    raise ApplicationError(message, type="no_worker", non_retryable=True) from None
                patience *= 2
            except asyncio.CancelledError:
                handle.cancel()
                return

    def _finish(self, node: PlannedNode, task: asyncio.Task[Any]) -> None:
        """Record how a node's task ended."""
        if node.beside:
            self._consuming -= 1
            self._ready += self._held
            self._held = []
            heapq.heapify(self._ready)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and self._interrupted:
            return  # interrupted nodes are recorded together, at the end
        if error is not None:
            self._fail(node, *_describe(error, node))
            return
        result = NodeResult(**task.result())
        self._state.move(node.id, NodeStatus.COMPLETE, output=result.outputs, attempts=result.attempt, endedAt=_now())
        if not result.logged:
            self._state.table[node.id]["unlogged"] = True
        self._settle(node.id, "complete")

    def _fail(self, node: PlannedNode, error: dict[str, Any], attempts: int) -> None:
        self._state.move(node.id, NodeStatus.ERROR, error=error, attempts=attempts, endedAt=_now())
        self._tell(node.id, "NODE_ERROR", {"errorDetails": error, "attempts": attempts})
        self._settle(node.id, "error")

    def _settle(self, node_id: NodeId, outcome: str) -> None:
        settled = plans.settle(self._plan, self._progress, node_id, outcome)
        self._push(settled.ready)
        for skipped in settled.skipped:
            self._state.move(skipped, NodeStatus.SKIPPED, reason="upstream_error", cause=node_id)
            self._tell(skipped, "NODE_SKIPPED", {"reason": "upstream_error", "causeNodeId": node_id})

    def _push(self, nodes: tuple[NodeId, ...]) -> None:
        for node in nodes:
            heapq.heappush(self._ready, (self._plan.order[node], node))

    def _tell(self, node_id: NodeId, type: str, payload: dict[str, Any]) -> None:
        tell(self._run, node_id, type, payload)

    # --- history and the end --------------------------------------------------------------------------------------

    def _must_drain(self) -> bool:
        """Is this history full enough that nothing new may start in it?"""
        info = workflow.info()
        if info.is_continue_as_new_suggested() and not self._running:
            return True
        return info.get_current_history_length() > DRAIN_EVENTS or info.get_current_history_size() > DRAIN_BYTES

    async def _continue_as_new(self) -> None:
        refs = await self._spill()
        workflow.continue_as_new(args=[self._plan_bytes, RunStart(self._start.user_id, refs)])

    async def _spill(self) -> list[dict[str, Any]]:
        """Store the node table in pieces small enough for an activity argument; give back their references."""
        refs: list[dict[str, Any]] = []
        for piece in self._state.pieces():
            refs.extend(await self._unstoppable(_job(STORE_VALUES, [piece], list)))
        return refs

    async def _result(self) -> dict[str, Any]:
        if self._interrupted:
            self._record_interrupted()
        status = plans.run_status(self._plan, self._outcomes(), self._interrupted)
        inline = len(self._plan.nodes) <= MAX_INLINE_NODES and len(orjson.dumps(self._state.table)) <= MAX_INLINE_INPUTS
        nodes_ref = None if inline else await self._table_blob()
        # A run that completed says so by itself; only what Temporal would also call completed is marked. A server
        # that knows TenantId, which the run was started with, knows RunStatus too.
        if status != "complete" and workflow.info().typed_search_attributes.get(TENANT_ID) is not None:
            workflow.upsert_search_attributes([RUN_STATUS.value_set(status)])
        return {
            "status": status,
            "outputs": plans.interface_values(self._plan, self._state.outputs),
            "counts": self._state.counts(),
            "nodes": self._state.table if inline else None,
            "nodes_ref": nodes_ref,
        }

    async def _table_blob(self) -> dict[str, Any]:
        pieces = await self._spill()
        return await self._unstoppable(_job(MERGE_VALUES, pieces, dict))

    async def _unstoppable(self, job: workflow.ActivityHandle[T]) -> T:
        """Await the engine's own job; an interruption meanwhile is remembered, not obeyed at once."""
        while True:
            try:
                return await asyncio.shield(job)
            except asyncio.CancelledError:
                if job.cancelled():
                    raise
                self._interrupt()

    def _outcomes(self) -> dict[NodeId, str]:
        return {node: entry["status"] for node, entry in self._state.table.items()}

    def _record_interrupted(self) -> None:
        for node in self._plan.nodes:
            entry = self._state.table.get(node.id)
            if entry is None or entry["status"] == NodeStatus.RUNNING:
                self._state.move(node.id, NodeStatus.INTERRUPTED, endedAt=_now())
                self._tell(node.id, "NODE_INTERRUPTED", {})


def _job(name: str, arg: Any, result_type: type[T]) -> workflow.ActivityHandle[T]:
    """One short activity of the engine's own."""
    handle: workflow.ActivityHandle[T] = workflow.start_activity(
        name,
        arg,
        result_type=result_type,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)),
    )
    return handle


def _describe(error: BaseException, node: PlannedNode) -> tuple[dict[str, Any], int]:
    """What users read about a failed node, and how many attempts it took."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ActivityTimeout):
        last = cause.cause
        limit = f"node {node.id!r} did not finish within {node.total_timeout_s:g} s"
        message = f"{limit}; last: {last.message}" if isinstance(last, ApplicationError) else limit
        return {"message": message, "code": "timeout", "retryable": True}, 0
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


def _now() -> str:
    return workflow.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
