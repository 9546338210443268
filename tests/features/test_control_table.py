"""Which ways a graph takes: branches, joins and handled failures, one row per shape of graph.

A `Step` gives its own name around its inputs: `b` behind `a` gives `b(a())`. Outcomes that are not listed are
`complete`; values that are not listed are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.node_values import interface_values
from innkeeper.workflows.plan import RunPlan
from tests.effort import examples
from tests.workflows.engine.control_toys import Driver, Run, compiled, fork, step
from tests.workflows.toy_graphs import node

NOT_TAKEN, NO_ERROR, UPSTREAM = "skipped branch_not_taken", "skipped no_error", "skipped upstream_error"
Json = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    name: str
    nodes: Sequence[Json]
    edges: Sequence[str] = ()
    fails: str = ""
    waits: Mapping[str, NodeDecision] = field(default_factory=dict)
    silent: Mapping[str, Json] = field(default_factory=dict)
    starts: str | None = None
    ends: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, Any] = field(default_factory=dict)
    status: str = "complete"


def merge(id: str = "m", **more: Any) -> Json:
    return node(id, "core:Merge", **more)


def switch(cases: list[Any], value: Any) -> Json:
    return node("s", "core:Switch", {"value": value}, configValues={"cases": cases})


def ways(*names: str) -> list[str]:
    """Edges from ways of `s` to steps named after them."""
    return [f"s.{name} > {name}.a" for name in names]


def switched(value: Any, taken: str, *cases: Any) -> Shape:
    names = [*(f"case_{index}" for index in range(len(cases))), "default"]
    return Shape(
        f"switch {value!r} over {cases!r}",
        [switch(list(cases), value), *map(step, names)],
        ways(*names),
        ends={name: NOT_TAKEN for name in names if name != taken},
        gives={taken: f"{taken}({value})"},
    )


SIDES = [fork("b", True), step("t"), step("f")]
TO_SIDES = ["b.true > t.a", "b.false > f.a"]
HANDLED = [step("x"), step("next"), step("help")]
TO_HANDLER = ["x.out > next.a", "x.$error > help.a"]
FORGIVEN = node("x", "Step", continueOnError=True)
EMIT, RELAY, LAST = node("p", "Emit"), node("c", "Relay"), step("z")

BRANCHES = [
    Shape("the side that is taken runs, the other is skipped", SIDES, TO_SIDES, starts="b t",
          ends={"f": NOT_TAKEN}, gives={"t": "t(b-value)"}),
    Shape("the other way round", [fork("b", ""), *SIDES[1:]], TO_SIDES, starts="b f", ends={"t": NOT_TAKEN}),
    Shape("everything behind the untaken side is skipped, whatever else it hangs on",
          [*SIDES, step("g"), step("h"), step("x")], [*TO_SIDES, "f.out > g.a", "x.out > h.a", "g.out > h.b"],
          ends={"f": NOT_TAKEN, "g": NOT_TAKEN, "h": NOT_TAKEN}),
    Shape("a diamond over a branch without Merge ends at its join", [*SIDES, step("j")],
          [*TO_SIDES, "t.out > j.a", "f.out > j.b"], ends={"f": NOT_TAKEN, "j": NOT_TAKEN}),
    Shape("a diamond over a branch with Merge goes on", [*SIDES, merge(), step("z")],
          [*TO_SIDES, "t.out > m.values", "f.out > m.values", "m.value > z.a"], starts="b t m z",
          ends={"f": NOT_TAKEN}, gives={"m": "t(b-value)", "z": "z(t(b-value))"}),
    Shape("a Merge right behind both ways", [fork("b", False), merge()], ["b.true > m.values", "b.false > m.values"],
          gives={"m": "b-value"}),
    Shape("a node on both ways of one branch never runs", [fork("b", True), step("z")],
          ["b.true > z.a", "b.false > z.b"], ends={"z": NOT_TAKEN}),
    Shape("a branch in a branch: inner ways of the untaken side are not decided at all",
          [fork("b", True), fork("i", True), step("x"), step("y"), step("z")],
          ["b.false > i.value", "i.true > x.a", "i.false > y.a", "b.true > z.a"],
          starts="b z", ends={"i": NOT_TAKEN, "x": NOT_TAKEN, "y": NOT_TAKEN}),
    Shape("a branch in a branch, both taken", [fork("b", True), fork("i", False), step("x"), step("y")],
          ["b.true > i.value", "i.true > x.a", "i.false > y.a"], ends={"x": NOT_TAKEN}, gives={"y": "y(b-value)"}),
    Shape("nested diamonds", [fork("b", True), fork("i", False), step("x"), step("y"), merge("n"), step("o"), merge()],
          ["b.true > i.value", "i.true > x.a", "i.false > y.a", "x.out > n.values", "y.out > n.values",
           "b.false > o.a", "n.value > m.values", "o.out > m.values"],
          ends={"x": NOT_TAKEN, "o": NOT_TAKEN}, gives={"m": "y(b-value)"}),
    Shape("a branch into a multi slot: one dead edge and the node is skipped",
          [*SIDES, node("g", "Gather")], [*TO_SIDES, "t.out > g.parts", "f.out > g.parts"],
          ends={"f": NOT_TAKEN, "g": NOT_TAKEN}),
    Shape("an edge that only orders does not gate", [fork("b", True), step("z")], ["b. > z."]),
    Shape("a decision that fails takes no way", [fork("b", True), step("t"), step("f")], TO_SIDES, fails="b",
          ends={"b": "error", "t": UPSTREAM, "f": UPSTREAM}, status="error"),
    Shape("a streaming node on an untaken side, with its consumers",
          [fork("b", False), node("r", "Relay"), RELAY, LAST],
          ["b.true > r.stream", "r.stream > c.stream", "c.stream > z.a"],
          ends={"r": NOT_TAKEN, "c": NOT_TAKEN, "z": NOT_TAKEN}),
    Shape("a stream's consumer that hangs on the untaken side; its producer runs on", [fork("b", True), EMIT, RELAY],
          ["p.out > c.stream", "b.false > c.note"], starts="b p", ends={"c": NOT_TAKEN}),
    Shape("a stream's consumer that hangs on the taken side", [fork("b", True), EMIT, RELAY],
          ["p.out > c.stream", "b.true > c.note"], starts="b p c"),
    Shape("a stream's consumer that a decision about the stream lets run", [EMIT, fork("b", True), RELAY],
          ["p.out > b.condition", "p.out > c.stream", "b.true > c.note"], starts="p b c"),
    Shape("a bypassed Branch lets both ways run", [fork("b", True, bypassed=True), step("t"), step("f")], TO_SIDES,
          ends={"b": "bypassed"}, gives={"t": "t(b-value)", "f": "f(b-value)"}),
    Shape("a bypassed Switch lets all ways run",
          [node("s", "core:Switch", {"value": 1}, configValues={"cases": [1]}, bypassed=True), step("case_0"),
           step("default")], ways("case_0", "default"), ends={"s": "bypassed"},
          gives={"case_0": "case_0(1)", "default": "default(1)"}),
    Shape("a bypassed Merge joins all the same", [*SIDES, merge(bypassed=True), step("z")],
          [*TO_SIDES, "t.out > m.values", "f.out > m.values", "m.value > z.a"],
          ends={"f": NOT_TAKEN, "m": "bypassed"}, gives={"z": "z(t(b-value))"}),
    Shape("a bypassed Approval approves",
          [node("w", "core:Approval", {"data": 5}, bypassed=True), step("y"), step("n")],
          ["w.approved > y.a", "w.rejected > n.a"], ends={"w": "bypassed", "n": NOT_TAKEN}, gives={"y": "y(5)"}),
    Shape("a bypassed WaitForEvent goes on with nothing",
          [node("w", "core:WaitForEvent", configValues={"name": "e"}, bypassed=True), step("y"), step("n")],
          ["w.data > y.a", "w.timeout > n.a"], ends={"w": "bypassed", "n": NOT_TAKEN}, gives={"y": "y(None)"}),
    Shape("a bypassed Delay hands on its value, never its time", [step("a"), node("w", "core:Delay", bypassed=True),
          step("y")], ["a.out > w.seconds", "w.value > y.a"], ends={"w": "bypassed"}, gives={"y": "y(None)"}),
    Shape("ways that a wait did not choose", [node("w", "core:Approval"), step("y"), step("n"), step("t"), step("a")],
          ["w.approved > y.a", "w.rejected > n.a", "w.timeout > t.a", "w.answer > a.a"],
          waits={"w": NodeDecision({"approved": 1, "answer": 2}, ("rejected", "timeout"), "not_chosen")},
          ends={"n": "skipped not_chosen", "t": "skipped not_chosen"}, gives={"y": "y(1)", "a": "a(2)"}),
]  # fmt: skip

SWITCHES = [
    switched("b", "case_1", "a", "b", "b"),
    switched("c", "default", "a", "b"),
    switched(5, "case_0", "5"),
    switched("5", "case_0", 5),
    switched("5.0", "case_0", 5),
    switched(0.1, "case_0", "0.1"),
    switched(1234567.5, "case_0", "1234567.5"),
    switched(True, "case_1", 1, "true"),
    switched(1, "default", True),
    switched("x", "default"),
    switched("helpful", "case_1", {"operator": "equals", "value": "help"}, {"operator": "contains", "value": "help"}),
    switched(7, "case_0", {"operator": "greater", "value": "3"}),
    switched("7", "default", {"operator": "less", "value": 3}),
    switched("", "case_0", {"operator": "empty"}),
    switched("no", "case_1", {"operator": "empty"}, {"operator": "false"}),
    switched({"operator": "x"}, "default", {"value": 3}),
]

MERGES = [
    Shape("the first that arrives wins, later arrivals change nothing", [step("a"), step("b"), merge(), step("z")],
          ["a.out > m.values", "b.out > m.values", "m.value > z.a"], gives={"z": "z(a())"}, starts="a b m z"),
    Shape("of what arrived together the first edge counts", [step("x"), merge()],
          ["x.more > m.values", "x.out > m.values"], silent={"x": {"out": "second", "more": "first"}},
          gives={"m": "first"}),
    Shape("one side failed: the other is taken", [step("a"), step("b"), merge()],
          ["a.out > m.values", "b.out > m.values"], fails="a", ends={"a": "error"}, gives={"m": "b()"},
          status="error"),
    Shape("all sides failed", [step("a"), step("b"), merge(), step("z")],
          ["a.out > m.values", "b.out > m.values", "m.value > z.a"], fails="a b",
          ends={"a": "error", "b": "error", "m": UPSTREAM, "z": UPSTREAM}, status="error"),
    Shape("all sides dead", [fork("b", True), step("x"), step("y"), merge()],
          ["b.false > x.a", "b.false > y.a", "x.out > m.values", "y.out > m.values"],
          ends={"x": NOT_TAKEN, "y": NOT_TAKEN, "m": NOT_TAKEN}),
    Shape("a source without a value has not arrived", [step("x"), step("y"), step("y2"), merge()],
          ["x.more > m.values", "y.out > y2.a", "y2.out > m.values"], silent={"x": {"out": 1}}, gives={"m": "y2(y())"}),
    Shape("a forgiven failure has not arrived", [FORGIVEN, step("y"), merge()],
          ["x.out > m.values", "y.out > m.values"], fails="x", ends={"x": "error"}, gives={"m": "y()"}),
    Shape("nobody gave a value", [step("x"), merge()], ["x.more > m.values"], silent={"x": {"out": 1}},
          ends={"m": "skipped no_value"}),
    Shape("null is a value", [step("x"), merge()], ["x.out > m.values"], silent={"x": {"out": None}},
          gives={"m": None}),
    Shape("typed-in values, without edges", [node("m", "core:Merge", {"values": ["a", "b"]})], gives={"m": "a"}),
    Shape("Merge of Merges", [*SIDES, merge("n"), merge(), step("z")],
          [*TO_SIDES, "f.out > n.values", "n.value > m.values", "t.out > m.values", "m.value > z.a"],
          ends={"f": NOT_TAKEN, "n": NOT_TAKEN}, gives={"z": "z(t(b-value))"}),
]  # fmt: skip

FIRST = {"d": NodeDecision({"value": 1})}
RACE = ["d.value > m.values", "w.approved > m.values"]
LATE = "skipped not_needed"

SPARE = [
    Shape("the first of two waits wins, the other is not needed", [node("d", "core:Delay"), node("w", "core:Approval"),
          merge(), step("z")], [*RACE, "m.value > z.a"], waits=FIRST, starts="d w m z", ends={"w": LATE},
          gives={"z": "z(1)"}),
    Shape("all that lies between a wait and the join is not needed either",
          [node("d", "core:Delay"), node("w", "core:Approval"), step("x"), step("y"), merge()],
          ["d.value > m.values", "w.approved > x.a", "x.out > y.a", "y.out > m.values", "w.rejected > m.values"],
          waits=FIRST, ends={"w": LATE, "x": LATE, "y": LATE}),
    Shape("a wait behind a wait", [node("d", "core:Delay"), node("v", "core:WaitForEvent", configValues={"name": "e"}),
          node("w", "core:Approval"), merge()], [*RACE, "v.data > w.data"], waits=FIRST, ends={"v": LATE, "w": LATE}),
    Shape("a wait that another node reads is needed", [node("d", "core:Delay"), node("w", "core:Approval"), merge(),
          step("x")], [*RACE, "w.answer > x.a"], waits={**FIRST, "w": NodeDecision({"approved": 2, "answer": 3})},
          gives={"x": "x(3)"}),
    Shape("a wait before something that is seen outside is needed",
          [node("d", "core:Delay"), node("w", "core:Approval"), node("c", "Call"), merge()],
          ["d.value > m.values", "w.approved > c.prompt", "c.text > m.values"],
          waits={**FIRST, "w": NodeDecision({"approved": 2})}, starts="d w m c"),
    Shape("a wait that two joins read is needed until both have ended",
          [node("d", "core:Delay"), node("w", "core:Approval"), node("e", "core:Delay"), merge(), merge("n")],
          [*RACE, "e.value > n.values", "w.rejected > n.values"],
          waits={**FIRST, "w": NodeDecision({"rejected": 3}, ("approved",), "not_chosen")},
          starts="d w e m n", ends={"e": LATE}, gives={"n": 3}),
    Shape("a node that runs goes on", [node("d", "core:Delay"), step("s"), merge()],
          ["d.value > m.values", "s.out > m.values"], waits=FIRST, starts="d s m"),
]  # fmt: skip

FAILURES = [
    Shape("no failure: the handler is skipped", HANDLED, TO_HANDLER, starts="x next", ends={"help": NO_ERROR}),
    Shape("a failure: the handler runs, the others are skipped, the run is complete", HANDLED, TO_HANDLER, fails="x",
          starts="x help", ends={"x": "error", "next": UPSTREAM}, gives={"help": "help({'message': 'x failed'})"}),
    Shape("a handler that fails itself fails the run", HANDLED, TO_HANDLER, fails="x help",
          ends={"x": "error", "next": UPSTREAM, "help": "error"}, status="error"),
    Shape("everything behind a handler that is not needed", [*HANDLED, step("z")], [*TO_HANDLER, "help.out > z.a"],
          ends={"help": NO_ERROR, "z": NO_ERROR}),
    Shape("a fallback: the value, or what the handler makes of the failure", [*HANDLED, merge()],
          [*TO_HANDLER, "next.out > m.values", "help.out > m.values"], fails="x",
          ends={"x": "error", "next": UPSTREAM}, gives={"m": "help({'message': 'x failed'})"}),
    Shape("a fallback that is not needed", [*HANDLED, merge()], [*TO_HANDLER, "next.out > m.values",
          "help.out > m.values"], ends={"help": NO_ERROR}, gives={"m": "next(x())"}),
    Shape("a fallback right at the node", [step("x"), merge()], ["x.out > m.values", "x.$error > m.values"], fails="x",
          ends={"x": "error"}, gives={"m": {"message": "x failed"}}),
    Shape("with continueOnError both run: the handler and the others", [FORGIVEN, *HANDLED[1:]], TO_HANDLER, fails="x",
          starts="x next help", ends={"x": "error"}, gives={"next": "next()"}),
    Shape("with continueOnError and no failure the handler is skipped", [FORGIVEN, *HANDLED[1:]], TO_HANDLER,
          ends={"help": NO_ERROR}),
    Shape("with continueOnError a fallback takes the failure", [FORGIVEN, merge()],
          ["x.out > m.values", "x.$error > m.values"], fails="x", ends={"x": "error"},
          gives={"m": {"message": "x failed"}}),
    Shape("a missing value is a failure like others", [step("a"), node("x", "Strict"), *HANDLED[1:]],
          ["a.more > x.a", *TO_HANDLER], silent={"a": {"out": 1}}, starts="a help",
          ends={"x": "error", "next": UPSTREAM}),
    Shape("a handler of a node that never ran is skipped with it", [*HANDLED, step("a")], ["a.out > x.a", *TO_HANDLER],
          fails="a", ends={"a": "error", "x": UPSTREAM, "next": UPSTREAM, "help": UPSTREAM}, status="error"),
    Shape("a handler of a node on an untaken side", [fork("b", True), *HANDLED], ["b.false > x.a", *TO_HANDLER],
          ends={"x": NOT_TAKEN, "next": NOT_TAKEN, "help": NOT_TAKEN}),
    Shape("a handler of a bypassed node", [step("x", bypassed=True), *HANDLED[1:]], TO_HANDLER,
          ends={"x": "bypassed", "help": NO_ERROR}),
    Shape("a branch with a handler: two reasons at once", [*SIDES, step("h")], [*TO_SIDES, "b.$error > h.a"],
          ends={"f": NOT_TAKEN, "h": NO_ERROR}),
    Shape("a failed branch with a handler", [*SIDES, step("h")], [*TO_SIDES, "b.$error > h.a"], fails="b",
          ends={"b": "error", "t": UPSTREAM, "f": UPSTREAM}),
    Shape("one handler of two nodes runs only when both failed", [step("x"), step("y"), step("h")],
          ["x.$error > h.a", "y.$error > h.b"], fails="x", ends={"x": "error", "h": NO_ERROR}),
    Shape("one handler of two nodes behind a Merge", [step("x"), step("y"), merge(), step("h")],
          ["x.$error > m.values", "y.$error > m.values", "m.value > h.a"], fails="y", ends={"y": "error"},
          gives={"h": "h({'message': 'y failed'})"}),
    Shape("a stream breaks: who follows it fails with it, and that is handled too", [EMIT, RELAY, LAST, step("h")],
          ["p.out > c.stream", "c.stream > z.a", "p.$error > h.a"], fails="p", starts="p c h",
          ends={"p": "error", "c": "error", "z": UPSTREAM}),
    Shape("a stream breaks in a chain", [EMIT, RELAY, node("d", "Relay"), step("h")],
          ["p.out > c.stream", "c.stream > d.stream", "p.$error > h.a"], fails="p",
          ends={"p": "error", "c": "error", "d": "error"}),
    Shape("a stream breaks before one of its consumers could begin", [EMIT, step("a"), RELAY, step("h")],
          ["p.out > c.stream", "a.out > c.note", "p.$error > h.a"], fails="p a",
          ends={"p": "error", "a": "error", "c": UPSTREAM}, status="error"),
    Shape("a stream whose consumer fails by itself", [EMIT, RELAY, step("h")], ["p.out > c.stream", "p.$error > h.a"],
          fails="c", ends={"c": "error", "h": NO_ERROR}, status="error"),
]  # fmt: skip

SHAPES = [*BRANCHES, *SWITCHES, *MERGES, *SPARE, *FAILURES]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shape(shape: Shape) -> None:
    plan = compiled(list(shape.nodes), *shape.edges)
    run = Driver(plan, shape.fails.split(), shape.silent, shape.waits).play()
    assert run.outcome == {item.id: shape.ends.get(item.id, "complete") for item in plan.nodes}
    if shape.starts is not None:
        assert run.starts == shape.starts.split()
    assert {name: next(iter(run.outputs[name].values())) for name in shape.gives} == shape.gives  # type: ignore[index]
    assert run.status == shape.status


def test_a_wait_that_is_an_output_of_the_workflow_is_needed() -> None:
    mappings = {"said": {"sourceNodeId": "w", "sourceSlotKey": "answer"}}
    nodes = [node("d", "core:Delay"), node("w", "core:Approval"), merge()]
    plan = compiled(nodes, *RACE, outputInterfaceMappings=mappings)
    run = Driver(plan, waits={**FIRST, "w": NodeDecision({"answer": 3})}).play()
    assert run.outcome["w"] == "complete"


def test_names_of_shapes_are_their_own() -> None:
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)


def test_interface_outputs_of_an_untaken_side_are_absent() -> None:
    plan = compiled(
        [*SIDES, node("out", "core:GroupOutput")],
        *TO_SIDES,
        "t.out > out.yes",
        "f.out > out.no",
        outputInterfaceMappings={
            "yes": {"sourceNodeId": "t", "sourceSlotKey": "out"},
            "no": {"sourceNodeId": "f", "sourceSlotKey": "out"},
        },
    )
    run = Driver(plan).play()
    assert run.status == "complete"
    assert interface_values(plan, run.outputs) == {"yes": "t(b-value)"}


def test_a_failure_can_be_an_interface_output() -> None:
    plan = compiled(
        [step("x"), node("out", "core:GroupOutput")],
        "x.$error > out.error",
        outputInterfaceMappings={"error": {"sourceNodeId": "x", "sourceSlotKey": "$error"}},
    )
    failed = Driver(plan, fails="x").play()
    assert failed.status == "complete"
    assert interface_values(plan, failed.outputs) == {"error": {"message": "x failed"}}
    assert interface_values(plan, Driver(plan).play().outputs) == {}


# --- any graph ------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[RunPlan, set[str]]:
    """Up to 12 nodes, each on earlier ones: steps, branches and joins; some fail, some failures are handled."""
    nodes: list[Json] = []
    edges: list[str] = []
    fails: set[str] = set()
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["step", "step", "branch", "merge", "gather"])) if number else "step"
        id = f"n{number}"
        sources = draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        if kind == "merge" and not sources:
            kind = "step"
        if draw(st.integers(0, 4)) == 0:
            fails.add(id)
        nodes.append(_node(kind, id, draw(st.booleans()), draw(st.integers(0, 6)) == 0))
        slots = {"step": ["a", "b", "must"], "branch": ["value"], "merge": ["values"] * 3, "gather": ["parts"] * 3}
        for source, slot in zip(sources, slots[kind], strict=False):
            edges.append(f"n{source}.{draw(st.sampled_from(_outputs(nodes[source])))} > {id}.{slot}")
    return compiled(nodes, *edges), fails


def _node(kind: str, id: str, flag: bool, odd: bool) -> Json:
    more: Json = {"continueOnError": True} if odd and flag else {"bypassed": True} if odd else {}
    if kind == "branch":
        return fork(id, flag, **more)
    types = {"step": "Step", "gather": "Gather", "merge": "core:Merge"}
    return node(id, types[kind], **more)


def _outputs(item: Json) -> list[str]:
    known = {"core:Branch": ["true", "false"], "core:Merge": ["value"]}
    return [*known.get(item["fullType"], ["out"]), "$error"]


@examples(150)
@given(graphs(), st.data())
def test_every_node_ends_once_whatever_the_order(graph: tuple[RunPlan, set[str]], data: st.DataObject) -> None:
    plan, fails = graph
    calm = Driver(plan, fails).play()
    assert set(calm.ends) == {item.id for item in plan.nodes}
    wild = Driver(plan, fails, pick=lambda count: data.draw(st.integers(0, count - 1))).play()
    assert wild.ends.keys() == calm.ends.keys()
    assert _ended_alike(wild, calm)
    for name, end in calm.ends.items():
        if end.outcome == "skipped" and calm.reasons[name] != "not_needed":
            assert _has_dead_source(plan, calm.ends, name), f"{name} was skipped without a reason"


def _ended_alike(one: Run, other: Run) -> bool:
    """What is not needed depends on the order: elsewhere it may have run."""
    spare = {name for run in (one, other) for name, reason in run.reasons.items() if reason == "not_needed"}
    return all(end.outcome == other.ends[name].outcome for name, end in one.ends.items() if name not in spare)


def _has_dead_source(plan: RunPlan, ends: Mapping[Any, Any], name: Any) -> bool:
    item = plan.by_id[name]
    for source in item.after:
        end, slots = ends[source], item.gates.get(source, ())
        gone = [slot for slot in slots if slot in end.dead or (end.given is not None and slot not in end.given)]
        if end.outcome == "skipped" or (end.outcome == "error" and not slots) or gone:
            return True
        if end.outcome == "error" and not (plan.by_id[source].catches or plan.by_id[source].continue_on_error):
            return True
    return False


@examples(100)
@given(graphs(), st.data())
def test_a_run_that_goes_on_from_any_point_ends_as_if_it_had_not_stopped(
    graph: tuple[RunPlan, set[str]], data: st.DataObject
) -> None:
    plan, fails = graph
    whole = Driver(plan, fails).play()
    begun = Driver(plan, fails).play(until=data.draw(st.integers(0, len(plan.nodes))))
    later = Driver(plan, fails)
    later.resume(begun)
    assert later.play().outcome.keys() == whole.outcome.keys()
    assert _ended_alike(later.run, whole)
