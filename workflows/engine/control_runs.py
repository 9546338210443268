"""Control nodes that take time: groups and repetitions in child workflows, timers, approvals, events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from innkeeper.nodes.call import EDIT_VALUE, LOAD_VALUE, OPEN_VALUE, edited, holds_marker, is_blob
from innkeeper.nodes.feeds import Outputs
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import answers, control, iteration_state, waiting
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.engine_activities import JSON, engine_activity, packed
from innkeeper.workflows.engine.node_runs import MAX_INLINE_INPUTS, NodeRuns, interface_inputs, must_fit, stored
from innkeeper.workflows.engine.workflow_context import GraphLocation, RunStart, Wait, WorkflowContext, signal_child
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

DATA_OF_APPROVALS = "data-of-approvals"
"""The patch since which an approval looks at stored data before it asks (`workflow.patched`)."""
COMMAND_S = 0.001
"""Of a timer that is only there to be one."""
Run = Callable[[PlannedNode, dict[str, Any], dict[str, Any]], Awaitable[NodeDecision]]


class ControlRuns:
    """Runs the control nodes of one graph.

    Args:
        context: Holds the waits and the child workflows while they are under way.
        location: Gives the nodes their paths in the run.
        plan: Holds the plans of the groups.
        runs: Knows where the stream inputs of a group come from.
    """

    def __init__(self, context: WorkflowContext, location: GraphLocation, plan: RunPlan, runs: NodeRuns) -> None:
        self._context = context
        self._location = location
        self._plan = plan
        self._runs = runs
        # Node type to how it runs when it takes time: node, inputs, and its entry of the node table.
        self._by_type: dict[str, Run] = {
            "core:NodeGroup": self._group,
            "core:ForEach": self._for_each,
            "core:Loop": self._loop,
            **dict.fromkeys(waiting.BEGIN, self._wait),
            **dict.fromkeys(control.DECISIONS, self._decide),
        }

    def waits(self, node: PlannedNode) -> bool:
        """Does this node only wait: state, not work?"""
        return node.type in waiting.BEGIN

    def is_waiting(self, node: NodeId) -> bool:
        wait = self._context.waits.get(self._location.of(node))
        return wait is not None and wait.answer is None

    def hold(self, node: NodeId, entry: Mapping[str, Any]) -> Awaitable[None]:
        """Wait in the place of a node that was parked, until its time has come or somebody has answered.

        `entry`: its row of the node table. The node is known to wait from now on.
        """
        wait = self._context.waits[self._location.of(node)] = Wait(**entry["wait"])
        event, payload = entry["parked"]["event"]
        self._context.announcements[wait.path] = (event, payload)
        return self._held(wait)

    async def _held(self, wait: Wait) -> None:
        if wait.deadline is None:
            # A worker that does not have the workflow in its cache is given all tasks that left no command as one: it
            # would be given an answer before the node asks, and refuse it.
            await workflow.sleep(COMMAND_S)
        await self._until_answered(wait)

    def release(self, node: NodeId) -> Wait | None:
        """The wait of a parked node, which is over; None when it was forgotten."""
        path = self._location.of(node)
        self._context.announcements.pop(path, None)
        return self._context.waits.pop(path, None)

    def forget(self, node: NodeId) -> None:
        """End a wait that is not needed any more."""
        self._context.waits.pop(self._location.of(node), None)

    def resume(self, table: Mapping[NodeId, Mapping[str, Any]]) -> None:
        """Know again who waits, and what was answered already. At once: an answer may be the first thing to come."""
        for node, entry in table.items():
            path = self._location.of(node)
            if "wait" in entry:
                self._context.waits[path] = Wait(**entry["wait"])
            elif waiting.was_answered(self._plan.by_id[node].type, entry):
                self._context.answered.add(path)

    def decide(self, node: PlannedNode, inputs: dict[str, Any], values: Outputs) -> NodeDecision | None:
        """What a node gives that needs nothing but its inputs; None for one that must be `run`.

        `values`: what each finished node gave.
        """
        if node.interface_values:
            return NodeDecision(interface_inputs(self._plan, self._location))
        if node.joins:
            return control.merge(node, inputs, values)
        at_once = control.DECISIONS.get(node.type)
        if at_once is None:
            return None if node.type in self._by_type else NodeDecision()
        return None if control.must_load(node, inputs) else at_once(inputs, node.config)

    async def run(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        """Run a node to its end. `entry` is its row of the node table, which keeps what must survive this history.

        Raises:
            ApplicationError: The node failed; type, message and details say why.
        """
        decision = await self._by_type[node.type](node, inputs, entry)
        return replace(decision, outputs=await packed(self._context, decision.outputs))

    async def _decide(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        loaded = {**inputs, "value": await _loaded(inputs.get("value"))}
        decision = control.DECISIONS[node.type](loaded, node.config)
        # What goes on is the reference that came in, not the value that was read.
        return replace(decision, outputs={slot: inputs.get("value") for slot in decision.outputs})

    # --- graphs below ---------------------------------------------------------------------------------------------

    async def _group(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        streams = {
            key: sources for key, sources in self._runs.sources(node).items() if any(s is not None for s in sources)
        }
        start = RunStart(
            user_id=self._context.user_id,
            run=self._context.run,
            path=self._location.of(node.id),
            inputs=await _with_large_stored(node, inputs),
            streams=streams,
            kept=[*node.kept, *self._location.below(node.id, self._location.kept)],
            lists=[*node.lists, *self._location.below(node.id, self._location.lists)],
            paused=self._context.paused,
        )
        result = await self._child(node, start, entry)
        return NodeDecision(result["outputs"])

    async def _for_each(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        start = self._repetition(node, iteration_state.each_of(node, await _with_large_stored(node, inputs)))
        result = await self._child(node, start, entry)
        return NodeDecision(result["outputs"])

    async def _loop(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        start = self._repetition(node, await iteration_state.loop_of(node, inputs))
        result = await self._child(node, start, entry)
        return NodeDecision(result["outputs"])

    def _repetition(self, node: PlannedNode, what: dict[str, Any]) -> RunStart:
        path = self._location.of(node.id)
        return RunStart(
            self._context.user_id, run=self._context.run, path=path, repeat=what, paused=self._context.paused
        )

    async def _child(self, node: PlannedNode, start: RunStart, entry: dict[str, Any]) -> dict[str, Any]:
        """Run the node's graph as a child workflow; raises what it failed with."""
        try:
            result = await self._child_result(node, start)
        except asyncio.CancelledError:
            if self._context.interrupted:  # else the workflow is evicted, and the child runs on
                self._end_streams(node, start)
            raise
        except Exception:
            self._end_streams(node, start)
            raise
        finally:
            self._context.children.pop(start.path, None)
        below = {"nodes": result.get("nodes"), "refs": _as_list(result.get("nodes_ref")), "counts": result["counts"]}
        entry.setdefault("below", []).append(below)
        if result["status"] == "complete":
            return result
        raise _failed(node, result)

    def _end_streams(self, node: PlannedNode, start: RunStart) -> None:
        """Readers of a stream of this group would wait for ever for a node that will not run any more."""
        for inner in dict.fromkeys((*node.origins.values(), *start.kept)):
            self._context.emit(self._location.of(f"{node.id}/{inner}"), "NODE_INTERRUPTED", {})

    async def _child_result(self, node: PlannedNode, start: RunStart) -> dict[str, Any]:
        plan = self._plan.group_bytes(node.group)
        must_fit(node, start, beside=len(plan))
        child = await workflow.start_child_workflow(
            "GraphWorkflow",
            args=[plan, replace(start, no_cache=self._context.no_cache)],
            id=f"{self._context.run}/{start.path}",
            result_type=dict,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            task_timeout=workflow.info().task_timeout,
            retry_policy=RetryPolicy(maximum_attempts=1),
            static_summary=f"{start.path}: {node.title or node.type}"[:200],
        )
        self._context.children[start.path] = child
        if self._context.paused != start.paused:  # the signal came while the child was starting
            await signal_child(child, "pause", self._context.paused)
        for event in self._context.unclaimed_events:
            await signal_child(child, "event", *event)
        result: dict[str, Any] = await child
        return result

    # --- waiting --------------------------------------------------------------------------------------------------

    async def _wait(self, node: PlannedNode, inputs: dict[str, Any], entry: dict[str, Any]) -> NodeDecision:
        path = self._location.of(node.id)
        wait = self._context.waits.get(path)
        if wait is None:
            values = {key: await _loaded(value) for key, value in inputs.items() if key in waiting.LOADED}
            wait = waiting.BEGIN[node.type](path, {**inputs, **values}, node.config, workflow.now().timestamp())
            if wait.form:
                wait.present = await _present(wait.form, inputs.get("data"))
            self._context.emit(path, *waiting.announcement(wait, inputs))
            for name, data in self._context.unclaimed_events:
                waiting.receive_event(wait, name, data)
        entry["wait"] = waiting.stored(wait)
        entry["status"] = "waiting"
        self._context.waits[path] = wait
        self._context.announcements[path] = waiting.announcement(wait, inputs)
        try:
            await self._until_answered(wait)
        finally:
            self._context.waits.pop(path, None)
            self._context.announcements.pop(path, None)
            entry.pop("wait", None)
        decision = waiting.decide(wait, await _edited(wait, inputs))
        return replace(decision, outputs=await _with_user_values_stored(decision.outputs))

    async def _until_answered(self, wait: Wait) -> None:
        left = None if wait.deadline is None else max(0.0, wait.deadline - workflow.now().timestamp())
        if left == 0.0:
            return
        try:
            await workflow.wait_condition(
                lambda: wait.answer is not None, timeout=None if left is None else timedelta(seconds=left)
            )
        except TimeoutError:
            return
        if wait.path in self._context.unkept:
            await workflow.wait_condition(lambda: wait.path not in self._context.unkept)


