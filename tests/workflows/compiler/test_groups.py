"""Groups at compile time: what is refused, where values come from, where streams and secrets go."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from innkeeper.nodes.definition import Input, Output
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.nodes.feeds import Missing
from innkeeper.workflows.compiler.compile import Compiled, compile_document
from innkeeper.workflows.compiler.groups import MAX_INNER_PROBLEMS
from innkeeper.workflows.document.model import WorkflowDocument, parse_document
from innkeeper.workflows.engine.binding import bound
from innkeeper.workflows.engine.node_runs import interface_inputs
from innkeeper.workflows.engine.node_values import inputs_for, interface_values
from innkeeper.workflows.engine.workflow_context import GraphLocation
from innkeeper.workflows.plan import PlannedNode, RunPlan
from tests.workflows.toy_graphs import ToyCatalogue, edges, node, toy

Json = dict[str, Any]
REFERENCE = {"referencedWorkflowId": Input("STRING", required=True)}
MORE = (
    toy("NodeGroup", {}, {}, namespace="core", dynamic_slots=True, runs_workflow="group", placement="workflow",
        config_schema=REFERENCE),
    toy("ForEach", {"items": Input("ARRAY", required=True)}, {"results": Output("ARRAY")}, namespace="core",
        dynamic_slots=True, runs_workflow="each", placement="workflow",
        config_schema={**REFERENCE, "itemKey": Input("STRING")}),
    toy("Loop", {"state": Input("OBJECT")}, {"state": Output("OBJECT")}, namespace="core", runs_workflow="loop",
        placement="workflow", config_schema=REFERENCE),
    toy("Merge", {"values": Input("WILDCARD", multi=True)}, {"value": Output("WILDCARD")}, namespace="core",
        joins=True, placement="workflow"),
)  # fmt: skip
CATALOGUE = ToyCatalogue(*MORE)
GATE, SINK = node("in", "core:GroupInput"), node("go", "core:GroupOutput")
STREAM = {"dataFlowType": "STRING", "isStream": True}
TEXT = {"dataFlowType": "STRING"}
OBJECT = {"dataFlowType": "OBJECT"}
Workflows = Mapping[str, WorkflowDocument | InvalidWorkflow]


def group(id: str, workflow: str | None, inputs: Json | None = None, **more: Any) -> Json:
    config = {} if workflow is None else {"referencedWorkflowId": workflow}
    return node(id, "core:NodeGroup", inputs, configValues=config, **more)


def each(id: str, workflow: str) -> Json:
    return node(id, "core:ForEach", {"items": [1]}, configValues={"referencedWorkflowId": workflow})


def flow(nodes: list[Json], *ends: str, inputs: Json | None = None, outputs: Json | None = None) -> WorkflowDocument:
    """A stored workflow: its outputs come from the edges into its GroupOutput nodes."""
    return parse_document(
        {
            "nodes": nodes,
            "edges": edges(*ends),
            "interfaceInputs": {key: {"key": key, **slot} for key, slot in (inputs or {}).items()},
            "interfaceOutputs": {key: {"key": key, **slot} for key, slot in (outputs or {}).items()},
        }
    )


def loader(workflows: Workflows) -> Callable[[str], WorkflowDocument | None]:
    def load(workflow_id: str) -> WorkflowDocument | None:
        found = workflows.get(workflow_id)
        if isinstance(found, InvalidWorkflow):
            raise found
        return found

    return load


def compiled(document: WorkflowDocument, workflows: Workflows) -> Compiled:
    return compile_document(document, CATALOGUE, loader(workflows), secret_id=lambda text: f"id-{len(text)}")


def problems(document: WorkflowDocument, workflows: Workflows) -> tuple[Problem, ...]:
    try:
        return compiled(document, workflows).warnings
    except InvalidWorkflow as error:
        return error.problems


def codes(found: tuple[Problem, ...]) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.node) for problem in found]


def planned(plan: RunPlan, id: str) -> PlannedNode:
    return plan.by_id[id]  # type: ignore[index]


def below(plan: RunPlan, id: str) -> RunPlan:
    return RunPlan.decode(plan.group_bytes(planned(plan, id).group))


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_reference_to_nothing_names_the_node_and_the_workflow() -> None:
    found = problems(flow([group("g", "gone")]), {})
    assert codes(found) == [("group_not_found", "g")]
    assert "'gone'" in found[0].message


def test_a_group_without_a_reference_needs_one() -> None:
    found = problems(flow([group("g", None)]), {})
    assert codes(found) == [("missing_input", "g")]


def test_a_workflow_that_cannot_be_read_says_why() -> None:
    broken = InvalidWorkflow([Problem("malformed_json", "this is not JSON")])
    found = problems(flow([group("g", "b"), group("h", "b")]), {"b": broken})
    assert codes(found) == [("group_invalid", "g"), ("group_invalid", "h")]
    assert "this is not JSON" in found[0].message


@pytest.mark.parametrize(
    ("workflows", "place", "way"),
    [
        ({"a": [group("x", "a")]}, "g/x", "'a' -> 'a'"),
        ({"a": [group("x", "b")], "b": [group("y", "a")]}, "g/x/y", "'a' -> 'b' -> 'a'"),
        ({"a": [each("x", "b")], "b": [group("y", "a")]}, "g/x/y", "'a' -> 'b' -> 'a'"),
    ],
)
def test_a_workflow_inside_itself_is_refused_with_the_way_there(
    workflows: dict[str, list[Json]], place: str, way: str
) -> None:
    stored = {name: flow(nodes) for name, nodes in workflows.items()}
    found = problems(flow([group("g", "a")]), stored)
    assert codes(found) == [("group_recursion", place)]
    assert way in found[0].message


def test_a_stored_workflow_that_is_run_and_contains_itself() -> None:
    document = parse_document({"id": "me", "nodes": [group("g", "other")], "edges": []})
    found = problems(document, {"other": flow([group("x", "me")]), "me": document})
    assert codes(found) == [("group_recursion", "g/x")]
    assert "'me' -> 'other' -> 'me'" in found[0].message


def nest(levels: int, bottom: WorkflowDocument, *, start: str = "w") -> dict[str, WorkflowDocument]:
    """`w0` is `bottom`, each further one a group of the one before, its inputs and outputs handed through."""
    found = {f"{start}0": bottom}
    for level in range(1, levels):
        found[f"{start}{level}"] = flow([group("g", f"{start}{level - 1}")])
    return found


def test_groups_nest_64_levels_and_no_further() -> None:
    stored = nest(66, flow([node("e", "Echo")]))
    assert problems(flow([group("g", "w63")]), stored) == ()
    assert [code for code, _ in codes(problems(flow([group("g", "w64")]), stored))] == ["group_too_deep"]


def test_levels_count_also_where_a_part_was_checked_before() -> None:
    stored = nest(60, flow([node("e", "Echo")]))
    stored |= nest(30, flow([group("g", "w59")]), start="v")
    found = problems(flow([group("a", "w59"), group("b", "v29")]), stored)
    assert [problem.code for problem in found if problem.level == "error"] == ["group_too_deep"]


def test_groups_that_double_are_counted_and_not_walked() -> None:
    stored = {"w0": flow([node("e", "Echo")])}
    for level in range(1, 64):
        stored[f"w{level}"] = flow([group("a", f"w{level - 1}"), group("b", f"w{level - 1}")])
    tracemalloc.start()
    began = time.process_time()
    found = problems(flow([group("g", "w63")]), stored)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes(found) == [("too_many_nodes", None)]
    assert len(found[0].message) < 200
    assert took < 20  # walked, they would never end
    assert peak < 20_000_000


def test_a_path_may_not_grow_too_long() -> None:
    stored = {"w0": flow([node("e" * 300, "Echo")])}
    stored["w1"] = flow([group("g" * 300, "w0")])
    assert codes(problems(flow([group("h" * 150, "w1")]), stored)) == []
    found = problems(flow([group("h" * 300, "w1")]), stored)
    assert codes(found) == [("path_too_long", None)]
    assert "902" in found[0].message


def test_a_path_is_measured_in_bytes() -> None:
    stored = {"w0": flow([node("雪" * 133, "Echo")])}
    assert codes(problems(flow([group("雪" * 133, "w0")]), stored)) == []
    found = problems(flow([group("雪" * 134, "w0")]), stored)
    assert codes(found) == [("path_too_long", None)]
    assert "802 bytes" in found[0].message


def test_what_is_wrong_inside_is_told_once_with_its_path() -> None:
    stored = {
        "a": flow([node("x", "Nothing"), group("i", "b")]),
        "b": flow([node("y", "Need")]),
    }
    found = problems(flow([group("g", "a"), group("h", "a"), each("l", "a"), group("k", "b")]), stored)
    assert codes(found) == [("unknown_node_type", "g/x"), ("missing_input", "g/i/y")]
    assert found[1].message.startswith("in workflow 'a': in workflow 'b': ")


def test_what_is_wrong_far_below_names_the_first_and_the_last_workflow() -> None:
    stored = {f"w{level}": flow([group("i", f"w{level + 1}")]) for level in range(60)}
    (found,) = problems(flow([group("g", "w0")]), {**stored, "w60": flow([node("y", "Need")])})
    assert found.message.startswith("in workflow 'w0', 60 levels below it in workflow 'w60': node 'y'")
    assert found.node == "/".join(["g", *["i"] * 60, "y"])


def test_boxes_of_the_editor_inside_do_not_matter() -> None:
    stored = {"a": flow([node("f", "Frame"), node("e", "Echo")])}
    plan = compiled(flow([group("g", "a")]), stored).plan
    assert [item.id for item in below(plan, "g").nodes] == ["e"]


# --- values ---------------------------------------------------------------------------------------------------------


def given(plan: RunPlan, outputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the node `e` inside the group `g` gets as `a`, when nodes outside gave `outputs`."""
    handed = inputs_for(planned(plan, "g"), outputs or {})  # type: ignore[arg-type]
    assert not isinstance(handed, Missing)
    inner = bound(below(plan, "g"), {})
    gate = interface_inputs(inner, GraphLocation("g", handed))
    got = inputs_for(planned(inner, "e"), {"in": gate})  # type: ignore[dict-item]
    assert not isinstance(got, Missing)
    return got


