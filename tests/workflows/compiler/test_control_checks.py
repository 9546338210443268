"""What is told about control nodes at submit: each problem with its node, its slot and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflows.engine.control_toys import compiled, fork, problems, step
from tests.workflows.toy_graphs import node

LONG = "x" * 201


def told(nodes: list[dict[str, Any]], *edges: str) -> list[tuple[Any, ...]]:
    return [(problem.code, problem.level, problem.node, problem.slot) for problem in problems(nodes, *edges)]


def config(kind: str, inputs: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    return node("w", f"core:{kind}", inputs, configValues=values)


def field(**more: Any) -> dict[str, Any]:
    return {"key": "a", "dataFlowType": "STRING", **more}


@pytest.mark.parametrize(
    ("item", "slot"),
    [
        (config("Switch", {"value": 1}, cases="a,b"), "cases"),
        (config("Switch", {"value": 1}, cases={"a": 1}), "cases"),
        (config("Switch", {"value": 1}, cases=list(range(101))), "cases"),
        (config("Switch", {"value": 1}, cases=[{"operator": "like", "value": 1}]), "cases"),
        (config("Switch", {"value": 1}, cases=[{"operator": ["equals"]}]), "cases"),
        (config("Approval", form={"a": 1}), "form"),
        (config("Approval", form=["a"]), "form"),
        (config("Approval", form=[{"dataFlowType": "STRING"}]), "form"),
        (config("Approval", form=[field(key="")]), "form"),
        (config("Approval", form=[field(key=LONG)]), "form"),
        (config("Approval", form=[field(key=5)]), "form"),
        (config("Approval", form=[field(dataFlowType="TEXT")]), "form"),
        (config("Approval", form=[field(dataFlowType=["STRING"])]), "form"),
        (config("Approval", form=[field(), field()]), "form"),
        (config("Approval", form=[field(required="yes")]), "form"),
        (config("Approval", form=[field(config=[])]), "form"),
        (config("Approval", form=[field(config={"min": "low"})]), "form"),
        (config("Approval", form=[field(config={"suggestions": 5})]), "form"),
        (config("Approval", form=[field(matchCategories="Code")]), "form"),
        (config("Approval", form=[field(key=f"k{number}") for number in range(101)]), "form"),
        (config("Approval", timeoutSeconds=-1), "timeoutSeconds"),
        (config("Approval", timeoutSeconds=1e9), "timeoutSeconds"),
        (config("Approval", timeoutSeconds="soon"), "timeoutSeconds"),
        (config("WaitForEvent", name=" "), "name"),
        (config("WaitForEvent", name=5), "name"),
        (config("WaitForEvent", name=LONG), "name"),
        (config("WaitForEvent", name="e", timeoutSeconds=-1), "timeoutSeconds"),
        (config("WaitForEvent", name="e", filter=[1]), "filter"),
        (config("WaitForEvent", name="e", filter={"a": {"operator": "like"}}), "filter"),
    ],
)  # fmt: skip
def test_setting_that_cannot_be_used(item: dict[str, Any], slot: str) -> None:
    assert told([item]) == [("invalid_config", "error", "w", slot)]


@pytest.mark.parametrize(
    ("item", "slot"),
    [
        (config("Delay", {"seconds": "soon"}), "seconds"),
        (config("Delay", {"seconds": -1}), "seconds"),
        (config("Delay", {"seconds": None}), "seconds"),
        (config("Delay", {"seconds": 1e12}), "seconds"),
        (config("Delay", {"seconds": True}), "seconds"),
        (config("WaitUntil", {"time": "tomorrow"}), "time"),
        (config("WaitUntil", {"time": ""}), "time"),
        (config("WaitForEvent", {"filter": "x"}, name="e"), "filter"),
        (config("WaitForEvent", {"filter": {"a": {"operator": 1}}}, name="e"), "filter"),
        (config("Merge", {"values": []}), "values"),
    ],
)
def test_typed_in_value_that_cannot_be_used(item: dict[str, Any], slot: str) -> None:
    ((code, level, where, place),) = told([item])
    assert (level, where, place) == ("error", "w", slot)
    assert code in ("invalid_input", "invalid_config")


@pytest.mark.parametrize(
    ("item", "slot"),
    [(config("WaitForEvent"), "name"), (config("WaitUntil"), "time"), (config("Merge"), "values"),
     (config("Switch"), "value"), (config("Branch"), "condition")],
)  # fmt: skip
def test_what_is_missing(item: dict[str, Any], slot: str) -> None:
    assert told([item]) == [("missing_input", "error", "w", slot)]


def test_messages_say_what_exists() -> None:
    (problem,) = problems([config("Switch", {"value": 1}, cases=[1, {"operator": "like"}])])
    assert problem.message.startswith("node 'w': 'cases' case 1 has the operator 'like'; operators are equals, ")
    (problem,) = problems([config("Approval", form=[field(dataFlowType="TEXT")])])
    assert problem.message == (
        "node 'w': 'form' field 0 ('a') needs a 'dataFlowType'; types are STRING, INTEGER, FLOAT, BOOLEAN, OBJECT, "
        "ARRAY, BINARY, WILDCARD, CONVERTIBLE_ANY"
    )


def test_good_settings_pass() -> None:
    form = [field(required=True, config={"min": 1, "suggestions": ["a"]}, matchCategories=["ComboOption"])]
    assert told(
        [
            node("a", "core:Approval", configValues={"form": form, "timeoutSeconds": 5}),
            node("s", "core:Switch", {"value": 1}, configValues={"cases": [1, {"operator": "empty"}, {"a": 1}]}),
            node("e", "core:WaitForEvent", configValues={"name": "e", "filter": {"a": {"operator": "less"}}}),
            node("d", "core:Delay", {"seconds": "0.5"}),
            node("u", "core:WaitUntil", {"time": "2030-01-31"}),
        ]
    ) == []  # fmt: skip


def test_a_bypassed_node_may_have_any_settings_but_those_of_the_wrong_type() -> None:
    assert told([node("d", "core:Delay", {"seconds": "soon"}, bypassed=True)]) == []


def test_values_that_come_by_edges_are_not_judged() -> None:
    assert told([step("a"), node("d", "core:Delay", {"seconds": "soon"})], "a.out > d.seconds") == []


@pytest.mark.parametrize("kind", ["core:GroupInput", "core:GroupOutput"])
def test_error_output_of_what_does_not_fail(kind: str) -> None:
    assert told([node("g", kind), step("h")], "g.$error > h.a") == [("no_error_output", "error", "g", "$error")]


def test_edges_from_ways_that_do_not_exist() -> None:
    switch = node("s", "core:Switch", {"value": 1}, configValues={"cases": [1]})
    (problem,) = problems([switch, step("x")], "s.case_1 > x.a")
    assert (problem.code, problem.node, problem.slot, problem.edge) == ("unknown_way", "s", "case_1", "e1")
    assert "its ways are 'case_0', 'default'" in problem.message
    assert ("unknown_way", "error", "b", "yes") in told([fork("b", 1), step("x")], "b.yes > x.a")


def test_a_node_on_two_ways_of_one_branch_never_runs() -> None:
    ways = ["b.true > x.a", "b.false > x.b"]
    assert told([fork("b", 1), step("x")], *ways) == [("never_runs", "warning", "x", None)]
    assert told([fork("b", 1, bypassed=True), step("x")], *ways) == []
    both = ["b.true > m.values", "b.false > m.values"]
    assert told([fork("b", 1), node("m", "core:Merge")], *both) == []
    approval = node("w", "core:Approval")
    assert told([approval, step("x")], "w.approved > x.a", "w.answer > x.b") == []
    assert told([approval, step("x")], "w.approved > x.a", "w.timeout > x.b") == [("never_runs", "warning", "x", None)]


def test_the_plan_knows_what_hangs_on_what() -> None:
    items = [fork("b", 1), step("x"), node("m", "core:Merge")]
    plan = compiled(items, "b.true > x.a", "x.out > m.values", "x.$error > m.values")
    nodes = {str(item.id): item for item in plan.nodes}
    assert dict(nodes["x"].gates) == {"b": ("true",)}
    assert nodes["x"].catches
    assert nodes["m"].joins
    assert dict(nodes["m"].gates) == {"x": ("out", "$error")}


def test_json_typed_into_a_field_for_text_is_the_object_or_list_that_it_says() -> None:
    nodes = [
        config("WaitForEvent", name="e", filter='{"a": 1}'),
        node("s", "core:Switch", {"value": 1}, configValues={"cases": '["x", "y"]'}),
        node("f", "core:Approval", configValues={"form": " "}),
    ]
    plan = compiled(nodes)
    found = {item.id: item.config for item in plan.nodes}
    assert (found["w"]["filter"], found["s"]["cases"]) == ({"a": 1}, ["x", "y"])
    assert not found["f"].get("form")
    assert list(plan.by_id["s"].outputs) == ["case_0", "case_1", "default"]
    assert told([config("WaitForEvent", name="e", filter="[1]")]) == [("invalid_config", "error", "w", "filter")]
