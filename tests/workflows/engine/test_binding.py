"""One instance of a group, joined to the streams that it gets from outside."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.workflows.engine.binding import bound
from innkeeper.workflows.engine.node_values import stream_inputs
from innkeeper.workflows.plan import Feed, InterfaceOutput, PlannedInput, PlannedNode, PlannedOutput, RunPlan


def gate(id: str = "in") -> PlannedNode:
    outputs: Any = {"s": PlannedOutput(stream=True), "t": PlannedOutput(stream=True), "v": PlannedOutput()}
    return PlannedNode(id, "core:GroupInput", interface_values=True, placement="workflow", outputs=outputs)  # type: ignore[arg-type]


def reader(id: str, slot: str, convert: str, *, source: str = "in", **more: Any) -> PlannedNode:
    """Takes one input of the group, as the compiler plans it."""
    feed = Feed(source, slot, convert)  # type: ignore[arg-type]
    where = {"beside": (source,)} if convert == "stream" else {"after": (source,)}
    slots: Any = {"x": PlannedInput((feed,), required=True, **more)}
    return PlannedNode(id, "toy:Reader", inputs=slots, **where)  # type: ignore[arg-type]


def node(plan: RunPlan, id: str) -> PlannedNode:
    return plan.by_id[id]  # type: ignore[index]


def feed(plan: RunPlan, id: str, slot: str = "x") -> tuple[str, str, str]:
    found = node(plan, id).inputs[slot].feeds[0]  # type: ignore[index]
    return found.node, found.slot, found.convert


def test_a_plan_without_stream_inputs_stays_the_same_object() -> None:
    plan = RunPlan((gate(), reader("r", "v", "")))
    assert bound(plan, {"s": ["a"]}) is plan


def test_a_reader_follows_the_producer_outside() -> None:
    plan = bound(RunPlan((gate(), reader("r", "s", "stream"))), {"s": ["outer/a"]})
    assert feed(plan, "r") == ("/outer/a", "s", "stream")
    assert stream_inputs(plan, node(plan, "r")) == {"x": ["/outer/a"]}
    assert (node(plan, "r").beside, node(plan, "r").after) == (("in",), ())
    assert node(plan, "in").placement == "workflow"


def test_several_producers_into_one_multi_slot() -> None:
    plan = bound(RunPlan((gate(), reader("r", "s", "stream", multi=True))), {"s": ["a", "", "b"]})
    assert stream_inputs(plan, node(plan, "r")) == {"x": ["/a", "", "/b"]}


@pytest.mark.parametrize(
    ("convert", "expected"), [("stream", "one_chunk"), ("collect_text", "text"), ("collect_chunks", "")]
)
def test_a_whole_value_needs_no_following(convert: str, expected: str) -> None:
    plan = bound(RunPlan((gate(), reader("r", "s", convert))), {}, {"s"})
    assert feed(plan, "r") == ("in", "s", expected)
    # It is there when core:GroupInput has ended, not when it has begun.
    assert (node(plan, "r").after, node(plan, "r").beside) == (("in",), ())
    assert node(plan, "in").placement == "workflow"


def test_a_stream_that_nobody_gives_has_no_chunks_where_one_must_be() -> None:
    assert feed(bound(RunPlan((gate(), reader("r", "s", "stream"))), {}), "r")[2] == "no_stream"
    own = reader("r", "s", "stream", value="own", has_value=True)
    assert feed(bound(RunPlan((gate(), own)), {}), "r")[2] == "one_chunk"


def test_what_is_wanted_whole_is_read_to_its_end_by_the_gate() -> None:
    plan = RunPlan((gate(), gate("in2"), reader("r", "s", "collect_text"), reader("q", "t", "stream", source="in2")))
    plan = bound(plan, {"s": ["a"], "t": ["b"]})
    assert node(plan, "in").placement == "activity"
    assert stream_inputs(plan, node(plan, "in")) == {"s": ["/a"]}
    assert not any(slot.stream for slot in node(plan, "in").outputs.values())
    assert node(plan, "in2").placement == "workflow"
    assert feed(plan, "r") == ("in", "s", "collect_text")


def test_an_output_that_gives_a_stream_input_as_text_is_collected_too() -> None:
    outputs = {"text": InterfaceOutput("in", "s", convert="collect_text")}  # type: ignore[arg-type]
    plan = RunPlan((gate(),), interface_outputs=outputs)
    assert node(bound(plan, {"s": ["a"]}), "in").placement == "activity"
    whole = bound(plan, {}, {"s"})
    assert node(whole, "in").placement == "workflow"
    assert whole.interface_outputs["text"].convert == "text"


def test_a_value_beside_a_collected_stream_is_waited_for() -> None:
    """`t` is a whole value here; the gate has it only when it has read `s` to its end."""
    plan = RunPlan((gate(), reader("r", "s", "collect_text"), reader("q", "t", "stream")))
    plan = bound(plan, {"s": ["a"]}, {"t"})
    assert (node(plan, "q").after, node(plan, "q").beside) == (("in",), ())