@pytest.mark.parametrize("kind", ["Echo", "Need"])
@pytest.mark.parametrize(
    ("connected", "instance", "default", "own", "expected"),
    [
        (True, True, True, True, "connected"),
        (False, True, True, True, "instance"),
        (False, False, True, True, "default"),
        (False, False, False, True, "own"),
        (False, False, False, False, None),
    ],
)
def test_the_nearest_value_wins(
    kind: str, connected: bool, instance: bool, default: bool, own: bool, expected: str | None
) -> None:
    slot = {**TEXT, "config": {"default": "default"} if default else {}}
    stored = {"a": flow([GATE, node("e", kind, {"a": "own"} if own else {})], "in.v > e.a", inputs={"v": slot})}
    nodes = [node("s", "Source"), group("g", "a", {"v": "instance"} if instance else {})]
    plan = compiled(flow(nodes, *(["s.value > g.v"] if connected else [])), stored).plan
    got = given(plan, {"s": {"value": "connected"}})
    if expected is None:
        # What is required takes its type's empty value at last; what is not stays empty.
        assert got.get("a", None) == ("" if kind == "Need" else None)
    else:
        assert got["a"] == expected


def test_two_uses_of_a_group_have_one_plan_and_values_of_their_own() -> None:
    stored = {"a": flow([GATE, node("e", "Echo")], "in.v > e.a", inputs={"v": TEXT})}
    plan = compiled(flow([group("g", "a", {"v": "1"}), group("h", "a", {"v": "2"})]), stored).plan
    assert planned(plan, "g").group == planned(plan, "h").group
    assert len(plan.groups) == 1
    assert [planned(plan, id).inputs["v"].value for id in ("g", "h")] == ["1", "2"]  # type: ignore[index]


