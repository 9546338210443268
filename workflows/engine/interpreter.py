"""Runs one graph inside a Temporal workflow: starts what is ready, waits, and records what ended."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from temporalio import workflow

from innkeeper.nodes.call import NodeResult
from innkeeper.nodes.feeds import Missing
from innkeeper.workflows.engine import control, node_values, scheduler, segments
from innkeeper.workflows.engine.activation import History
from innkeeper.workflows.engine.binding import Streams, bound
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.control_runs import ControlRuns
from innkeeper.workflows.engine.node_runs import MAX_INLINE_INPUTS, NodeRuns, describe, interface_inputs
from innkeeper.workflows.engine.segment_runs import MAX_ATTEMPTS, REGULAR_MS, SegmentRuns
from innkeeper.workflows.engine.state import NodeStatus, RunState, end_of
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

DRAIN_EVENTS = 20_000
DRAIN_BYTES = 20_000_000


@dataclass(frozen=True)
class Segment:
    """Inline nodes that one activity runs. `ready` waited for nothing when it began; `is_here`: as a local activity."""

    ready: tuple[NodeId, ...]
    is_here: bool


class Interpreter:
    """One graph at one place of a run.

    Args:
        repeated: Others run in the same workflow: who repeats this one wakes it when it was held back.

    When the history is full it stops with work left (`drained`); the caller then continues as new.
    """

    def __init__(
        self,
        context: WorkflowContext,
        plan: RunPlan,
        location: GraphLocation,
        streams: Streams | None = None,
        *,
        repeated: bool = False,
    ) -> None:
        self.plan = bound(plan, streams, location.inputs) if streams is not None else plan
        self.location = location
        self.state = RunState()
        self.drained = False
        self._context = context
        self._repeated = repeated
        self._runs = NodeRuns(context, location, self.plan)
        self._segment_runs = SegmentRuns(context, location)
        self._fuses = self.plan.plan_version >= segments.FUSED_SINCE
        self._controls = ControlRuns(context, location, self.plan, self._runs, self._emit)
        self._progress, ready = scheduler.begin(self.plan)
        self._ready: list[tuple[int, NodeId]] = [(self.plan.order[node], node) for node in ready]
        self._held: list[tuple[int, NodeId]] = []  # stream consumers beyond those that may run at a time
        self._consuming = 0
        self._waited: list[NodeId] = []  # waits of the history before, to be taken up
        self._running: dict[NodeId, asyncio.Future[Any]] = {}
        self._inline: list[tuple[int, NodeId]] = []  # ready, for the next segments
        self._segments: dict[NodeId, Segment] = {}  # by the node they begin with
        self._alone: dict[NodeId, int] = {}  # inline nodes that no segment could finish, and attempts used up there
        self._ended: list[NodeId] = []
        self._woken = False
        self._cancelled = False

    def resume(self, table: dict[NodeId, dict[str, Any]]) -> None:
        """Take over what is known of the nodes already. Only before `run`."""
        self.state.table.update(table)
        self._progress, ready = self.state.progress(self.plan)
        self._waited = [node for node in ready if "wait" in table.get(node, {})]
        self._ready = [(self.plan.order[node], node) for node in ready if "wait" not in table.get(node, {})]
        self._controls.resume(table)

    @property
    def status(self) -> str:
        outcome = {node: entry["status"] for node, entry in self.state.table.items()}
        return scheduler.run_status(self.plan, outcome, self._context.interrupted)

    @property
    def outputs(self) -> dict[str, Any]:
        """The graph's interface outputs."""
        return node_values.interface_values(self.plan, self.state.outputs)

    @property
    def failure(self) -> dict[str, Any]:
        """Why the graph failed: its first node whose failure nothing handles, and up to 20 failed nodes."""
        entries = [(node, entry) for node, entry in self.state.table.items() if entry["status"] == NodeStatus.ERROR]
        fatal_ids = scheduler.unhandled(self.plan, {node: entry["status"] for node, entry in entries})
        fatal = [(node, entry) for node, entry in entries if node in fatal_ids]
        if not fatal:
            return {"message": "a graph below failed", "code": "node_failed"}
        (node, entry), failed = fatal[0], self._failed_nodes()
        message = f"node {self.location.of(node)!r}: {entry['error'].get('message')}"
        return {"message": message, "code": entry["error"].get("code"), "nodes": failed}

    def _failed_nodes(self) -> list[dict[str, Any]]:
        failed = [(path, entry["error"]) for path, entry in self.table()[0].items() if entry["status"] == "error"]
        return [{"nodeId": path, "code": e.get("code"), "message": e.get("message")} for path, e in failed[:20]]

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run to the end, or until the history is full (`drained`). An interruption ends it early, never with an
        exception."""
        self.drained = False
        unsubscribe = self._context.subscribe(self._wake)
        self.drained, self._woken = False, self._context.interrupted
        try:
            self._take_up_waits()
            await self._loop()
        finally:
            unsubscribe()
        if self._context.interrupted:
            self.record_interrupted()

    def _take_up_waits(self) -> None:
        """Waiting goes on whatever keeps new nodes from starting: it is nothing new."""
        nodes, self._waited = [self.plan.by_id[node] for node in self._waited], []
        for node in nodes:
            inputs = node_values.inputs_for(node, self.state.outputs)
            self._begin(node, {} if isinstance(inputs, Missing) else inputs, 0)

    async def _loop(self) -> None:
        while True:
            held_back = self._start_ready()
            if not self._ended and not self._is_busy() and self._is_over():
                return
            self._context.held_back = self._context.held_back or held_back
            await self._wait(0.1 if held_back and not self._repeated else None)
            ended, self._ended = self._ended, []
            for node_id in ended:
                self._finish(self.plan.by_id[node_id], self._running.pop(node_id))

    def _forget_ready(self) -> None:
        for nodes in (self._ready, self._held, self._inline):
            nodes.clear()

    @property
    def is_still(self) -> bool:
        """Has nothing happened since the loop was left?"""
        return not (self._ended or self._is_busy() or self._context.interrupted)

    def _is_busy(self) -> bool:
        """Is anything under way but nodes that wait? These are state: they outlive this history."""
        return len(self._running) > len(self._waiting())

    def _waiting(self) -> list[NodeId]:
        return [node for node in self._running if self._controls.is_waiting(node)]

    def _is_over(self) -> bool:
        if not self._running and (not (self._ready or self._held or self._inline) or self._context.interrupted):
            return True
        self.drained = self._must_drain() and not self._context.interrupted
        return self.drained

    async def _wait(self, timeout_s: float | None) -> None:
        """Wait for the end of any node. `timeout_s` wakes us to start nodes held back by this activation's budget."""
        try:
            await workflow.wait_condition(lambda: bool(self._ended) or self._woken, timeout=timeout_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._context.interrupted = True
            self._context.wake_all()
        self._woken = False
        if self._context.interrupted and not self._cancelled:
            self._interrupt()

    def _wake(self) -> None:
        self._woken = True

    def _interrupt(self) -> None:
        # Remembered in the context: an activity that completes although it was cancelled would swallow the request.
        self._cancelled = True
        self._forget_ready()
        for node_id, task in self._running.items():
            if not self._is_here(node_id):  # that is over in a moment
                task.cancel()

    def _is_here(self, node_id: NodeId) -> bool:
        """Is it a segment that this worker runs?"""
        return node_id in self._segments and self._segments[node_id].is_here

    def _start_ready(self) -> bool:
        """Start what is ready, in order, inline nodes last. True when this activation's budget held nodes back."""
        activation = self._context.activation.look()
        while self._ready and self._may_start():
            node = self.plan.by_id[self._ready[0][1]]
            if node.id in self._progress.outcome:  # skipped while it was held
                heapq.heappop(self._ready)
                continue
            if self._runs.follows(node) and self._consuming >= scheduler.MAX_CONSUMERS:
                self._held.append(heapq.heappop(self._ready))
                continue
            inputs = node_values.inputs_for(node, self.state.outputs)
            if isinstance(inputs, Missing) or node.bypass is not None:
                heapq.heappop(self._ready)
                self._end_without_running(node, inputs)
                continue
            if self._may_be_fused(node):
                heapq.heappush(self._inline, heapq.heappop(self._ready))
                continue
            size = len(orjson.dumps(inputs)) if inputs else 0
            weight = min(size, MAX_INLINE_INPUTS) + (len(self.plan.group_bytes(node.group)) if node.group else 0)
            if not scheduler.budget([weight], self._context.in_flight, activation.started, activation.spent):
                return self._context.in_flight < scheduler.MAX_IN_FLIGHT
            heapq.heappop(self._ready)
            activation.started, activation.spent = activation.started + 1, activation.spent + weight
            self._begin(node, inputs, size)
        return self._start_segments()

    def _may_start(self) -> bool:
        context = self._context
        if context.interrupted or context.paused or context.activation.segment_runs:
            return False
        return not self._must_drain()

    def _must_drain(self) -> bool:
        """Is this history full enough that nothing new may start in it?"""
        return history_is_full(self._history(), is_busy=self._is_busy)

    def _history(self) -> History:
        # Only where segments may keep workflow tasks open is the newest answer not to be trusted.
        return self._context.activation.history if self._fuses and not self._repeated else History.now()

    # --- segments -------------------------------------------------------------------------------------------------

    def _may_be_fused(self, node: PlannedNode) -> bool:
        return self._may_join(node) and segments.weight_of(node, self.state.outputs) <= segments.MAX_BYTES

    def _may_join(self, node: PlannedNode) -> bool:
        return self._fuses and node.id not in self._alone and segments.may_be_fused(node)

    def _start_segments(self) -> bool:
        """Start segments of the inline nodes that are ready. True when the budget held some back."""
        activation = self._context.activation
        # What begins beside a cancel request is cancelled before it is sent; a local segment would run all the same.
        while self._inline and self._may_start() and workflow.cancellation_reason() is None:
            ready = [heapq.heappop(self._inline) for _ in range(min(segments.MAX_NODES, len(self._inline)))]
            nodes = self._chosen([node for _, node in ready])
            is_here = self._may_run_here()
            budget_ms = activation.left_ms if is_here else REGULAR_MS
            call = self._segment_runs.call(nodes, self.state.outputs, budget_ms)
            size = len(orjson.dumps(call))
            if not scheduler.budget([size], self._context.in_flight, activation.started, activation.spent):
                for item in ready:
                    heapq.heappush(self._inline, item)
                return self._context.in_flight < scheduler.MAX_IN_FLIGHT
            # Choosing takes time too, and one workflow task must not last long: ten inline nodes count as one command.
            activation.started, activation.spent = activation.started + 1 + len(nodes) // 10, activation.spent + size
            inside = {node.id for node in nodes}
            for item in ready:
                if item[1] not in inside:
                    heapq.heappush(self._inline, item)
            self._begin_segment(call, tuple(node for _, node in ready if node in inside), is_here)
        return False

    def _chosen(self, ready: list[NodeId]) -> list[PlannedNode]:
        outputs = self.state.outputs
        return segments.choose(
            self.plan, self._progress.waiting, ready, self._may_join, lambda node: segments.weight_of(node, outputs)
        )

    def _may_run_here(self) -> bool:
        """Only when nothing else is under way in this workflow: what ends meanwhile would wait for it, and a replay
        could see the two ends in another order."""
        return not (self._running or self._repeated) and self._context.activation.may_run_here()

    def _begin_segment(self, call: dict[str, Any], ready: tuple[NodeId, ...], is_here: bool) -> None:
        first = ready[0]
        task = self._segment_runs.start_here(call) if is_here else self._segment_runs.start(call)
        if is_here:
            self._context.activation.begin_segment(task)
        self._segments[first] = Segment(ready, is_here)
        self._running[first] = task
        self._context.in_flight += 1
        task.add_done_callback(lambda _: self._ended.append(first))

    def _finish_segment(self, segment: Segment, task: asyncio.Future[Any]) -> None:
        self._context.in_flight -= 1
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        result: dict[str, Any] = {"nodes": {}, "ms": segments.LOCAL_MS} if error is not None else task.result()
        if segment.is_here:
            self._context.activation.end_segment(result["ms"], len(orjson.dumps(result["nodes"])))
        if error is not None:
            if self._context.interrupted:
                return
            self._alone.update(dict.fromkeys(segment.ready, 1 if segment.is_here else MAX_ATTEMPTS))
        for node_id, outcome in result["nodes"].items():
            self._take_outcome(self.plan.by_id[NodeId(node_id)], outcome)
        self._push(tuple(node for node in segment.ready if node not in self.state.table))

    def _take_outcome(self, node: PlannedNode, outcome: dict[str, Any]) -> None:
        """Record how a node of a segment ended, as if it had run by itself."""
        if "again" in outcome:
            self._alone[node.id] = outcome["attempt"]
            return
        scheduler.started(self.plan, self._progress, node.id)
        self.state.move(node.id, NodeStatus.RUNNING, startedAt=outcome["startedAt"])
        if "error" in outcome:
            self._fail(node, outcome["error"], outcome["attempt"])
        else:
            self._record_result(node, NodeResult(outcome["outputs"], outcome["attempt"]))
            if workflow.unsafe.is_replaying():  # the worker that ran it may have died before it was heard
                self._emit(node.id, "NODE_COMPLETE", {"output": outcome["outputs"], "attempt": outcome["attempt"]})
        self.state.table[node.id]["endedAt"] = outcome["endedAt"]

    # --- one node -------------------------------------------------------------------------------------------------

    def _begin(self, node: PlannedNode, inputs: dict[str, Any], size: int) -> None:
        begun = self.state.table.get(node.id, {}).get("startedAt") or now()
        self.state.move(node.id, NodeStatus.RUNNING, startedAt=begun)
        if node.placement != "workflow":
            self._follow(node, self._runs.start(node, inputs, size, self._alone.get(node.id, 0)))
            return
        self._emit(node.id, "NODE_EXECUTING", {"attempt": 1})
        given = self._decide(node, inputs)
        if given is None:
            entry = self.state.table[node.id]
            self._follow(node, asyncio.create_task(self._controls.run(node, inputs, entry)))
            return
        self._push(scheduler.started(self.plan, self._progress, node.id))
        self._complete(node, given)

    def _decide(self, node: PlannedNode, inputs: dict[str, Any]) -> NodeDecision | None:
        """What a control node gives that needs nothing but its inputs; None for the others."""
        if node.interface_values:
            return NodeDecision(interface_inputs(self.plan, self.location))
        if node.joins:
            return control.merge(node, inputs, self.state.outputs)
        decide = control.DECISIONS.get(node.type)
        if decide is None:
            return None if self._controls.knows(node) else NodeDecision()
        return None if control.must_load(node, inputs) else decide(inputs, node.config)

    def _follow(self, node: PlannedNode, task: asyncio.Future[Any]) -> None:
        self._running[node.id] = task
        self._context.in_flight += not self._controls.waits(node)
        self._consuming += self._runs.follows(node)
        # Both ends of a STREAM edge are scheduled in one workflow task.
        self._push(scheduler.started(self.plan, self._progress, node.id))
        task.add_done_callback(lambda _: self._ended.append(node.id))

    def _end_without_running(self, node: PlannedNode, inputs: dict[str, Any] | Missing) -> None:
        if isinstance(inputs, Missing):
            self._fail(node, {"message": inputs.of(node.id), "code": "missing_input", "retryable": False}, attempts=0)
            return
        bypass = node.bypass or {}
        given = node_values.bypass_outputs(bypass, inputs)
        if node.joins:
            given = dict(control.merge(node, inputs, self.state.outputs).outputs)
        dead = [slot for slot, source in bypass.items() if not (source.inputs or source.has_empty)]
        more = {"dead": dead} if dead else {}
        self.state.move(node.id, NodeStatus.BYPASSED, output=given, endedAt=now(), **more)
        self._emit(node.id, "NODE_BYPASSED", {"pseudoOutputs": given, **more})
        self._settle(node.id)

    def _finish(self, node: PlannedNode, task: asyncio.Future[Any]) -> None:
        """Record how a node's task ended."""
        if self._repeated and self._context.in_flight >= scheduler.MAX_IN_FLIGHT:
            self._context.wake_all()  # another graph may use the room
        segment = self._segments.pop(node.id, None)
        if segment is not None:
            self._finish_segment(segment, task)
            return
        self._context.in_flight -= not self._controls.waits(node)
        if self._runs.follows(node):
            self._consuming -= 1
            self._ready += self._held
            self._held = []
            heapq.heapify(self._ready)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and self._context.interrupted:
            return  # interrupted nodes are recorded together, at the end
        if error is not None:
            self._fail(node, *describe(error, node))
        elif isinstance(task.result(), NodeDecision):
            self._complete(node, task.result())
        else:
            self._record_result(node, NodeResult(**task.result()))

    def _record_result(self, node: PlannedNode, result: NodeResult) -> None:
        self.state.move(node.id, NodeStatus.COMPLETE, output=result.outputs, attempts=result.attempt, endedAt=now())
        if not result.logged:
            self.state.table[node.id]["unlogged"] = True
        if result.cached:
            self.state.table[node.id]["cached"] = True
        self._settle(node.id)

    def _complete(self, node: PlannedNode, given: NodeDecision) -> None:
        """Record the end of a control node; no activity announces it."""
        outputs = dict(given.outputs)
        more = {"dead": list(given.dead)} if given.dead else {}
        self.state.move(node.id, NodeStatus.COMPLETE, output=outputs, attempts=1, endedAt=now(), **more)
        self._emit(node.id, "NODE_COMPLETE", {"output": outputs, "attempt": 1, **more})
        self._settle(node.id, given.reason)

    def _fail(self, node: PlannedNode, error: dict[str, Any], attempts: int) -> None:
        caught = (
            {"output": {scheduler.ERROR_SLOT: {**error, "nodeId": self.location.of(node.id)}}} if node.catches else {}
        )
        self.state.move(node.id, NodeStatus.ERROR, error=error, attempts=attempts, endedAt=now(), **caught)
        self._emit(node.id, "NODE_ERROR", {"errorDetails": error, "attempts": attempts})
        self._settle(node.id)

    def _settle(self, node_id: NodeId, reason: str = "") -> None:
        """Go on behind a node that has ended. `reason`: why its dead outputs, if there are any, are dead."""
        end = end_of(self.state.table[node_id], reason)
        settled = scheduler.settle(self.plan, self._progress, node_id, end)
        self._push(settled.ready)
        for skipped, why in settled.reasons.items():
            self.state.move(skipped, NodeStatus.SKIPPED, reason=why, cause=node_id)
            self._emit(skipped, "NODE_SKIPPED", {"reason": why, "causeNodeId": self.location.of(node_id)})

    def _push(self, nodes: tuple[NodeId, ...]) -> None:
        for node in nodes:
            heapq.heappush(self._ready, (self.plan.order[node], node))

    def _emit(self, node_id: str, type: str, payload: dict[str, Any]) -> None:
        self._context.emit(self.location.of(node_id), type, payload)

    def record_interrupted(self) -> None:
        """Record the end of everything that has none."""
        for node_id in self.plan.order:
            entry = self.state.table.get(node_id)
            if entry is None or entry["status"] in (NodeStatus.RUNNING, NodeStatus.WAITING):
                self.state.move(node_id, NodeStatus.INTERRUPTED, endedAt=now())
                self._emit(node_id, "NODE_INTERRUPTED", {})

    # --- the table ------------------------------------------------------------------------------------------------

    def table(self) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Every node here and below as far as it is at hand: (path to entry, references of further such tables)."""
        return flat(self.state.table, self.location)

    def counts(self) -> dict[str, int]:
        """How many nodes here and below are in which status."""
        counts = Counter(self.state.counts())
        for entry in self.state.table.values():
            for below in entry.get("below", ()):
                counts.update(below.get("counts") or {})
        return dict(counts)


def history_is_full(history: History, is_busy: Callable[[], bool]) -> bool:
    """May nothing new start in it? Already when a new one is suggested, if nothing is under way."""
    if history.is_long and not is_busy():
        return True
    return history.events > DRAIN_EVENTS or history.bytes > DRAIN_BYTES


def flat(
    table: Mapping[NodeId, Mapping[str, Any]], location: GraphLocation
) -> tuple[dict[str, dict[str, Any]], list[Any]]:
    """A table by paths in the run, with what ran below its nodes."""
    found: dict[str, dict[str, Any]] = {}
    refs: list[Any] = []
    for node, entry in table.items():
        found[location.of(node)] = {key: value for key, value in entry.items() if key != "below"}
        for below in entry.get("below", ()):
            found.update(below.get("nodes") or {})
            refs += below.get("refs") or []
    return found, refs


def now() -> str:
    return workflow.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
