"""Runs one graph inside a Temporal workflow: starts what is ready, waits, and records what ended."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

from innkeeper.nodes.call import NodeResult
from innkeeper.nodes.feeds import Missing
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import control, node_values, parking, scheduler
from innkeeper.workflows.engine.activation import History
from innkeeper.workflows.engine.binding import Streams, bound
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.control_runs import ControlRuns
from innkeeper.workflows.engine.node_runs import MAX_INLINE_INPUTS, NodeRuns, describe
from innkeeper.workflows.engine.node_table import NodeTable
from innkeeper.workflows.engine.parking import Before, Parking
from innkeeper.workflows.engine.ready_queue import ReadyQueue
from innkeeper.workflows.engine.segment_queue import SegmentQueue
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

HELD_BACK_S = 0.001
"""Only to begin another workflow task. Nothing else is under way in a chain of segments: the whole run waits for it."""


class Interpreter:
    """One graph at one place of a run.

    When the history is full it stops with work left (`drained`); the caller then continues as new.

    Args:
        streams: Of a group: where the streams of its interface inputs come from.
        repeated: Others run in the same workflow: who repeats this one wakes it when it was held back.

    Attributes:
        nodes: What is known of each node.
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
        self.nodes = NodeTable(context, location, self.plan)
        self.drained = False
        self._context = context
        self._location = location
        self._repeated = repeated
        self._runs = NodeRuns(context, location, self.plan)
        self._controls = ControlRuns(context, location, self.plan, self._runs)
        self._segments = SegmentQueue(context, location, self.plan, self.nodes)
        self._ready = ReadyQueue(self.plan)
        self._ready.push(self.nodes.begin())
        self._held: list[NodeId] = []  # stream consumers beyond those that may run at a time
        self._consuming = 0
        self._waits_to_resume: list[NodeId] = []
        self._parked: set[NodeId] = set()  # of those that run: their activity has ended, and the run waits for them
        self._unparked = ReadyQueue(self.plan)  # have waited, and are to be started anew
        self._begun: dict[NodeId, float] = {}  # when the activity of a node began, in seconds since 1970
        self._running: dict[NodeId, asyncio.Future[Any]] = {}  # a segment by the node it begins with
        self._ended: list[NodeId] = []
        self._woken = False
        self._cancelled = False

    def resume(self, table: dict[NodeId, dict[str, Any]]) -> None:
        """Take over what is known of the nodes already. Only before `run`."""
        ready = self.nodes.resume(table)
        self._waits_to_resume = [node for node in ready if "wait" in self.nodes.entry(node)]
        self._ready.clear()
        self._ready.push(node for node in ready if "wait" not in self.nodes.entry(node))
        self._controls.resume(table)

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run to the end, or until the history is full (`drained`). An interruption ends it early, never with an
        exception."""
        unsubscribe = self._context.subscribe(self.wake)
        self.drained, self._woken = False, self._context.interrupted
        try:
            self._resume_waits()
            while True:
                held_back = self._start_ready()
                self._stop_left_out()
                if self._is_over():
                    break
                self._context.held_back = self._context.held_back or held_back
                await self._wait(HELD_BACK_S if held_back and not self._repeated else None)
                self._finish_ended()
        finally:
            unsubscribe()
        if self._context.interrupted:
            self.nodes.interrupt_rest()

    def _resume_waits(self) -> None:
        """Go on with the waits of an earlier history, whatever keeps new nodes from starting: they are not new."""
        nodes, self._waits_to_resume = [self.plan.by_id[node] for node in self._waits_to_resume], []
        for node in nodes:
            if "parked" in self.nodes.entry(node.id):
                self._hold(node)
                continue
            inputs = node_values.inputs_for(node, self.nodes.values)
            self._begin(node, {} if isinstance(inputs, Missing) else inputs, 0)

    def _is_over(self) -> bool:
        """Is nothing left to do, at least in this history (`drained`)?"""
        if self._ended or self._is_busy():
            return False
        has_ready = bool(self._ready or self._held or self._segments or self._unparked)
        if not self._running and (self._context.interrupted or not has_ready):
            return True
        self.drained = self._must_drain() and not self._context.interrupted
        return self.drained

    def _is_busy(self) -> bool:
        """Is anything under way but nodes that wait? These are state: they outlive this history."""
        return len(self._running) > sum(1 for node in self._running if self._controls.is_waiting(node))

    @property
    def is_still(self) -> bool:
        """Has nothing happened since `run` returned?"""
        return not (self._ended or self._is_busy() or self._context.interrupted)

    async def _wait(self, timeout_s: float | None) -> None:
        """Wait for the end of any node. `timeout_s` wakes us to start nodes held back by this activation's budget."""
        try:
            await workflow.wait_condition(lambda: bool(self._ended) or self._woken, timeout=timeout_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not self._context.take_interruption():
                raise
        self._woken = False
        if self._context.interrupted and not self._cancelled:
            self._interrupt()

    def wake(self) -> None:
        """Look again what may start, and whether this history is full."""
        self._woken = True

    def _interrupt(self) -> None:
        # Remembered in the context: an activity that completes although it was cancelled would swallow the request.
        self._cancelled = True
        self._ready.clear()
        self._held.clear()
        self._segments.clear()
        self._unparked.clear()
        for node, task in self._running.items():
            if not self._segments.is_local(node):  # that is over in a moment
                task.cancel()

    # --- starting -------------------------------------------------------------------------------------------------

    def _start_ready(self) -> bool:
        """Start what is ready, in plan order, inline nodes last. True when this activation's budget held nodes back."""
        self._context.activation.look()
        if not self._start_unparked():
            return self._context.has_room
        while self._ready and self._may_start():
            node = self.plan.by_id[self._ready.pop()]
            if not self._start_node(node):
                self._ready.push((node.id,))
                return self._context.has_room  # else the end of a node brings the next start
        return self._start_segments()

    def _start_unparked(self) -> bool:
        """Start anew what has waited. False when this activation's budget held some back."""
        while self._unparked:
            node = self.plan.by_id[self._unparked.pop()]
            # Those that read its stream wait for it, and the end of this history waits for them.
            is_waited_for = node.id in self.plan.consumers and self._is_busy()
            if not (self._may_go_on() and (is_waited_for or not self._must_drain())):
                self._unparked.push((node.id,))
                return True
            if not self._start_node(node):
                self._unparked.push((node.id,))
                return False
        return True

    def _start_node(self, node: PlannedNode) -> bool:
        """Start a node, end it at once, or put it aside. False: this activation's budget is used up."""
        if self.nodes.has_ended(node.id):  # skipped while it was held
            return True
        if self._runs.follows(node) and self._consuming >= scheduler.MAX_CONSUMERS:
            self._held.append(node.id)
            return True
        inputs = node_values.inputs_for(node, self.nodes.values)
        if isinstance(inputs, Missing):
            error = {"message": inputs.of(node.id), "code": "missing_input", "retryable": False}
            self._ready.push(self.nodes.fail(node, error, attempts=0))
        elif node.bypass is not None:
            self._ready.push(self.nodes.bypass(node, self._bypass_outputs(node, inputs)))
        elif "parked" not in self.nodes.entry(node.id) and self._segments.takes(node):
            self._segments.push((node.id,))
        else:
            return self._begin_within_budget(node, inputs)
        return True

    def _begin_within_budget(self, node: PlannedNode, inputs: dict[str, Any]) -> bool:
        size = json_size(inputs) if inputs else 0
        weight = min(size, MAX_INLINE_INPUTS) + (len(self.plan.group_bytes(node.group)) if node.group else 0)
        if not self._context.has_budget_for(weight):
            return False
        self._context.activation.spend(1, weight)
        self._begin(node, inputs, size)
        return True

    def _begin(self, node: PlannedNode, inputs: dict[str, Any], size: int) -> None:
        # Both ends of a STREAM edge are scheduled in one workflow task.
        self._ready.push(self.nodes.start(node.id))
        if node.placement != "workflow":
            self._begun[node.id] = workflow.now().timestamp()
            self._track(node, self._runs.start(node, inputs, size, self._before(node.id)))
            return
        self.nodes.emit(node.id, "NODE_EXECUTING", {"attempt": 1})
        decision = self._controls.decide(node, inputs, self.nodes.values)
        if decision is not None:
            self._ready.push(self.nodes.complete(node, decision))
        else:
            self._track(node, asyncio.create_task(self._controls.run(node, inputs, self.nodes.entry(node.id))))

    def _before(self, node: NodeId) -> Before:
        """What was before the next activity of a node."""
        in_segments = self._segments.attempts_of(node)
        return Before.of(self.nodes.entry(node)) or Before(in_segments, in_segments)

    def _start_segments(self) -> bool:
        """Start segments of the inline nodes that are ready. True when the budget held some back."""
        # What begins beside a cancel request is cancelled before it is sent; a local segment would run all the same.
        while self._segments and self._may_start() and workflow.cancellation_reason() is None:
            # A node that ends while a local segment runs would wait for it, and a replay could see the two ends in
            # another order: so a segment is local only when nothing else is under way in this workflow.
            started = self._segments.start(may_be_local=not (self._running or self._repeated))
            if started is None:
                return self._context.has_room  # else the end of a node brings the next start
            first, task = started
            self._track(self.plan.by_id[first], task)
        return False

    def _track(self, node: PlannedNode, task: asyncio.Future[Any]) -> None:
        self._running[node.id] = task
        self._context.in_flight += not self._controls.waits(node)
        self._consuming += self._runs.follows(node)
        task.add_done_callback(lambda _: self._ended.append(node.id))

    def _bypass_outputs(self, node: PlannedNode, inputs: dict[str, Any]) -> dict[str, Any]:
        if node.joins:
            return dict(control.merge(node, inputs, self.nodes.values).outputs)
        return node_values.bypass_outputs(node.bypass or {}, inputs)

    def _may_start(self) -> bool:
        return self._may_go_on() and not self._must_drain()

    def _may_go_on(self) -> bool:
        context = self._context
        return not (context.interrupted or context.paused or context.activation.segment_runs)

    def _must_drain(self) -> bool:
        """Is this history full enough that nothing new may start in it?"""
        # Only where segments may keep workflow tasks open is the newest answer not to be trusted.
        may_be_local = self._segments.fuses and not self._repeated
        history = self._context.activation.history if may_be_local else History.now()
        return history.is_full(is_busy=self._is_busy)

    def _stop_left_out(self) -> None:
        """Stop nodes that wait and are not needed any more; nobody can answer them from now on."""
        stopped, self.nodes.left_out = self.nodes.left_out, []
        for node in stopped:
            self._controls.forget(node)
            if node in self._running:
                self._running[node].cancel()

    # --- finishing ------------------------------------------------------------------------------------------------

    def _finish_ended(self) -> None:
        ended, self._ended = self._ended, []
        for node in ended:
            self._finish(self.plan.by_id[node], self._running.pop(node))

    def _finish(self, node: PlannedNode, task: asyncio.Future[Any]) -> None:
        """Record how a task ended, of one node or of the segment that begins with it."""
        if node.id in self._parked:
            self._release(node, task)
            return
        if self._repeated and not self._context.has_room:
            self._context.wake_all()  # another graph may use the room
        self._context.in_flight -= not self._controls.waits(node)
        if self._segments.is_running(node.id):
            self._ready.push(self._segments.finish(node.id, task))
            return
        if self._runs.follows(node):
            self._consuming -= 1
            self._ready.push(self._held)
            self._held = []
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.nodes.has_ended(node.id):  # left out: it does not matter how it stopped
            return
        now = workflow.now().timestamp()
        spent_s = now - self._begun.pop(node.id, now)
        if error is None:
            self._ready.push(self._record(node, task.result()))
        elif not self._context.interrupted:  # interrupted nodes are recorded together, at the end
            self._fail(node, error, spent_s)

    def _fail(self, node: PlannedNode, error: BaseException, spent_s: float) -> None:
        """Record that a node has failed, or that it was parked. `spent_s`: how long its activity was under way."""
        now = workflow.now().timestamp()
        found = Parking.of(self._location.of(node.id), error, self._before(node.id), spent_s=spent_s, now=now)
        if found is None:
            self._ready.push(self.nodes.fail(node, *describe(error, node)))
            return
        self.nodes.park(node.id, found)
        answered_at, answer = self._context.budget_answers.get(found.payload.get("scope", ""), (0.0, {}))
        if answer and answered_at > now - spent_s:  # it was refused before somebody answered
            self.nodes.entry(node.id)["wait"]["answer"] = answer
            self.nodes.emit(node.id, *parking.answered(found.payload, answer))
        self._hold(node)

    # --- parked nodes ---------------------------------------------------------------------------------------------

    def _hold(self, node: PlannedNode) -> None:
        """Wait in the place of a node that was parked. Takes no room: it is state, not work."""
        self._parked.add(node.id)
        waiting = self._controls.hold(node.id, self.nodes.entry(node.id))
        task = self._running[node.id] = asyncio.ensure_future(waiting)
        task.add_done_callback(lambda _: self._ended.append(node.id))

    def _release(self, node: PlannedNode, task: asyncio.Future[None]) -> None:
        """Let a node go on whose wait is over."""
        self._parked.discard(node.id)
        wait = self._controls.release(node.id)
        if self.nodes.has_ended(node.id):  # left out
            return
        entry = self.nodes.entry(node.id)
        entry.pop("wait", None)
        if self._context.interrupted or wait is None:
            return
        task.result()
        if parking.is_stopped(wait):
            error = parking.stop_error(entry["parked"]["event"][1], wait.answer or {})
            self._ready.push(self.nodes.fail(node, error, entry["parked"]["attempts"]))
        else:
            self._unparked.push((node.id,))

    def _record(self, node: PlannedNode, result: NodeDecision | dict[str, Any]) -> tuple[NodeId, ...]:
        """Record what a control node decided, or what an activity gave. Returns the nodes that are ready now."""
        if isinstance(result, NodeDecision):
            return self.nodes.complete(node, result)
        return self.nodes.record_result(node, NodeResult(**result))
