"""What runs, in which order, and how each node ends: one row per shape of graph.

A graph is written as `"a > b"` edges; `!` marks a node whose input is required. The driver ends nodes one at a time in
the order in which they became ready. A node gives its own name around its inputs: `b` behind `a` gives `b(a())`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from innkeeper.nodes.feeds import Missing
from innkeeper.workflows.compiler.graph_order import kahn_order
from innkeeper.workflows.engine.node_values import bypass_outputs, inputs_for
from innkeeper.workflows.engine.scheduler import begin, run_status, settle
from innkeeper.workflows.plan import BypassSource, Feed, NodeId, PlannedInput, PlannedNode, RunPlan, SlotKey

IN, OUT = SlotKey("in"), SlotKey("out")


@dataclass(frozen=True)
class Shape:
    """One row. Outcomes that are not listed are `complete`; values that are not listed are not looked at."""

    name: str
    nodes: str
    edges: Sequence[str] = ()
    fails: str = ""
    silent: str = ""
    forgiven: str = ""
    bypassed: str = ""
    starts: str = ""
    ends: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, Any] = field(default_factory=dict)
    status: str = "complete"


SHAPES = [
    Shape("nothing", "", starts=""),
    Shape("one node", "a", starts="a", gives={"a": "a()"}),
    Shape("chain", "a b c", ["a > b", "b > c"], starts="a b c", gives={"c": "c(b(a()))"}),
    Shape("chain written backwards", "c b a", ["b > c", "a > b"], starts="a b c"),
    Shape("diamond", "a b c d", ["a > b", "a > c", "b > d", "c > d"], starts="a b c d",
          gives={"d": "d(b(a()),c(a()))"}),
    Shape("fan-out in edge order", "a b c d", ["a > d", "a > b", "a > c"], starts="a d b c"),
    Shape("fan-in waits for all", "a b c z", ["c > z", "a > z", "b > z"], starts="a b c z",
          gives={"z": "z(c(),a(),b())"}),
    Shape("two components side by side", "a x b y", ["a > b", "x > y"], starts="a x b y"),
    Shape("parallel edges count once", "a b", ["a > b", "a > b"], starts="a b", gives={"b": "b(a(),a())"}),
    Shape("long and short way", "a b c d", ["a > d", "a > b", "b > c", "c > d"], starts="a b c d"),
    Shape("an error skips every descendant, no more", "a b c d x", ["a > b", "b > c", "c > d"], fails="b",
          starts="a x b", ends={"b": "error", "c": "skipped", "d": "skipped"}, status="error"),
    Shape("an independent branch goes on to its end", "a x b y z", ["a > b", "x > y", "y > z"], fails="a",
          starts="a x y z", ends={"a": "error", "b": "skipped"}, status="error"),
    Shape("a join behind one failure is skipped, although its other source is fine", "a x j", ["a > j", "x > j"],
          fails="a", starts="a x", ends={"a": "error", "j": "skipped"}, status="error"),
    Shape("two failures above one node", "a b j k", ["a > j", "b > j", "j > k"], fails="a b", starts="a b",
          ends={"a": "error", "b": "error", "j": "skipped", "k": "skipped"}, status="error"),
    Shape("continue on error: descendants run without the value", "a b c", ["a > b", "b > c"], fails="a", forgiven="a",
          starts="a b c", ends={"a": "error"}, gives={"b": "b(None)"}),
    Shape("forgiven and unforgiven failure", "a b j", ["a > j", "b > j"], fails="a b", forgiven="a", starts="a b",
          ends={"a": "error", "b": "error", "j": "skipped"}, status="error"),
    Shape("a bypassed node passes its first input", "a b c", ["a > b", "b > c"], bypassed="b", starts="a c",
          ends={"b": "bypassed"}, gives={"b": "a()", "c": "c(a())"}),
    Shape("a bypassed node without input gives its empty value", "b c", ["b > c"], bypassed="b", starts="c",
          ends={"b": "bypassed"}, gives={"c": "c(empty)"}),
    Shape("a row of bypassed nodes", "a b c d", ["a > b", "b > c", "c > d"], bypassed="b c", starts="a d",
          ends={"b": "bypassed", "c": "bypassed"}, gives={"d": "d(a())"}),
    Shape("a bypassed node behind an error is skipped", "a b", ["a > b"], fails="a", bypassed="b", starts="a",
          ends={"a": "error", "b": "skipped"}, status="error"),
    Shape("multi inputs keep their order, not that of arrival", "a b c j", ["c > j", "a > j", "b > j", "a > b"],
          starts="a c b j", gives={"j": "j(c(),a(),b(a()))"}),
    Shape("a required value that never came fails the node", "a b! c", ["a > b", "b > c"], silent="a", starts="a",
          ends={"b": "error", "c": "skipped"}, status="error"),
    Shape("an optional value that never came does not", "a b", ["a > b"], silent="a", starts="a b",
          gives={"b": "b(None)"}),
]  # fmt: skip


def plan_of(shape: Shape) -> RunPlan:
    names = [name.rstrip("!") for name in shape.nodes.split()]
    pairs = [(source, target) for source, target in (edge.split(" > ") for edge in shape.edges)]
    nodes = {name: _node(shape, name, pairs) for name in names}
    return RunPlan(tuple(nodes[name] for name in kahn_order(names, pairs)))


def _node(shape: Shape, name: str, pairs: list[tuple[str, str]]) -> PlannedNode:
    sources = [source for source, target in pairs if target == name]
    feeds = tuple(Feed(NodeId(source), OUT) for source in sources)
    required = f"{name}!" in shape.nodes
    multi = len(sources) > 1
    source = BypassSource((IN,), empty="empty")
    return PlannedNode(
        NodeId(name),
        "toy:Join",
        inputs={IN: PlannedInput(feeds, multi=multi, required=required)} if feeds else {},
        after=tuple(dict.fromkeys(NodeId(source) for source in sources)),
        bypass={OUT: source} if name in shape.bypassed.split() else None,
        continue_on_error=name in shape.forgiven.split(),
    )


@dataclass
class Run:
    starts: list[str] = field(default_factory=list)
    outputs: dict[NodeId, dict[str, Any]] = field(default_factory=dict)
    outcome: dict[NodeId, str] = field(default_factory=dict)


def drive(plan: RunPlan, shape: Shape) -> Run:
    """End ready nodes one by one, oldest first."""
    run = Run()
    progress, ready = begin(plan)
    queue = deque(ready)
    while queue:
        node_id = queue.popleft()
        settled = settle(plan, progress, node_id, end_of(plan.by_id[node_id], shape, run))
        queue.extend(settled.ready)
    run.outcome = progress.outcome
    assert not progress.waiting, "every node has ended"
    return run


def end_of(node: PlannedNode, shape: Shape, run: Run) -> str:
    inputs = inputs_for(node, run.outputs)
    if isinstance(inputs, Missing):
        return "error"
    if node.bypass is not None:
        run.outputs[node.id] = bypass_outputs(node.bypass, inputs)
        return "bypassed"
    run.starts.append(node.id)
    if node.id in shape.fails.split():
        return "error"
    value = inputs.get("in", [None] if node.after else [])
    parts = value if isinstance(value, list) else [value]
    run.outputs[node.id] = {} if node.id in shape.silent.split() else {"out": f"{node.id}({','.join(map(str, parts))})"}
    return "complete"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape(shape: Shape) -> None:
    plan = plan_of(shape)
    run = drive(plan, shape)
    assert run.starts == shape.starts.split()
    assert run.outcome == {node.id: shape.ends.get(node.id, "complete") for node in plan.nodes}
    assert {name: run.outputs[NodeId(name)].get("out") for name in shape.gives} == shape.gives
    assert run_status(plan, run.outcome, interrupted=False) == shape.status


def test_the_nodes_that_become_ready_together_come_in_plan_order() -> None:
    shape = Shape("", "a z y x", ["a > x", "a > z", "a > y"])
    plan = plan_of(shape)
    progress, ready = begin(plan)
    assert ready == ("a",)
    assert settle(plan, progress, NodeId("a"), "complete").ready == ("x", "z", "y")


def test_an_error_names_the_skipped_breadth_first_and_each_once() -> None:
    plan = plan_of(Shape("", "a b c d e", ["a > b", "a > c", "b > d", "c > d", "d > e"]))
    progress, _ = begin(plan)
    settled = settle(plan, progress, NodeId("a"), "error")
    assert settled.ready == ()
    assert settled.skipped == ("b", "c", "d", "e")
    assert not progress.waiting
