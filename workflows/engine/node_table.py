"""The node table of one graph: what is known of each node, and what the end of a node leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from temporalio import workflow

from innkeeper.nodes.call import NodeResult
from innkeeper.nodes.feeds import Outputs
from innkeeper.workflows.engine import node_errors, node_values, scheduler
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.parking import Parking, parked_nodes
from innkeeper.workflows.engine.state import NodeStatus, RunState, end_of
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import ERROR_SLOT, NodeId, PlannedNode, RunPlan

MAX_FAILED_NODES = 20
_INTERNAL = frozenset({"below", "parked"})
"""What an entry holds for the engine alone."""


class NodeTable:
    """The nodes of one graph.

    The methods that record the end of a node also emit its event, unless an activity has done so, and skip what will
    never run. They return the nodes that are ready now, in plan order.

    Attributes:
        state: One entry for each node that has begun or will never run.
        left_out: Nodes that were skipped after they had begun: who runs them stops them.
    """

    def __init__(self, context: WorkflowContext, location: GraphLocation, plan: RunPlan) -> None:
        self.state = RunState()
        self._context = context
        self._location = location
        self._plan = plan
        self.left_out: list[NodeId] = []
        self._progress = scheduler.Progress({})

    def begin(self) -> tuple[NodeId, ...]:
        """The nodes that are ready in a fresh graph, in plan order."""
        self._progress, ready = scheduler.begin(self._plan)
        return ready

    def resume(self, table: Mapping[NodeId, dict[str, Any]]) -> tuple[NodeId, ...]:
        """Take over the entries of an earlier history or run. Returns what is ready now, in plan order."""
        self.state.table.update(table)
        self._progress, ready = self.state.progress(self._plan)
        self._progress.parked.update(parked_nodes(table))
        for node in self._progress.parked.difference(ready):
            # It reads the stream of another parked node, and begins anew with that one.
            self.state.table[node].pop("wait", None)
        for join in [link.id for link in self._plan.links if link.joins and self.has_ended(link.id)]:
            unneeded = scheduler.leave_out_unneeded(self._plan, self._progress, join)
            self._skip(dict.fromkeys(unneeded, scheduler.NOT_NEEDED), join)
        return tuple(node for node in ready if not self.has_ended(node))

    # --- questions ------------------------------------------------------------------------------------------------

    def entry(self, node: NodeId) -> dict[str, Any]:
        """The node's own entry; an empty one when it has not begun."""
        return self.state.table.get(node, {})

    @property
    def values(self) -> Outputs:
        """What each finished node gave."""
        return self.state.outputs

    @property
    def waiting(self) -> Mapping[NodeId, int]:
        """For each node that has not begun, the number of sources that it waits for."""
        return self._progress.waiting

    def has_ended(self, node: NodeId) -> bool:
        return node in self._progress.outcome

    @property
    def status(self) -> str:
        """Status of the graph, were it over now: `complete`, `error` or `interrupted`."""
        outcome = {node: entry["status"] for node, entry in self.state.table.items()}
        return scheduler.run_status(self._plan, outcome, self._context.interrupted)

    @property
    def outputs(self) -> dict[str, Any]:
        """The graph's interface outputs."""
        return node_values.interface_values(self._plan, self.values)

    @property
    def failure(self) -> dict[str, Any]:
        """Why the graph failed: its first node whose failure nothing handles, and up to 20 failed nodes."""
        entries = [(node, entry) for node, entry in self.state.table.items() if entry["status"] == NodeStatus.ERROR]
        fatal_ids = scheduler.unhandled(self._plan, {node: entry["status"] for node, entry in entries})
        fatal = [(node, entry) for node, entry in entries if node in fatal_ids]
        if not fatal:
            return {"message": "a graph below failed", "code": "node_failed"}
        node, entry = fatal[0]
        message = f"node {self._location.of(node)!r}: {entry['error'].get('message')}"
        return {"message": message, "code": entry["error"].get("code"), "nodes": self._failed_nodes()}

    def _failed_nodes(self) -> list[dict[str, Any]]:
        failed = [(path, entry["error"]) for path, entry in self.flat_table()[0].items() if entry["status"] == "error"]
        return [
            {
                "nodeId": path,
                "code": error.get("code"),
                "message": node_errors.text_of(error.get("message"), node_errors.MAX_SUMMARY_CHARS),
            }
            for path, error in failed[:MAX_FAILED_NODES]
        ]

    def flat_table(self) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Path in the run to entry, for the nodes here and below that are at hand, and references of further tables."""
        found: dict[str, dict[str, Any]] = {}
        refs: list[dict[str, Any]] = []
        for node, entry in self.state.table.items():
            found[self._location.of(node)] = {key: value for key, value in entry.items() if key not in _INTERNAL}
            for below in entry.get("below", ()):
                found.update(below.get("nodes") or {})
                refs += below.get("refs") or []
        return found, refs

    def counts(self) -> dict[str, int]:
        """How many nodes here and below are in which status."""
        counts = Counter(self.state.counts())
        for entry in self.state.table.values():
            for below in entry.get("below", ()):
                counts.update(below.get("counts") or {})
        return dict(counts)

    # --- what happens to a node -----------------------------------------------------------------------------------

    def start(self, node: NodeId, started_at: str | None = None) -> tuple[NodeId, ...]:
        """Record that a node runs. Returns the consumers of its streams that are ready with it.

        `started_at`: ISO time; without one a node that waited in an earlier history keeps the time it has.
        """
        self.state.move(node, NodeStatus.RUNNING, startedAt=started_at or self.entry(node).get("startedAt") or now())
        self._progress.parked.discard(node)
        if node in self._progress.running:  # it was parked in this history: its consumers are on their way
            return ()
        return scheduler.started(self._plan, self._progress, node)

    def park(self, node: NodeId, found: Parking) -> None:
        """Record, and announce, that the activity of a node has ended because the node must wait."""
        self.state.move(node, NodeStatus.WAITING, wait=asdict(found.wait), parked=found.entry)
        self._progress.parked.add(node)
        self.emit(node, found.event, found.payload)

    def record_result(self, node: PlannedNode, result: NodeResult, ended_at: str | None = None) -> tuple[NodeId, ...]:
        """Record what an activity gave, which has announced it already."""
        flags = {"unlogged": not result.logged, "cached": result.cached, "warnings": result.warnings}
        self.state.move(
            node.id,
            NodeStatus.COMPLETE,
            output=result.outputs,
            attempts=result.attempt,
            endedAt=ended_at or now(),
            **{key: value for key, value in flags.items() if value},
        )
        return self._settle(node.id)

    def complete(self, node: PlannedNode, decision: NodeDecision) -> tuple[NodeId, ...]:
        """Record the end of a control node."""
        outputs, dead = dict(decision.outputs), _dead(decision.dead)
        self.state.move(node.id, NodeStatus.COMPLETE, output=outputs, attempts=1, endedAt=now(), **dead)
        self.emit(node.id, "NODE_COMPLETE", {"output": outputs, "attempt": 1, **dead})
        return self._settle(node.id, decision.reason)

    def bypass(self, node: PlannedNode, outputs: dict[str, Any]) -> tuple[NodeId, ...]:
        """Record that a bypassed node passed its inputs on as `outputs`."""
        sources = node.bypass or {}
        dead = _dead([slot for slot, source in sources.items() if not (source.inputs or source.has_empty)])
        self.state.move(node.id, NodeStatus.BYPASSED, output=outputs, endedAt=now(), **dead)
        self.emit(node.id, "NODE_BYPASSED", {"pseudoOutputs": outputs, **dead})
        return self._settle(node.id)

    def fail(
        self, node: PlannedNode, error: dict[str, Any], attempts: int, ended_at: str | None = None
    ) -> tuple[NodeId, ...]:
        """Record that a node failed for good. `error`: `{message, code, retryable, details?}` of any size."""
        error = node_errors.bounded(error)
        caught = {"output": {ERROR_SLOT: {**error, "nodeId": self._location.of(node.id)}}}
        self.state.move(
            node.id,
            NodeStatus.ERROR,
            error=error,
            attempts=attempts,
            endedAt=ended_at or now(),
            **(caught if node.catches else {}),
        )
        self.emit(node.id, "NODE_ERROR", {"errorDetails": error, "attempts": attempts})
        return self._settle(node.id)

    def interrupt_rest(self) -> None:
        """Record that everything that has not ended was interrupted, in plan order."""
        for node in self._plan.order:
            if self.entry(node).get("status") in (None, NodeStatus.RUNNING, NodeStatus.WAITING):
                self.state.move(node, NodeStatus.INTERRUPTED, endedAt=now())
                self.emit(node, "NODE_INTERRUPTED", {})

    def _settle(self, node: NodeId, reason: str = "") -> tuple[NodeId, ...]:
        """Skip what will never run now that a node has ended. `reason`: why its dead outputs, if any, are dead."""
        self.state.table[node].pop("parked", None)
        self._progress.parked.discard(node)
        settled = scheduler.settle(self._plan, self._progress, node, end_of(self.entry(node), reason))
        self._skip(settled.reasons, node)
        return settled.ready

    def _skip(self, reasons: Mapping[NodeId, str], cause: NodeId) -> None:
        for node, why in reasons.items():
            if self.entry(node):
                self.left_out.append(node)
            self.state.move(node, NodeStatus.SKIPPED, reason=why, cause=cause)
            for key in ("wait", "parked"):
                self.state.table[node].pop(key, None)
            self.emit(node, "NODE_SKIPPED", {"reason": why, "causeNodeId": self._location.of(cause)})

    def emit(self, node: str, type: str, payload: dict[str, Any]) -> None:
        self._context.emit(self._location.of(node), type, payload)


def _dead(slots: list[str] | tuple[str, ...]) -> dict[str, list[str]]:
    """The field `dead` of an entry and of its event; absent when every output may have a value."""
    return {"dead": list(slots)} if slots else {}


def now() -> str:
    return workflow.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