def test_a_plan_changes_its_hash_with_the_content_of_the_group() -> None:
    hashes = set()
    for value in ("x", "y", "x"):
        plan = compiled(flow([group("g", "a")]), {"a": flow([node("e", "Echo", {"a": value})])}).plan
        hashes.add(planned(plan, "g").group)
    assert len(hashes) == 2


def test_a_required_input_of_a_group_must_be_given() -> None:
    stored = {"a": flow([GATE, node("e", "Echo")], "in.v > e.a", inputs={"v": {**TEXT, "required": True}})}
    assert codes(problems(flow([group("g", "a")]), stored)) == [("missing_input", "g")]
    assert codes(problems(flow([group("g", "a", {"v": "x"})]), stored)) == []
    assert codes(problems(flow([node("s", "Source"), group("g", "a")], "s.value > g.v"), stored)) == []


def test_large_values_inside_are_stored_apart() -> None:
    result = compiled(flow([group("g", "a")]), {"a": flow([node("e", "Echo", {"a": "x" * 5000})])})
    assert "$blob" in planned(below(result.plan, "g"), "e").inputs["a"].value  # type: ignore[index]
    assert len(result.blobs) == 1


def test_hollow_slots_are_not_shown_outside() -> None:
    hollow = {"dataFlowType": "CONVERTIBLE_ANY", "required": True}
    stored = {"a": flow([GATE, SINK], inputs={"v": hollow}, outputs={"r": hollow})}
    document = flow([node("s", "Source"), group("g", "a"), node("e", "Echo")], "s.value > g.v", "g.r > e.a")
    assert codes(problems(document, stored)) == [("unknown_slot", "g"), ("unknown_slot", "g")]


