from __future__ import annotations

import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.feeds import Missing, convert
from innkeeper.workflows.engine.node_values import bypass_outputs, inputs_for, interface_values
from innkeeper.workflows.engine.scheduler import budget, run_status
from innkeeper.workflows.plan import (
    UNDEFINED,
    BypassSource,
    Feed,
    InterfaceOutput,
    NodeId,
    PlannedInput,
    PlannedNode,
    PlannedOutput,
    RunPlan,
    SlotKey,
)
from tests.effort import examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
FEEDS = st.builds(Feed, NAMES, NAMES, st.sampled_from(["", "text", "collect_text"]))
INPUTS = st.builds(
    PlannedInput, st.lists(FEEDS, max_size=2).map(tuple), JSON, st.booleans(), st.booleans(), st.booleans()
)
SOURCES = st.builds(BypassSource, st.lists(NAMES, max_size=2).map(tuple), JSON, st.booleans(), st.booleans())
SECONDS = st.floats(0.001, 1e6)


def some_nodes(node_id: str) -> st.SearchStrategy[PlannedNode]:
    return st.builds(
        PlannedNode,
        id=st.just(NodeId(node_id)),
        type=NAMES,
        title=st.text(max_size=5),
        placement=st.sampled_from(["activity", "inline", "workflow"]),
        queue=st.none() | NAMES,
        mode=st.none() | NAMES,
        config=st.dictionaries(NAMES, JSON, max_size=2),
        inputs=st.dictionaries(NAMES, INPUTS, max_size=3),
        outputs=st.dictionaries(NAMES, st.builds(PlannedOutput, st.booleans(), st.tuples(NAMES)), max_size=2),
        after=st.lists(NAMES, max_size=2).map(tuple),
        bypass=st.none() | st.dictionaries(NAMES, SOURCES, max_size=2),
        continue_on_error=st.booleans(),
        collect_chunks=st.booleans(),
        interface_values=st.booleans(),
        max_attempts=st.integers(1, 100),
        initial_s=SECONDS,
        non_retryable=st.lists(NAMES, max_size=2).map(tuple),
        timeout_s=SECONDS,
    )


PLANS = st.builds(
    RunPlan,
    nodes=st.tuples(some_nodes("a"), some_nodes("b")),
    workflow_id=st.none() | NAMES,
    workflow_name=st.none() | NAMES,
    interface_inputs=st.dictionaries(NAMES, JSON, max_size=2),
    interface_outputs=st.dictionaries(
        NAMES, st.builds(InterfaceOutput, NAMES, NAMES, st.booleans(), st.none() | NAMES, NAMES), max_size=2
    ),
)


@examples(50)
@given(PLANS)
def test_a_plan_survives_encoding(plan: RunPlan) -> None:
    assert RunPlan.decode(plan.encode()) == plan


def test_an_encoded_plan_names_its_version_and_leaves_defaults_out() -> None:
    plan = RunPlan((PlannedNode(NodeId("a"), "toy:A", inputs={SlotKey("x"): PlannedInput(value={}, has_value=True)}),))
    assert orjson.loads(zlib.decompress(plan.encode())) == {
        "nodes": [{"id": "a", "type": "toy:A", "inputs": {"x": {"value": {}, "has_value": True}}}],
        "plan_version": 2,
    }


@pytest.mark.parametrize(
    ("value", "conversion", "expected"),
    [
        (1, "text", "1"),
        (1.0, "text", "1"),
        (-0.0, "text", "0"),
        (2.5, "text", "2.5"),
        (100.0, "text", "100"),
        (1e20, "text", "100000000000000000000"),
        (1e21, "text", "1e+21"),
        (0.000001, "text", "0.000001"),
        (1.5e-7, "text", "1.5e-7"),
        (True, "text", "true"),
        (False, "text", "false"),
        ("x", "text", "x"),
        (None, "text", None),
        (3, "float", 3.0),
        (True, "float", True),
        ({"text": "ab", "chunks": 2}, "collect_text", "ab"),
        ({"text": "ab", "chunks": 2, "items": [1, 2]}, "collect_chunks", [1, 2]),
        ("from a literal", "collect_text", "from a literal"),
        ({"$blob": "0"}, "", {"$blob": "0"}),
    ],
)
def test_convert(value: Any, conversion: str, expected: Any) -> None:
    result = convert(value, conversion)
    assert (result, type(result)) == (expected, type(expected))


