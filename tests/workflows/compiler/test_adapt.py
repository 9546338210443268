"""Hollow slots take their type and name from the slot they were connected to."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.definition import Input, Output
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows, adapt_slots
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import InterfaceMapping, WorkflowDocument
from tests.effort import examples
from tests.workflows.compiler.test_groups import MORE, STREAM, TEXT, flow, group
from tests.workflows.toy_graphs import ToyCatalogue, node, toy

DRESSED = Input("INTEGER", "How many", match_categories=("Count",), required=True,
                config={"default": 3, "min": 1, "max": 9, "step": 2})  # fmt: skip
CATALOGUE = ToyCatalogue(
    *MORE,
    toy("Dressed", {"count": DRESSED, "any": Input("CONVERTIBLE_ANY")}, {"any": Output("CONVERTIBLE_ANY")}),
    toy("Secret", {"key": Input("STRING", secret=True, config={"default": "none"})}, {}),
    toy("Loose", {}, {}, dynamic_slots=True),
)
GATE, SINK = node("in", "core:GroupInput"), node("go", "core:GroupOutput")
HOLLOW = {"dataFlowType": "CONVERTIBLE_ANY"}


def adapted(document: WorkflowDocument, **stored: WorkflowDocument) -> tuple[WorkflowDocument, list[Problem]]:
    return adapt_slots(document, CATALOGUE, stored.get)


def handles(document: WorkflowDocument) -> list[str]:
    return [f"{edge.source_handle} > {edge.target_handle}" for edge in document.edges]


def test_a_hollow_output_of_the_gate_takes_what_its_other_end_has() -> None:
    found, problems = adapted(flow([GATE, node("d", "Dressed")], "in.output_0 > d.count"))
    slot = found.interface_inputs["count"]
    assert (slot.data_flow_type, slot.display_name, slot.required, slot.match_categories) == (
        "INTEGER", "How many", True, ("Count",),
    )  # fmt: skip
    assert slot.config == {"default": 3, "step": 2}
    assert (slot.min, slot.max) == (1, 9)
    assert slot.to_group_input().config == {"default": 3, "step": 2, "min": 1, "max": 9}
    assert handles(found) == ["count > count"]
    assert problems == []


def test_a_hollow_input_of_the_sink_takes_a_stream_and_names_an_output() -> None:
    found, _ = adapted(flow([node("s", "Emit"), SINK], "s.out > go.input_0"))
    assert found.interface_outputs["out"].is_stream
    assert handles(found) == ["out > out"]
    mapping = found.output_interface_mappings["out"]
    assert (mapping.node, mapping.slot) == ("s", "out")


def test_a_declared_hollow_slot_stays_for_the_next_edge() -> None:
    document = flow([GATE, node("e", "Echo"), SINK], "in.new > e.a", "e.text > go.new",
                    inputs={"new": HOLLOW}, outputs={"new": HOLLOW})  # fmt: skip
    found, _ = adapted(document)
    assert list(found.interface_inputs) == ["new", "a"]
    assert list(found.interface_outputs) == ["new", "text"]
    assert found.interface_inputs["new"].is_hollow
    assert list(found.output_interface_mappings) == ["text"]


def test_each_edge_on_a_hollow_slot_gets_a_slot_with_a_name_of_its_own() -> None:
    nodes = [GATE, node("e", "Echo"), node("f", "Echo"), node("j", "Join"), SINK]
    document = flow(nodes, "in.output_0 > e.a", "in.output_0 > f.a", "in.output_0 > j.parts__0",
                    "in.output_0 > j.parts__1", "e.text > go.input_0", "f.text > go.input_0",
                    inputs={"a": TEXT})  # fmt: skip
    found, _ = adapted(document)
    assert handles(found) == [
        "a_2 > a", "a_3 > a", "parts > parts__0", "parts_2 > parts__1", "text > text", "text > text_2",
    ]  # fmt: skip
    assert not found.interface_inputs["parts"].multi


def test_a_name_that_the_interface_lacks_is_kept_and_shared() -> None:
    nodes = [GATE, node("e", "Echo"), node("f", "Number"), SINK]
    found, _ = adapted(flow(nodes, "in.who > e.a", "in.who > e.b", "e.text > go.line", "f.n > go.line"))
    assert handles(found) == ["who > a", "who > b", "text > line", "n > line"]
    assert found.interface_outputs["line"].data_flow_type == "INTEGER"
    assert found.output_interface_mappings["line"].node == "f"


def test_a_key_never_looks_like_a_part_of_a_multi_slot() -> None:
    found, _ = adapted(flow([GATE, node("l", "Loose"), node("e", "Echo"), SINK],
                            "in.output_0 > l.x__7", "in.p__3 > e.a", "l.$odd > go.input_0"))  # fmt: skip
    assert list(found.interface_inputs) == ["x_7", "p_3"]
    assert found.interface_inputs["x_7"].data_flow_type == "WILDCARD"
    assert list(found.interface_outputs) == ["odd"]


def test_wildcards_and_hollow_slots_go_together() -> None:
    found, problems = adapted(flow([GATE, node("s", "Source"), SINK], "in.output_0 > s.value", "s.value > go.input_0"))
    assert found.interface_inputs["value"].data_flow_type == "WILDCARD"
    assert found.interface_outputs["value"].data_flow_type == "WILDCARD"
    assert problems == []


def test_the_slots_of_a_group_and_of_the_other_border_give_types_too() -> None:
    inner = flow([GATE, SINK], inputs={"s": STREAM}, outputs={"r": TEXT})
    document = flow([GATE, group("g", "inner"), SINK], "in.output_0 > g.s", "g.r > go.input_0",
                    "in.output_0 > go.known", outputs={"known": {"dataFlowType": "INTEGER"}})  # fmt: skip
    found, _ = adapted(document, inner=inner)
    assert found.interface_inputs["s"].is_stream
    assert found.interface_inputs["known"].data_flow_type == "INTEGER"
    assert found.interface_outputs["r"].data_flow_type == "STRING"


def test_an_edge_between_two_hollow_slots_is_told_once() -> None:
    document = flow([GATE, node("d", "Dressed"), SINK], "in.output_0 > go.input_0", "in.output_0 > d.any")
    found, problems = adapted(document)
    assert handles(found) == handles(document)
    assert [(problem.code, problem.level, problem.edge) for problem in problems] == [
        ("hollow_slot", "warning", "e2"), ("hollow_slot", "warning", "e1"),
    ]  # fmt: skip


def test_a_default_of_a_secret_or_multi_slot_is_not_taken() -> None:
    found, _ = adapted(flow([GATE, node("s", "Secret")], "in.output_0 > s.key"))
    assert found.interface_inputs["key"].config == {}


def test_edges_that_lead_nowhere_are_left_to_the_compiler() -> None:
    document = flow([GATE, node("e", "Echo"), node("u", "Unknown")], "in.output_0 > e.none", "in.output_0 > u.a",
                    "in.output_0 > gone.a")  # fmt: skip
    assert adapted(document) == (document, [])


def test_outputs_that_only_the_mappings_name_are_known() -> None:
    document = flow([node("e", "Echo"), SINK], "e.text > go.r")
    mappings = {"r": InterfaceMapping("e", "text")}
    document = WorkflowDocument(document.nodes, document.edges, output_interface_mappings=mappings)
    assert adapted(document) == (document, [])


def test_stored_workflows_are_adapted_when_they_are_read_also_where_one_holds_itself() -> None:
    stored = {
        "a": flow([GATE, group("b", "b"), SINK], "in.output_0 > b.v", "b.text > go.input_0"),
        "b": flow([GATE, node("e", "Echo"), SINK], "in.v > e.a", "e.text > go.input_0"),
        "me": flow([GATE, group("x", "me")], "in.output_0 > x.v"),
    }
    load = AdaptedWorkflows(CATALOGUE, stored.get)
    found = load("a")
    assert found is not None
    assert list(found.interface_inputs) == ["v"]
    assert list(found.interface_outputs) == ["text"]
    assert load("a") is found
    assert load("me") is not None
    assert load("none") is None
    document, _ = adapt_slots(flow([group("g", "a", {"v": "x"}), SINK], "g.text > go.input_0"), CATALOGUE, load)
    result = compile_document(document, CATALOGUE, load, secret_id=lambda text: text)
    assert result.warnings == ()
    assert list(result.plan.interface_outputs) == ["text"]


def test_a_reference_that_cannot_be_read_gives_no_slots() -> None:
    def load(workflow_id: str) -> WorkflowDocument | None:
        raise InvalidWorkflow([Problem("malformed_json", "no JSON")])

    document = flow([GATE, group("g", "x")], "in.output_0 > g.v")
    assert adapt_slots(document, CATALOGUE, load) == (document, [])


# --- in general -----------------------------------------------------------------------------------------------------

SOURCES = ["in.output_0", "in.output_1", "in.who", "in.old", "in.new", "in.a__1", "s.value", "e.text", "m.out", "d.any"]
TARGETS = ["e.a", "e.n", "j.parts__0", "j.parts", "d.count", "d.any", "r.stream", "go.input_0", "go.line", "go.old",
           "go.new", "go.b__2", "l.x__3", "e.none"]  # fmt: skip
EDGES = st.lists(st.tuples(st.sampled_from(SOURCES), st.sampled_from(TARGETS)), max_size=8)
SIDE: dict[str, Any] = {"old": TEXT, "new": HOLLOW}


@examples(150)
@given(EDGES)
def test_adapting_again_changes_nothing(ends: list[tuple[str, str]]) -> None:
    nodes = [
        GATE,
        SINK,
        *(node(kind[0].lower(), kind) for kind in ("Source", "Echo", "Join", "Dressed", "Relay", "Loose")),
    ]
    nodes.append(node("m", "Emit"))
    document = flow(nodes, *(f"{source} > {target}" for source, target in ends), inputs=SIDE, outputs=SIDE)
    once, problems = adapted(document)
    assert adapted(once) == (once, problems)
    assert [edge.id for edge in once.edges] == [edge.id for edge in document.edges]
    for slots in (once.interface_inputs, once.interface_outputs):
        assert {"old", "new"} <= slots.keys()
        assert all(key == slot.key and not re.search(r"__[0-9]+$", key) for key, slot in slots.items())