def test_edges_to_slots_that_a_group_has_lost_are_named() -> None:
    stored = {"a": flow([GATE, SINK], "in.v > go.r", inputs={"v": TEXT}, outputs={"r": TEXT})}
    document = flow([node("s", "Source"), group("g", "a"), node("e", "Echo")], "s.value > g.old", "g.gone > e.a")
    found = problems(document, stored)
    assert [(problem.level, problem.slot) for problem in found] == [("warning", "old"), ("warning", "gone")]
    assert "inputs are 'v'" in found[0].message
    assert "outputs are 'r'" in found[1].message


def test_an_output_that_a_group_has_lost_is_an_error_where_nothing_else_gives_a_required_value() -> None:
    stored = {"a": flow([GATE, SINK], "in.v > go.r", inputs={"v": TEXT}, outputs={"r": TEXT})}
    found = problems(flow([group("g", "a"), node("n", "Need")], "g.gone > n.a"), stored)
    wrong = [problem for problem in found if problem.level == "error"]
    assert [(problem.code, problem.node, problem.slot) for problem in wrong] == [("missing_input", "n", "a")]
    assert "output 'gone' of node 'g', whose outputs are 'r'" in wrong[0].message
    typed = problems(flow([group("g", "a"), node("n", "Need", {"a": "x"})], "g.gone > n.a"), stored)
    assert [problem.level for problem in typed] == ["warning"]


def test_a_stream_that_no_longer_fits_is_an_error() -> None:
    stored = {"a": flow([GATE, SINK], "in.v > go.r", inputs={"v": STREAM}, outputs={"r": STREAM})}
    found = problems(flow([group("g", "a"), node("l", "List")], "g.r > l.x"), stored)
    assert [(problem.level, problem.node) for problem in found] == [("error", "l")]
    fits = flow([node("s", "Emit"), group("g", "a"), node("e", "Echo")], "s.out > g.v", "g.r > e.a")
    assert problems(fits, stored) == ()


def test_several_gates_and_sinks_of_one_workflow_are_one_interface() -> None:
    gates = [GATE, node("in2", "core:GroupInput"), SINK, node("go2", "core:GroupOutput"), node("e", "Echo")]
    stored = {"a": flow(gates, "in.v > e.a", "in2.w > e.b", "e.text > go.r", "e.all > go2.q",
                        inputs={"v": TEXT, "w": TEXT}, outputs={"r": TEXT, "q": OBJECT})}  # fmt: skip
    plan = compiled(flow([group("g", "a", {"v": "1", "w": "2"})]), stored).plan
    inner = below(plan, "g")
    gate = interface_inputs(inner, GraphLocation("g", {"v": "1", "w": "2"}))
    got = inputs_for(planned(inner, "e"), {"in": gate, "in2": gate})  # type: ignore[dict-item]
    assert not isinstance(got, Missing)
    assert (got["a"], got["b"]) == ("1", "2")
    assert set(inner.interface_outputs) == {"r", "q"}