def given_node(**inputs: PlannedInput) -> PlannedNode:
    return PlannedNode(NodeId("n"), "toy:N", inputs={SlotKey(key): slot for key, slot in inputs.items()})


def feed(node: str, slot: str = "o", conversion: str = "") -> Feed:
    return Feed(NodeId(node), SlotKey(slot), conversion)


OUTPUTS = {NodeId("a"): {"o": "A", "nothing": None}, NodeId("b"): {"o": 2}}


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        (PlannedInput((feed("a"),)), "A"),
        (PlannedInput((feed("a"), feed("b", conversion="text"))), "2"),
        (PlannedInput((feed("a"), feed("b", "lost"))), UNDEFINED),
        (PlannedInput((feed("a", "nothing"),), "preset", True), None),
        (PlannedInput((feed("a", "lost"),), "preset", True), "preset"),
        (PlannedInput((feed("gone"),), None, True), None),
        (PlannedInput((feed("b"), feed("a", "lost"), feed("a")), multi=True), [2, None, "A"]),
        (PlannedInput((), ["x"], True, multi=True), ["x"]),
        (PlannedInput(), UNDEFINED),
    ],
)
def test_inputs_for_one_slot(slot: PlannedInput, expected: Any) -> None:
    values = inputs_for(given_node(x=slot), OUTPUTS)
    assert values == ({} if expected is UNDEFINED else {"x": expected})


def test_inputs_for_names_every_required_slot_without_a_value() -> None:
    lost = PlannedInput((feed("a", "lost"),), required=True)
    missing = inputs_for(given_node(x=lost, y=PlannedInput((feed("a"),)), z=lost), OUTPUTS)
    assert missing == Missing(((SlotKey("x"), feed("a", "lost")), (SlotKey("z"), feed("a", "lost"))))
    assert "'x' (output 'lost' of node 'a' gave none)" in missing.of("n")


def test_bypass_gives_each_input_once_unless_it_is_shared() -> None:
    x, y = SlotKey("x"), SlotKey("y")
    plain = {SlotKey(key): BypassSource((x, y), empty="") for key in ("p", "q", "r")}
    assert bypass_outputs(plain, {"x": 1, "y": 2}) == {"p": 1, "q": 2, "r": ""}
    shared = {SlotKey(key): BypassSource((x,), shared=True) for key in ("p", "q")}
    assert bypass_outputs(shared, {"x": 1}) == {"p": 1, "q": 1}
    assert bypass_outputs({SlotKey("p"): BypassSource(has_empty=False)}, {"x": 1}) == {}


def test_interface_values_convert_and_leave_out_what_gave_nothing() -> None:
    plan = RunPlan(
        (),
        interface_outputs={
            "text": InterfaceOutput(NodeId("a"), SlotKey("s"), convert="collect_text"),
            "live": InterfaceOutput(NodeId("a"), SlotKey("s"), stream=True),
            "lost": InterfaceOutput(NodeId("a"), SlotKey("t")),
        },
    )
    stream = {"text": "hi", "chunks": 1}
    assert interface_values(plan, {NodeId("a"): {"s": stream}}) == {"text": "hi", "live": stream}


def test_run_status_forgives_only_nodes_that_may_fail() -> None:
    plan = RunPlan((PlannedNode(NodeId("a"), "t"), PlannedNode(NodeId("b"), "t", continue_on_error=True)))
    a, b = NodeId("a"), NodeId("b")
    assert run_status(plan, {a: "complete", b: "error"}, interrupted=False) == "complete"
    assert run_status(plan, {a: "error", b: "skipped"}, interrupted=False) == "error"
    assert run_status(plan, {a: "error"}, interrupted=True) == "interrupted"


@pytest.mark.parametrize(
    ("sizes", "in_flight", "started", "spent", "allowed"),
    [
        ([10, 10], 0, 0, 0, 2),
        ([10] * 200, 0, 0, 0, 100),
        ([10] * 5, 498, 0, 0, 2),
        ([10], 0, 100, 0, 0),
        ([600_000, 600_000], 0, 0, 0, 1),
        ([5_000_000], 0, 0, 0, 1),
        ([5_000_000], 0, 1, 0, 0),
    ],
)
def test_budget_of_one_activation(sizes: list[int], in_flight: int, started: int, spent: int, allowed: int) -> None:
    assert budget(sizes, in_flight, started, spent) == allowed
