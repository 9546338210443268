"""The inline nodes of one graph that are ready: gathered into segments, each run by one activity."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from temporalio import workflow

from innkeeper.nodes.call import NodeResult
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import segments
from innkeeper.workflows.engine.node_table import NodeTable, now
from innkeeper.workflows.engine.ready_queue import ReadyQueue
from innkeeper.workflows.engine.segment_runs import MAX_ATTEMPTS, REGULAR_MS, SegmentRuns
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

NODES_PER_COMMAND = 10
"""Choosing nodes takes time too, and one workflow task must not last long: so many count as one more command."""


@dataclass(frozen=True)
class Segment:
    """Inline nodes that one activity runs. `ready` waited for nothing when it began, in plan order."""

    ready: tuple[NodeId, ...]
    is_local: bool


class SegmentQueue:
    """Inline nodes that are ready, and the segments under way.

    Attributes:
        fuses: Does this plan run its inline nodes in segments at all?
    """

    def __init__(self, context: WorkflowContext, location: GraphLocation, plan: RunPlan, nodes: NodeTable) -> None:
        self.fuses = plan.plan_version >= segments.FUSED_SINCE
        self._context = context
        self._plan = plan
        self._nodes = nodes
        self._runs = SegmentRuns(context, location)
        self._ready = ReadyQueue(plan)
        self._running: dict[NodeId, Segment] = {}  # by the node they begin with
        self._attempts: dict[NodeId, int] = {}  # of nodes that no segment could finish

    def __len__(self) -> int:
        """How many nodes wait for a segment."""
        return len(self._ready)

    def clear(self) -> None:
        """Start none of the nodes that wait for a segment."""
        self._ready.clear()

    def takes(self, node: PlannedNode) -> bool:
        """May a node that is ready run in a segment?"""
        return self._may_join(node) and segments.weight_of(node, self._nodes.values) <= segments.MAX_BYTES

    def _may_join(self, node: PlannedNode) -> bool:
        return self.fuses and node.id not in self._attempts and segments.may_be_fused(node)

    def attempts_of(self, node: NodeId) -> int:
        """How many attempts a node has used up in segments, none of which could finish it."""
        return self._attempts.get(node, 0)

    def push(self, nodes: Iterable[NodeId]) -> None:
        self._ready.push(nodes)

    def is_running(self, first: NodeId) -> bool:
        """Does a segment that begins with this node run?"""
        return first in self._running

    def is_local(self, first: NodeId) -> bool:
        """Does this worker itself run the segment that begins with this node?"""
        return first in self._running and self._running[first].is_local

    def start(self, *, may_be_local: bool) -> tuple[NodeId, asyncio.Future[Any]] | None:
        """Start the next segment: the node it begins with and its task. None: the activation's budget is used up.

        `may_be_local`: the workflow's own worker may run it, if this workflow task has time left.
        """
        activation = self._context.activation
        ready = [self._ready.pop() for _ in range(min(segments.MAX_NODES, len(self._ready)))]
        chosen = segments.choose(
            self._plan,
            self._nodes.waiting,
            ready,
            may_join=self._may_join,
            weight=lambda node: segments.weight_of(node, self._nodes.values),
        )
        is_local = may_be_local and activation.may_run_locally()
        call = self._runs.call(chosen, self._nodes.values, activation.left_ms if is_local else REGULAR_MS)
        size = json_size(call)
        if not self._context.has_budget_for(size):
            self._ready.push(ready)
            return None
        activation.spend(1 + len(chosen) // NODES_PER_COMMAND, size)
        inside = {node.id for node in chosen}
        self._ready.push(node for node in ready if node not in inside)
        return self._begin(call, Segment(tuple(node for node in ready if node in inside), is_local))

    def _begin(self, call: dict[str, Any], segment: Segment) -> tuple[NodeId, asyncio.Future[Any]]:
        task = self._runs.start_local(call) if segment.is_local else self._runs.start_regular(call)
        if segment.is_local:
            self._context.activation.begin_segment(task)
        first = segment.ready[0]
        self._running[first] = segment
        return first, task

    def finish(self, first: NodeId, task: asyncio.Future[Any]) -> list[NodeId]:
        """Record how the nodes of a segment ended. Returns the nodes that are ready now, in any order.

        Among them are those that the segment did not come to, and all of them if it failed: these run by themselves.
        """
        segment = self._running.pop(first)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        result: dict[str, Any] = {"nodes": {}, "ms": segments.LOCAL_MS} if error is not None else task.result()
        if segment.is_local:
            self._context.activation.end_segment(result["ms"], json_size(result["nodes"]))
        if error is not None:
            if self._context.interrupted:
                return []
            attempts = 1 if segment.is_local else MAX_ATTEMPTS
            self._attempts.update(dict.fromkeys(segment.ready, attempts))
            self._announce_retries(segment.ready, attempts)
        ready: list[NodeId] = []
        for node_id, outcome in result["nodes"].items():
            ready += self._record(self._plan.by_id[NodeId(node_id)], outcome)
        return [*ready, *(node for node in segment.ready if not self._nodes.entry(node))]

    def _announce_retries(self, nodes: Iterable[NodeId], attempt: int) -> None:
        """Tell of the nodes of a segment that has failed: they run by themselves. The log takes it of those that have
        begun."""
        message = "the worker that ran it together with other nodes did not come to an end with them"
        told = {"attempt": attempt, "code": "segment_failed", "message": message, "kind": "retry", "retryAt": now()}
        for node in nodes:
            self._nodes.emit(node, "NODE_RETRY", {**told, "reason": "it runs by itself now"})

    def _record(self, node: PlannedNode, outcome: dict[str, Any]) -> tuple[NodeId, ...]:
        """Record how a node of a segment ended, as if it had run by itself. Returns the nodes that are ready now."""
        if "again" in outcome:
            self._attempts[node.id] = outcome["attempt"]
            return ()
        # An inline node has no streams, so nobody was ready with its beginning.
        self._nodes.start(node.id, outcome["startedAt"])
        if "error" in outcome:
            return self._nodes.fail(node, outcome["error"], outcome["attempt"], outcome["endedAt"])
        result = NodeResult(outcome["outputs"], outcome["attempt"], warnings=outcome.get("warnings", []))
        ready = self._nodes.record_result(node, result, outcome["endedAt"])
        if workflow.unsafe.is_replaying():  # the worker that ran it may have died before it announced this
            warnings = {"warnings": result.warnings} if result.warnings else {}
            event = {"output": result.outputs, "attempt": result.attempt, **warnings}
            self._nodes.emit(node.id, "NODE_COMPLETE", event)
        return ready