@pytest.mark.parametrize(("target", "expected"), [("j.parts__0", ["1", "2", "end"]), ("e.a", ["1", "2"])])
def test_several_edges_into_a_multi_input_arrive_one_by_one(target: str, expected: Any) -> None:
    own = node("j", "Join") if target.startswith("j") else node("e", "Echo")
    ends = [f"in.v > {target}", *(["end.text > j.parts__1"] if target.startswith("j") else [])]
    stored = {"a": flow([GATE, node("end", "Echo"), own], *ends, inputs={"v": {**TEXT, "multi": True}})}
    document = flow([node("s", "Echo"), node("t", "Echo"), group("g", "a")], "s.text > g.v__0", "t.text > g.v__1")
    plan = compiled(document, stored).plan
    handed = inputs_for(planned(plan, "g"), {"s": {"text": "1"}, "t": {"text": "2"}})  # type: ignore[dict-item]
    assert handed == {"v": ["1", "2"]}
    name, slot = target.partition("__")[0].split(".")
    got = inputs_for(planned(below(plan, "g"), name), {"in": handed, "end": {"text": "end"}})  # type: ignore[dict-item]
    assert not isinstance(got, Missing)
    assert got[slot] == expected


def test_one_value_typed_into_a_multi_input_is_a_list_of_one() -> None:
    stored = {"a": flow([GATE, node("j", "Join")], "in.v > j.parts__0", inputs={"v": {**TEXT, "multi": True}})}
    plan = compiled(flow([group("g", "a", {"v": "1"})]), stored).plan
    assert inputs_for(planned(plan, "g"), {}) == {"v": ["1"]}


def test_an_input_that_fans_out_reaches_everyone() -> None:
    stored = {"a": flow([GATE, node("e", "Echo"), node("f", "Echo")], "in.v > e.a", "in.v > f.a", "in.v > f.b",
                        inputs={"v": TEXT})}  # fmt: skip
    inner = below(compiled(flow([group("g", "a")]), stored).plan, "g")
    got = [inputs_for(planned(inner, id), {"in": {"v": "x"}}) for id in ("e", "f")]  # type: ignore[dict-item]
    assert got == [{"a": "x", "n": 7}, {"a": "x", "b": "x", "n": 7}]


# --- bypass ---------------------------------------------------------------------------------------------------------


def test_a_bypassed_group_passes_on_by_its_interface() -> None:
    sides = {"inputs": {"v": TEXT, "n": {"dataFlowType": "INTEGER"}}, "outputs": {"r": TEXT, "s": STREAM}}
    stored = {"a": flow([GATE, SINK], **sides)}
    document = flow(
        [node("s", "Source"), node("m", "Emit"), group("g", "a", bypassed=True), node("e", "Echo")],
        "s.value > g.v", "g.r > e.a",
    )  # fmt: skip
    plan = compiled(document, stored).plan
    bypass = planned(plan, "g").bypass
    assert bypass is not None
    assert bypass["r"].inputs[0] == "v"
    assert bypass["s"].empty == {"text": "", "chunks": 0}
    assert plan.groups == {} or planned(plan, "g").group == ""


def test_a_bypassed_group_needs_no_workflow() -> None:
    found = problems(flow([group("g", "gone", bypassed=True), node("e", "Echo")], "g.r > e.a"), {})
    assert [problem.level for problem in found] == ["warning"]


def test_a_bypassed_group_may_be_one_around_it() -> None:
    stored = {"a": flow([group("x", "a", bypassed=True)])}
    assert problems(flow([group("g", "a")]), stored) == ()


# --- streams --------------------------------------------------------------------------------------------------------


def stream_nest(levels: int) -> dict[str, WorkflowDocument]:
    sides = {"inputs": {"s": STREAM}, "outputs": {"s": STREAM, "t": STREAM}}
    bottom = flow([GATE, node("m", "Emit"), node("r", "Relay"), SINK], "in.s > r.stream", "r.stream > go.s",
                  "m.out > go.t", **sides)  # fmt: skip
    stored = {"w0": bottom}
    for level in range(1, levels):
        inner = [GATE, group("g", f"w{level - 1}"), SINK]
        stored[f"w{level}"] = flow(inner, "in.s > g.s", "g.s > go.s", "g.t > go.t", **sides)
    return stored


