"""The built-in control nodes beside toys, and a driver that plays a compiled graph without a server or a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.feeds import Missing
from innkeeper.nodes.library.control import approval, branch, delay, merge, switch, wait_for_event
from innkeeper.workflows.engine import control
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.node_values import bypass_outputs, inputs_for
from innkeeper.workflows.engine.scheduler import End, begin, resumed, run_status, settle, started
from innkeeper.workflows.plan import ERROR_SLOT, NodeId, PlannedNode, RunPlan
from tests.workflows.toy_graphs import compiled as compile_toys
from tests.workflows.toy_graphs import node, toy
from tests.workflows.toy_graphs import problems as problems_of

ANY = Input("WILDCARD")
TYPES: tuple[NodeDefinition, ...] = (
    *(
        definition.with_origin("core", None)
        for definition in (
            branch.definition,
            switch.definition,
            merge.definition,
            approval.definition,
            wait_for_event.definition,
            *delay.definitions,
        )
    ),
    toy("Step", {"a": ANY, "b": ANY, "must": ANY}, {"out": Output("WILDCARD"), "more": Output("WILDCARD")}),
    toy("Strict", {"a": Input("WILDCARD", required=True)}, {"out": Output("WILDCARD")}),
    toy("Gather", {"parts": Input("WILDCARD", multi=True)}, {"out": Output("WILDCARD")}),
)


def compiled(nodes: list[dict[str, Any]], *ends: str, **more: Any) -> RunPlan:
    return compile_toys(nodes, *ends, types=TYPES, **more).plan


def problems(nodes: list[dict[str, Any]], *ends: str, **more: Any) -> Any:
    return problems_of(nodes, *ends, types=TYPES, **more)


def step(id: str, **more: Any) -> dict[str, Any]:
    return node(id, "Step", **more)


def fork(id: str, condition: Any, **more: Any) -> dict[str, Any]:
    """A core:Branch."""
    return node(id, "core:Branch", {"condition": condition, "value": f"{id}-value"}, **more)


@dataclass
class Run:
    """What came out: the order of beginnings, outcomes (`skipped` with its reason), outputs."""

    starts: list[str] = field(default_factory=list)
    ends: dict[NodeId, End] = field(default_factory=dict)
    reasons: dict[NodeId, str] = field(default_factory=dict)
    outputs: dict[NodeId, dict[str, Any]] = field(default_factory=dict)
    status: str = ""

    @property
    def outcome(self) -> dict[str, str]:
        """Node to its end, `skipped` with the reason."""
        return {
            node: f"{end.outcome} {self.reasons[node]}" if end.outcome == "skipped" else end.outcome
            for node, end in self.ends.items()
        }


Pick = Callable[[int], int]
"""Of so many nodes that could go on next, the number of the one that does."""


def first(count: int) -> int:
    return 0


class Driver:
    """Plays a plan as the interpreter does: what is ready begins, and what runs ends one by one, oldest first.

    Args:
        fails: Nodes that fail. gives: Outputs of nodes that give something else than their own name.
        waits: What waiting nodes give in the end.
    """

    def __init__(
        self,
        plan: RunPlan,
        fails: Iterable[str] = (),
        gives: Mapping[str, Mapping[str, Any]] | None = None,
        waits: Mapping[str, NodeDecision] | None = None,
        pick: Pick = first,
    ) -> None:
        self.plan = plan
        self.run = Run()
        self._fails = set(fails)
        self._gives = gives or {}
        self._waits = waits or {}
        self._pick = pick
        self._progress, ready = begin(plan)
        self._ready = list(ready)
        self._running: list[NodeId] = []

    def resume(self, run: Run) -> None:
        """Go on from what another driver has found."""
        self.run.outputs.update(run.outputs)
        self.run.reasons.update(run.reasons)
        self.run.ends.update(run.ends)
        self._progress, ready = resumed(self.plan, run.ends)
        self._ready = list(ready)

    def play(self, *, until: int | None = None) -> Run:
        """To the end, or until so many nodes have ended."""
        while self._ready or self._running:
            if until is not None and len(self.run.ends) >= until:
                return self.run
            if self._ready:
                self._begin(self._ready.pop(self._pick(len(self._ready))))
            else:
                self._end(self._running.pop(self._pick(len(self._running))))
        assert not self._progress.waiting, f"never ended: {self._progress.waiting}"
        assert self._progress.outcome == {node: end.outcome for node, end in self.run.ends.items()}
        self.run.status = run_status(self.plan, self._progress.outcome, interrupted=False)
        return self.run

    def _begin(self, node_id: NodeId) -> None:
        node = self.plan.by_id[node_id]
        if node_id in self._progress.outcome:
            return
        inputs = inputs_for(node, self.run.outputs)
        if isinstance(inputs, Missing):
            self._settle(node, "error", {})
        elif node.bypass is not None:
            given = bypass_outputs(node.bypass, inputs)
            given = dict(control.merge(node, inputs, self.run.outputs).outputs) if node.joins else given
            dead = [slot for slot, source in node.bypass.items() if not (source.inputs or source.has_empty)]
            self._settle(node, "bypassed", given, dead)
        else:
            self.run.starts.append(node_id)
            self._ready += started(self.plan, self._progress, node_id)
            self._running.append(node_id)
            if node.joins:  # it decides at once
                self._running.remove(node_id)
                self._end(node_id)

    def _end(self, node_id: NodeId) -> None:
        node = self.plan.by_id[node_id]
        if node_id in self._fails:
            # Whoever follows its stream hears of it there, and fails with it.
            self._fails |= {other for other in self.plan.consumers.get(node_id, ()) if other in self._running}
            self._settle(node, "error", {})
            return
        given = self._given(node)
        self._settle(node, "complete", given.outputs, given.dead, given.reason)

    def _given(self, node: PlannedNode) -> NodeDecision:
        inputs = inputs_for(node, self.run.outputs)
        assert not isinstance(inputs, Missing)
        if node.joins:
            return control.merge(node, inputs, self.run.outputs)
        if node.type in control.DECISIONS:
            return control.DECISIONS[node.type](inputs, node.config)
        if node.id in self._waits:
            return self._waits[node.id]
        if node.id in self._gives:
            return NodeDecision(self._gives[node.id])
        told = ",".join(str(value) for value in inputs.values())
        return NodeDecision(dict.fromkeys(node.outputs, f"{node.id}({told})"))

    def _settle(
        self, node: PlannedNode, outcome: str, given: Mapping[str, Any], dead: Iterable[str] = (), why: str = ""
    ) -> None:
        assert node.id not in self.run.ends, f"{node.id} ended twice"
        caught = {ERROR_SLOT: {"message": f"{node.id} failed"}} if outcome == "error" and node.catches else {}
        self.run.outputs[node.id] = {**given, **caught}
        end = End(outcome, tuple(dead), why, tuple(self.run.outputs[node.id]))
        self.run.ends[node.id] = end
        settled = settle(self.plan, self._progress, node.id, end)
        self._ready += settled.ready
        for skipped, reason in settled.reasons.items():
            assert skipped not in self.run.ends, f"{skipped} ended twice"
            self.run.ends[skipped] = End("skipped")
            self.run.reasons[skipped] = reason
            if skipped in self._running:  # it waited, and is not needed any more
                self._running.remove(skipped)
