"""Documents that cannot run, and what is said about each: codes and places. One document, every problem at once."""

from __future__ import annotations

from hashlib import sha512
from typing import Any

import pytest

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.compiler.graph_order import cycles, kahn_order
from innkeeper.workflows.document.model import parse_document, with_inputs
from tests.workflows.toy_graphs import TEXT, ToyCatalogue, compiled, document, edges, node, places, problems, toy

Nodes = list[dict[str, Any]]
GraphLocation = tuple[str | None, ...]

SOURCE = node("s", "Source", {"value": 1})
SETTINGS = {"path": "p"}


def setting(**config: Any) -> Nodes:
    return [node("n", "Setting", configValues={"path": "p", **config})]


BAD: list[tuple[str, Nodes, list[str], list[GraphLocation]]] = [
    ("unknown type", [node("n", "Sorce")], [], [("unknown_node_type", "n", None, None)]),
    ("a group without groups", [node("n", "core:NodeGroup")], [], [("unknown_node_type", "n", None, None)]),
    ("two nodes of one id", [SOURCE, SOURCE], [], [("duplicate_node_id", "s", None, None)]),
    ("slash in an id", [node("a/b", "Source")], [], [("invalid_node_id", "a/b", None, None)]),
    ("empty id", [node("", "Source")], [], [("invalid_node_id", "", None, None)]),
    ("control character in an id", [node("a\0", "Source")], [], [("invalid_node_id", "a\0", None, None)]),
    ("reserved id", [node("__WORKFLOW_INTERFACE_OUTPUTS__", "Source")], [],
     [("invalid_node_id", "__WORKFLOW_INTERFACE_OUTPUTS__", None, None)]),
    ("very long id", [node("x" * 801, "Source")], [], [("path_too_long", "x" * 100, None, None)]),
    ("an id of many bytes", [node("雪" * 267, "Source")], [], [("path_too_long", "雪" * 100, None, None)]),
    ("self-loop", [SOURCE], ["s.value > s.value"], [("cycle", "s", None, "e1")]),
    ("cycle of two with a head and a tail", [node(name, "Source") for name in "habt"],
     ["h.value > a.value", "a.value > b.value", "b.value > a.value", "b.value > t.value"],
     [("cycle", "a", None, None), ("cycle", "b", None, None)]),
    ("types do not fit", [node("l", "List"), node("e", "Echo")], ["l.items > e.a"],
     [("type_mismatch", "e", "a", "e1")]),
    ("text is no number", [node("r", "Echo"), node("l", "List")], ["r.text > l.x"],
     [("type_mismatch", "l", "x", "e1")]),
    ("a stream of objects cannot be collected to one", [node("s", "Emit"), node("c", "Call")],
     ["s.raw > c.settings"], [("stream_mismatch", "c", "settings", "e1")]),
    ("a stream of text is no object either way", [node("s", "Emit"), node("c", "Call")], ["s.out > c.settings"],
     [("type_mismatch", "c", "settings", "e1")]),
    ("nothing for a required input", [node("n", "Need")], [], [("missing_input", "n", "a", None)]),
    ("only an edge from nowhere for it", [node("n", "Need")], ["ghost.x > n.a"],
     [("missing_input", "n", "a", None), ("dangling_edge", "n", None, "e1")]),
    ("nothing for a required list", [node("n", "Join")], [], [("missing_input", "n", "parts", None)]),
    ("required by a setting", setting(mode="loud"), [], [("missing_input", "n", "x", None)]),
    ("required setting", [node("n", "Setting")], [], [("missing_input", "n", "path", None)]),
    ("setting of another type", setting(path=5), [], [("invalid_config", "n", "path", None)]),
    ("setting below its minimum", setting(level=-1), [], [("invalid_config", "n", "level", None)]),
    ("setting above its maximum", setting(level=10), [], [("invalid_config", "n", "level", None)]),
    ("text for a whole number", [node("n", "Echo", {"n": "abc"})], [], [("invalid_input", "n", "n", None)]),
    ("fraction in a slot for whole numbers", [node("n", "Echo", {"n": 5.5})], [], [("invalid_input", "n", "n", None)]),
    ("fraction as text", [node("n", "Echo", {"n": "5.5"})], [], [("invalid_input", "n", "n", None)]),
    ("a number for true or false", [node("n", "Switched", {"on": 2})], [], [("invalid_input", "n", "on", None)]),
    ("text for true or false", [node("n", "Switched", {"on": "False"})], [], [("invalid_input", "n", "on", None)]),
    ("one of several numbers", [node("n", "Sum", {"parts": [1, "x"]})], [], [("invalid_input", "n", "parts", None)]),
    ("fraction for a whole number", setting(level=1.5), [], [("invalid_config", "n", "level", None)]),
    ("truth for a number", setting(level=True), [], [("invalid_config", "n", "level", None)]),
    ("setting outside its options", setting(mode="quite"), [], [("invalid_config", "n", "mode", None)]),
    ("unknown mode", [node("n", "Modal", configValues={"op": "div"})], [], [("unknown_mode", "n", "op", None)]),
    ("mode that is no text", [node("n", "Modal", configValues={"op": 3})], [], [("unknown_mode", "n", "op", None)]),
    ("missing in a mode", [node("n", "Modal", configValues={"op": "add"})], [], [("missing_input", "n", "left", None)]),
    ("bypass that may not be", [node("n", "Fixed", bypassed=True)], [], [("not_bypassable", "n", None, None)]),
    ("too many attempts", [node("n", "Source", retry={"maximumAttempts": 101})], [],
     [("invalid_retry", "n", None, None)]),
    ("half an attempt", [node("n", "Source", retry={"maximumAttempts": 1.5})], [],
     [("invalid_retry", "n", None, None)]),
    ("several bad retry values", [node("n", "Source", retry={"backoff": 0, "nonRetryable": "all", "tries": 2})], [],
     [("invalid_retry", "n", None, None)] * 3),
    ("no time at all", [node("n", "Source", timeoutSeconds=0)], [], [("invalid_timeout", "n", None, None)]),
    ("too much time", [node("n", "Source", timeoutSeconds=86_401)], [], [("invalid_timeout", "n", None, None)]),
    ("no time for all", [node("n", "Source", totalTimeoutSeconds=0)], [], [("invalid_timeout", "n", None, None)]),
    ("queue without a name", [node("n", "Source", queue=" ")], [], [("invalid_queue", "n", None, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "ends", "expected"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_document(nodes: Nodes, ends: list[str], expected: list[GraphLocation]) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        compiled(nodes, *ends)
    assert places(caught.value.problems) == expected


ODD: list[tuple[str, Nodes, list[str], list[GraphLocation]]] = [
    ("edges that end nowhere", [SOURCE, node("e", "Echo")], ["s.value > ghost.x", "ghost.x > e.a", "gone.x > ghost.y"],
     [("dangling_edge", "s", None, "e1"), ("dangling_edge", "e", None, "e2"), ("dangling_edge", None, None, "e3")]),
    ("unknown output", [SOURCE, node("e", "Echo")], ["s.lost > e.a"], [("unknown_slot", "s", "lost", "e1")]),
    ("unknown input", [SOURCE, node("e", "Echo")], ["s.value > e.lost"], [("unknown_slot", "e", "lost", "e1")]),
    ("odd sub-handles", [SOURCE, node("j", "Join", {"parts": ["x"]})],
     ["s.value > j.parts__01", "s.value > j.parts__0__1", "s.value > j.parts__x"],
     [("unknown_slot", "j", "parts__01", "e1"), ("unknown_slot", "j", "parts__0__1", "e2"),
      ("unknown_slot", "j", "parts__x", "e3")]),
    ("value for no slot", [node("e", "Echo", {"lost": 1})], [], [("unknown_slot", "e", "lost", None)]),
    ("value for the slot of another mode", [node("n", "Modal", {"left": 1, "base": "x"})], [], []),
    ("unknown order ids", [SOURCE, node("j", "Join", inputConnectionOrders={"parts": ["e9", "e1"], "sep": ["e1"]})],
     ["s.value > j.parts__0"], [("unknown_order_id", "j", "parts", "e9"), ("unknown_order_id", "j", "sep", "e1")]),
    ("edges without handles", [SOURCE, node("e", "Echo")], ["s. > e.a"], [("unknown_slot", "s", "", "e1")]),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "ends", "expected"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_odd_document_compiles_with_warnings(nodes: Nodes, ends: list[str], expected: list[GraphLocation]) -> None:
    found = compiled(nodes, *ends).warnings
    assert places(found) == expected
    assert {problem.level for problem in found} <= {"warning"}


def test_every_problem_is_reported_at_once_errors_and_warnings() -> None:
    found = problems(
        [node("a", "Nope"), node("n", "Need", {"x": 1}), node("c", "Source"), node("p", "Setting"), node("l", "List")],
        "c.value > c.value",
        "l.items > n.b",
        "ghost.x > n.a",
        "a.x > n.b",
        interfaceInputs={"k": {"dataFlowType": "TEXT", "required": True}},
    )
    assert [(problem.code, problem.level) for problem in found] == [
        ("unknown_node_type", "error"),
        ("cycle", "error"),
        ("unknown_slot_type", "error"),
        ("missing_input", "error"),
        ("unknown_slot", "warning"),
        ("missing_input", "error"),
        ("type_mismatch", "error"),
        ("missing_input", "error"),
        ("dangling_edge", "warning"),
    ]


@pytest.mark.parametrize(
    ("nodes", "ends", "words"),
    [
        ([node("n", "Sorce")], [], "did you mean 'toy:Source'"),
        ([node("n", "Source:Source")], [], "no loaded plugin defines"),
        ([node("n", "Modal", configValues={"op": "div"})], [], "modes are 'add'"),
        ([node("l", "List"), node("e", "Echo")], ["l.items > e.a"], "ARRAY does not fit STRING"),
        ([node("e", "Echo", {"lost": 1})], [], "inputs are 'a', 'b', 'n'"),
        (setting(level=10), [], "must be from 0 to 9"),
        (setting(mode="x"), [], "must be one of 'quiet', 'loud'"),
    ],
)
def test_messages_say_what_exists(nodes: Nodes, ends: list[str], words: str) -> None:
    assert words in problems(nodes, *ends)[0].message


def test_messages_never_hold_values() -> None:
    secret = "sk-canary"
    bad = [
        node("n", "Setting", {"x": secret}, configValues={"mode": secret, "level": secret}),
        node("k", "Key", {"api_key": secret, "lost": secret}),
        node("r", "Source", retry={"backoff": secret}),
    ]
    assert len(problems(bad)) > 4
    assert not [problem for problem in problems(bad) if secret in problem.message]


def test_required_interface_input_without_value_names_its_key() -> None:
    found = problems([], interfaceInputs={"who": {"dataFlowType": "STRING", "required": True}})
    assert places(found) == [("missing_input", None, "who", None)]


def test_interface_output_from_nowhere_is_left_out_with_a_warning() -> None:
    result = compiled(
        [SOURCE],
        outputInterfaceMappings={
            "a": {"sourceNodeId": "s", "sourceSlotKey": "value"},
            "b": {"sourceNodeId": "s", "sourceSlotKey": "lost"},
            "c": {"sourceNodeId": "ghost", "sourceSlotKey": "value"},
        },
    )
    assert list(result.plan.interface_outputs) == ["a"]
    assert places(result.warnings) == [
        ("unknown_interface_source", "s", "b", None),
        ("unknown_interface_source", "ghost", "c", None),
    ]


def test_group_nodes_check_types_through_the_interface() -> None:
    found = problems(
        [node("in", "core:GroupInput"), node("e", "Echo"), node("l", "List"), node("out", "core:GroupOutput")],
        "in.numbers > e.a",
        "in.text > e.b",
        "in.lost > e.n",
        "in.output_0 > l.items",
        "l.items > out.line",
        "l.items > out.input_0",
        interfaceInputs={"numbers": {"dataFlowType": "ARRAY"}, "text": {"dataFlowType": "STRING"}},
        interfaceOutputs={"line": {"dataFlowType": "STRING"}},
    )
    assert places(found) == [
        ("type_mismatch", "e", "a", "e1"),
        ("unknown_slot", "in", "lost", "e3"),
        ("type_mismatch", "out", "line", "e5"),
    ]


def test_nothing_is_required_of_a_bypassed_node() -> None:
    nodes = [node("n", "Need", bypassed=True), node("p", "Setting", bypassed=True)]
    assert problems(nodes) == ()


def test_a_mismatch_behind_a_bypassed_node_is_only_a_warning() -> None:
    result = compiled([node("l", "List", bypassed=True), node("e", "Echo")], "l.items > e.a")
    assert [(problem.code, problem.level) for problem in result.warnings] == [("type_mismatch", "warning")]


def test_a_plan_over_the_limit_is_refused() -> None:
    # Ids that hardly compress.
    nodes = [node("".join(sha512(f"{i}.{j}".encode()).hexdigest() for j in range(6)), "Source") for i in range(3000)]
    with pytest.raises(InvalidWorkflow) as caught:
        compiled(nodes)
    assert [problem.code for problem in caught.value.problems] == ["plan_too_large"]
    assert "the limit is 1000000" in caught.value.problems[0].message


def test_a_default_that_is_no_json_is_reported_with_its_place() -> None:
    odd = toy("Odd", {"x": Input("OBJECT", config={"default": {"y": object()}})}, {"text": TEXT})
    assert places(problems([node("n", "Odd")], types=(odd,))) == [("invalid_value", "n", "x", None)]


def test_interface_boxes_of_the_editor_are_dropped_with_their_edges() -> None:
    result = compiled([SOURCE, node("f", "Frame"), node("g", "core:frame")], "s.value > f.x", "g.y > s.value")
    assert [planned.id for planned in result.plan.nodes] == ["s"]
    assert result.warnings == ()


def test_large_rings_name_some_members_only() -> None:
    ids = [f"n{i}" for i in range(500)]
    ring = [f"{a}.value > {b}.value" for a, b in zip(ids, [*ids[1:], ids[0]], strict=True)]
    found = problems([node(name, "Source") for name in ids], *ring)
    assert len(found) == 100
    assert "and 490 more" in found[0].message


def test_cycles_are_knots_and_nothing_between_or_behind_them() -> None:
    pairs = [("a", "b"), ("b", "a"), ("b", "m"), ("m", "x"), ("x", "y"), ("y", "x"), ("y", "z"), ("s", "s"), ("r", "a")]
    assert cycles(list("rabmxyzs"), pairs) == [["a", "b"], ["x", "y"], ["s"]]
    assert kahn_order(list("rabmxyzs"), pairs) == ["r"]


def test_compiling_does_not_change_the_document() -> None:
    raw = {"nodes": [node("j", "Join", {"parts": ["a"]})], "edges": edges()}
    read = parse_document(raw)
    first = compile_document(read, ToyCatalogue(), secret_id=str)
    first.plan.nodes[0].inputs["parts"].value.append("changed")
    assert compile_document(read, ToyCatalogue(), secret_id=str).plan.nodes[0].inputs["parts"].value == ["a"]
    assert read == document([node("j", "Join", {"parts": ["a"]})])


@pytest.mark.parametrize(
    ("kind", "inputs", "ends"),
    [
        ("Echo", {"n": 5}, []), ("Echo", {"n": 5.0}, []), ("Echo", {"n": "5"}, []), ("Echo", {"n": None}, []),
        ("Echo", {"n": ""}, []), ("Echo", {"n": False}, []), ("Echo", {"a": 5}, []),
        ("List", {"x": "1.5", "items": "[1]"}, []),
        ("Switched", {"on": False}, []), ("Sum", {"parts": 1}, []), ("Sum", {"parts": [1, "2.5"]}, []),
        ("Echo", {"n": "abc"}, ["m.n > n.n"]),
    ],
)  # fmt: skip
def test_typed_in_values_whose_meaning_is_plain_are_taken(kind: str, inputs: dict[str, Any], ends: list[str]) -> None:
    assert problems([node("m", "Number"), node("n", kind, inputs)], *ends) == ()


@pytest.mark.parametrize(
    ("type", "value", "complaint"),
    [("INTEGER", "abc", "must be a whole number, found text"), ("INTEGER", 5.5, "must be a whole number"),
     ("BOOLEAN", "False", "must be true or false, found text"), ("FLOAT", [], "must be a number, found a list"),
     ("INTEGER", "7", ""), ("STRING", 7, ""), ("BOOLEAN", True, "")],
)  # fmt: skip
def test_inputs_of_a_submission_have_their_type(type: str, value: Any, complaint: str) -> None:
    slots = {"i": {"key": "i", "dataFlowType": type}}
    given, _ = with_inputs(document([node("in", "core:GroupInput")], interfaceInputs=slots), {"i": value})
    found: tuple[Problem, ...] = ()
    try:
        compile_document(given, ToyCatalogue(), secret_id=str)
    except InvalidWorkflow as invalid:
        found = invalid.problems
    assert [(problem.code, problem.slot) for problem in found] == ([("invalid_input", "i")] if complaint else [])
    assert all(complaint in problem.message for problem in found)


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        (node("n", "Setting", {"level": 3}, configValues=SETTINGS), "it is a setting: put it into 'configValues'"),
        (setting(x="text"), "it is an input: put it into 'inputValues'"),
    ],
)
def test_a_value_on_the_wrong_side_of_a_node_is_told_its_place(typed: Any, place: str) -> None:
    (warning,) = problems(typed if isinstance(typed, list) else [typed])
    assert place in warning.message