async def _with_large_stored(node: PlannedNode, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a child workflow: they travel in one message, so large ones are stored first."""
    return await stored(node, inputs, in_pieces=False) if json_size(inputs) > MAX_INLINE_INPUTS else inputs


def _failed(node: PlannedNode, result: Mapping[str, Any]) -> ApplicationError:
    error = result.get("error") or {}
    message = error.get("message") or f"the graph of node {node.id!r} was interrupted"
    details = {"details": {key: error[key] for key in ("nodes",) if key in error}}
    return ApplicationError(message, details, type=error.get("code") or "interrupted", non_retryable=True)


def _as_list(ref: Any) -> list[Any]:
    return [] if ref is None else ref if isinstance(ref, list) else [ref]


async def _edited(wait: Wait, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of an approval with what whoever answered has changed."""
    values = (wait.answer or {}).get("values")
    if not values:
        return inputs
    data = inputs.get("data")
    if is_blob(data) or holds_marker(values):
        return {**inputs, "data": await engine_activity(EDIT_VALUE, {"value": data, "values": values}, JSON)}
    return {**inputs, "data": edited(data, values)}


async def _with_user_values_stored(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs; a user's value that would be taken for a reference of ours is stored whole."""
    marked = [key for key in outputs if key in waiting.USER_VALUES and holds_marker(outputs[key])]
    stored = {key: await engine_activity(EDIT_VALUE, {"values": {"data": outputs[key]}}, JSON) for key in marked}
    return {**outputs, **stored}


async def _present(form: list[dict[str, Any]], data: Any) -> list[str]:
    """The fields of a form that the data has a value for; all of them when it has too many to be looked at."""
    if is_blob(data):
        if not (answers.asks_for_data(form) and workflow.patched(DATA_OF_APPROVALS)):
            return []
        try:
            opened = await engine_activity(OPEN_VALUE, {"value": data}, dict)
        except ActivityError:
            return [str(item.get("key")) for item in form]
        data = opened["items"] if opened["kind"] == "an object" else data
    return answers.fields_in(form, data)


async def _loaded(value: Any) -> Any:
    return await engine_activity(LOAD_VALUE, value, JSON) if is_blob(value) else value