def test_a_stream_out_of_60_levels_is_led_to_its_producer_in_no_time() -> None:
    document = flow([node("m", "Emit"), group("g", "w59"), node("r", "Relay"), node("q", "Relay")], "m.out > g.s",
                    "g.s > r.stream", "g.t > q.stream")  # fmt: skip
    began = time.process_time()
    plan = compiled(document, stream_nest(60)).plan
    assert time.process_time() - began < 20
    deep = "/".join(["g"] * 60)
    assert set(plan.kept_streams) == {"m", f"{deep}/r", f"{deep}/m"}
    assert planned(plan, "r").beside == ("g",)


def test_pass_through_groups_lead_back_to_what_is_in_front_of_them() -> None:
    sides = {"inputs": {"s": STREAM}, "outputs": {"s": STREAM}}
    stored = {"p": flow([GATE, SINK], "in.s > go.s", **sides)}
    stored["pp"] = flow(
        [GATE, group("a", "p"), group("b", "p"), SINK], "in.s > a.s", "a.s > b.s", "b.s > go.s", **sides
    )
    document = flow([node("m", "Emit"), group("g", "pp"), group("h", "p"), node("r", "Relay"), node("e", "Echo")],
                    "m.out > g.s", "g.s > h.s", "h.s > r.stream", "h.s > e.a")  # fmt: skip
    plan = compiled(document, stored).plan
    assert planned(plan, "r").beside == ("m",)
    assert planned(plan, "e").inputs["a"].feeds[0].node == "m"  # type: ignore[index]


def test_a_pass_through_group_of_a_value_gives_one_chunk() -> None:
    sides = {"inputs": {"s": STREAM}, "outputs": {"s": STREAM}}
    stored = {"p": flow([GATE, SINK], "in.s > go.s", **sides)}
    document = flow([node("e", "Echo"), group("g", "p"), node("r", "Relay")], "e.text > g.s", "g.s > r.stream")
    plan = compiled(document, stored).plan
    feed = planned(plan, "r").inputs["stream"].feeds[0]  # type: ignore[index]
    assert (feed.node, feed.convert) == ("g", "one_chunk")
    inner = bound(below(plan, "g"), {})
    assert interface_values(inner, {"in": {"s": "x"}}) == {"s": "x"}  # type: ignore[dict-item]


# --- secrets --------------------------------------------------------------------------------------------------------

SECRET = "sk-very-secret"


def assert_sealed(result: Compiled) -> None:
    assert [secret.value for secret in result.secrets] == [SECRET]
    packed = repr(result.plan.pack()) + repr(result.blobs)
    assert SECRET not in packed
    assert f"'$secret': 'id-{len(SECRET)}'" in packed


KEY = flow([GATE, node("k", "Key"), SINK], "in.key > k.api_key", "k.settings > go.settings", inputs={"key": TEXT},
           outputs={"settings": OBJECT})  # fmt: skip


@pytest.mark.parametrize("bypassed", [False, True])
def test_a_value_for_a_secret_slot_inside_is_sealed_outside(bypassed: bool) -> None:
    assert_sealed(compiled(flow([group("g", "key", {"key": SECRET}, bypassed=bypassed)]), {"key": KEY}))


def test_a_default_for_a_secret_slot_two_levels_down_is_sealed() -> None:
    slot = {**TEXT, "config": {"default": SECRET}}
    stored = {"key": KEY, "around": flow([GATE, group("i", "key")], "in.key > i.key", inputs={"key": slot})}
    assert_sealed(compiled(flow([group("g", "around")]), stored))
    assert_sealed(compiled(flow([each("g", "around")]), stored))


def test_a_secret_that_goes_from_group_to_group_is_asked_for_at_its_source() -> None:
    call = flow([GATE, node("c", "Call")], "in.settings > c.settings", inputs={"settings": OBJECT})
    source = flow([node("l", "List", {"items": []}), SINK], "l.o > go.settings",
                  outputs={"settings": OBJECT, "again": OBJECT})  # fmt: skip
    document = flow([group("s", "source"), group("c", "call")], "s.settings > c.settings")
    plan = compiled(document, {"source": source, "call": call}).plan
    assert planned(below(plan, "s"), "l").outputs["o"].seal == ("api_key",)  # type: ignore[index]


def test_an_output_that_leaves_by_two_names_is_as_secret_as_both_are() -> None:
    sides = {"a": OBJECT, "b": TEXT}
    source = flow([node("s", "Source"), SINK], "s.value > go.a", "s.value > go.b", outputs=sides)
    document = flow([group("g", "source"), node("c", "Call"), node("k", "Key")], "g.a > c.settings", "g.b > k.api_key")
    plan = compiled(document, {"source": source}).plan
    seal = planned(below(plan, "g"), "s").outputs["value"].seal  # type: ignore[index]
    assert set(seal) == {"api_key", ""}


def test_a_secret_that_passes_a_control_node_is_sealed_in_front_of_it() -> None:
    document = flow([node("m", "core:Merge", {"values": [SECRET]}), node("k", "Key")], "m.value > k.api_key")
    assert_sealed(compiled(document, {}))


KEYS_AND_SETTINGS = flow(
    [GATE, node("k", "Key"), node("c", "Call")], "in.key > k.api_key", "in.settings > c.settings",
    inputs={"key": TEXT, "settings": OBJECT},
)  # fmt: skip


def repeat(type: str, inputs: Json, **config: Any) -> Json:
    return node("again", f"core:{type}", inputs, configValues={"referencedWorkflowId": "keys", **config})


@pytest.mark.parametrize(
    "again",
    [
        repeat("ForEach", {"items": [SECRET, SECRET]}, itemKey="key"),
        repeat("ForEach", {"items": [{"api_key": SECRET, "base_url": "x"}]}, itemKey="settings"),
        repeat("Loop", {"state": {"key": SECRET, "other": 1, "settings": {"api_key": SECRET}}}),
    ],
)
def test_a_secret_among_typed_items_or_in_a_typed_state_is_sealed(again: Json) -> None:
    result = compiled(flow([again]), {"keys": KEYS_AND_SETTINGS})
    assert [secret.value for secret in result.secrets] == [SECRET]
    assert SECRET not in json.dumps(result.plan.pack())
    kept = b"".join(result.blobs.values())
    assert SECRET.encode() not in kept
    assert b'{"$secret":"id-14"}' in kept
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("again", "slot"), [(repeat("ForEach", {}, itemKey="key"), "items"), (repeat("Loop", {}), "state")]
)
def test_parts_that_another_node_gives_to_a_secret_slot_are_warned_of(again: Json, slot: str) -> None:
    found = problems(flow([node("s", "Source"), again], f"s.value > again.{slot}"), {"keys": KEYS_AND_SETTINGS})
    assert [(problem.code, problem.level, problem.slot) for problem in found] == [("readable_secret", "warning", slot)]


def test_items_that_feed_no_secret_slot_may_come_from_a_node() -> None:
    document = flow([node("s", "Source"), repeat("ForEach", {}, itemKey="note")], "s.value > again.items")
    keys = flow([GATE, node("k", "Key")], "in.note > k.note", inputs={"note": TEXT})
    assert problems(document, {"keys": keys}) == ()


def test_workflows_that_all_run_each_other_have_few_problems_and_all_are_errors() -> None:
    names = [f"w{number}" for number in range(50)]
    nodes = [group(f"g{number}", name) for number, name in enumerate(names)]
    found = problems(flow(nodes), {name: flow(nodes) for name in names})
    assert {problem.code for problem in found} == {"group_recursion"}
    assert len(found) <= 2 * MAX_INNER_PROBLEMS


def test_an_error_behind_many_warnings_of_a_group_is_told() -> None:
    odd = [node(f"odd{number}", "Echo", {"nothing": 1}) for number in range(MAX_INNER_PROBLEMS + 20)]
    found = problems(flow([group("g", "inner")]), {"inner": flow([*odd, node("last", "Unknown")])})
    assert [problem.node for problem in found if problem.level == "error"] == ["g/last"]
    assert len(found) == MAX_INNER_PROBLEMS
