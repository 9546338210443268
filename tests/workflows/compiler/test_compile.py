from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import orjson
import pytest

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.compile import Compiled, SecretValue, compile_document
from innkeeper.workflows.document.model import parse_document
from innkeeper.workflows.engine.node_values import bypass_outputs as given_by
from innkeeper.workflows.plan import (
    BypassSource,
    Feed,
    InterfaceOutput,
    NodeId,
    PlannedInput,
    PlannedNode,
    RunPlan,
    SlotKey,
)
from tests.workflows.toy_graphs import ToyCatalogue, compiled, node, toy

SOURCE = node("s", "Source", {"value": 1})


def planned(result: Compiled, node_id: str) -> PlannedNode:
    return result.plan.by_id[NodeId(node_id)]


def slot(result: Compiled, node_id: str, key: str) -> PlannedInput | None:
    return planned(result, node_id).inputs.get(SlotKey(key))


def feed(source: str, key: str, convert: str = "") -> Feed:
    return Feed(NodeId(source), SlotKey(key), convert)


def literal(value: Any, **more: Any) -> PlannedInput:
    return PlannedInput(value=value, has_value=True, **more)


# --- where a value comes from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", 0, False, [], {}, "text", {"deep": [{"x": 1}]}])
def test_a_typed_in_value_beats_the_default_whatever_it_is(value: Any) -> None:
    given = compiled([node("e", "Need", {"a": "x", "b": value})])
    assert slot(given, "e", "b") == literal(value, required=True)


def test_default_then_first_suggestion_then_zero_for_math_then_nothing() -> None:
    result = compiled([node("e", "Echo"), node("r", "Role"), node("m", "core:MathOperation")])
    assert planned(result, "e").inputs == {"n": literal(7)}
    assert slot(result, "r", "role") == literal("user", required=True)
    assert planned(result, "m").inputs == {"a": literal(0, required=True)}


def test_an_edge_keeps_the_typed_in_value_for_when_it_brings_nothing() -> None:
    result = compiled([SOURCE, node("e", "Echo", {"n": 3})], "s.value > e.n")
    assert slot(result, "e", "n") == PlannedInput((feed("s", "value"),), 3, True)


def test_the_last_edge_into_a_single_slot_wins_and_all_are_waited_for() -> None:
    result = compiled([SOURCE, node("t", "Source"), node("e", "Echo")], "t.value > e.a__3", "s.value > e.a")
    assert slot(result, "e", "a") == PlannedInput((feed("s", "value"),))
    assert planned(result, "e").after == ("t", "s")


def test_undeclared_slots_reach_the_node_by_edges_only() -> None:
    result = compiled([SOURCE, node("e", "Echo", {"typed": 2})], "s.value > e.wired", "s.lost > e.a")
    assert slot(result, "e", "typed") is None
    assert slot(result, "e", "wired") == PlannedInput((feed("s", "value"),))
    assert slot(result, "e", "a") == PlannedInput((feed("s", "lost"),))


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([], ["c", "b", "a", "d"]),
        (["e1"], ["a", "c", "b", "d"]),
        (["e4", "ghost", "e2", "e4"], ["d", "b", "c", "a"]),
    ],
)
def test_multi_order_is_listed_ids_then_sub_handles_then_the_document(orders: list[str], expected: list[str]) -> None:
    nodes = [node(name, "Source") for name in "abcd"]
    nodes.append(node("j", "Join", {"parts": ["unused"]}, inputConnectionOrders={"parts": orders}))
    ends = ("a.value > j.parts__10", "b.value > j.parts__2", "c.value > j.parts__0", "d.value > j.parts")
    result = compiled(nodes, *ends)
    assert slot(result, "j", "parts") == PlannedInput(
        tuple(feed(name, "value") for name in expected), multi=True, required=True
    )


@pytest.mark.parametrize(("value", "listed"), [("x", ["x"]), (None, [None]), (["x", 1], ["x", 1]), ([], [])])
def test_a_single_value_for_a_multi_slot_becomes_a_list(value: Any, listed: list[Any]) -> None:
    result = compiled([node("j", "Join", {"parts": value})])
    assert slot(result, "j", "parts") == literal(listed, multi=True, required=True)


@pytest.mark.parametrize(
    ("end", "convert"),
    [
        ("n.n > e.a", "text"),
        ("n.f > e.a", "text"),
        ("n.yes > e.a", "text"),
        ("n.n > l.x", "float"),
        ("n.n > e.n", ""),
        ("em.out > e.a", "collect_text"),
        ("em.out > s.value", "collect_text"),
        ("em.out > e.undeclared", "collect_text"),
        ("em.out > l.items", "collect_chunks"),
    ],
)
def test_conversions_stand_on_the_feed(end: str, convert: str) -> None:
    nodes = [node("n", "Number"), node("em", "Emit"), node("e", "Echo"), node("l", "List"), node("s", "Source")]
    result = compiled(nodes, end)
    target, key = end.split("> ")[1].split(".")
    assert slot(result, target, key).feeds[0].convert == convert  # type: ignore[union-attr]
    assert planned(result, "em").collect_chunks is (convert == "collect_chunks")


# --- order ----------------------------------------------------------------------------------------------------------


def test_nodes_stand_in_kahn_order_first_in_first_out() -> None:
    nodes = [node(name, "Source") for name in ("a1", "b1", "a2", "b2", "a3", "lone")]
    result = compiled(nodes, "a1.value > a2.value", "b1.value > b2.value", "a2.value > a3.value")
    assert [item.id for item in result.plan.nodes] == ["a1", "b1", "lone", "a2", "b2", "a3"]


def test_parallel_edges_count_one_by_one_in_the_order() -> None:
    nodes = [node("e", "Echo"), node("k", "Echo"), SOURCE]
    result = compiled(nodes, "s.value > e.a", "s.value > e.b", "s.value > k.a", "e.text > k.b")
    assert [item.id for item in result.plan.nodes] == ["s", "e", "k"]
    assert planned(result, "e").after == ("s",)


# --- one node -------------------------------------------------------------------------------------------------------


def test_title_mode_config_and_defaults_of_a_node() -> None:
    result = compiled(
        [
            node("m", "Modal", {"left": 1}, configValues={"op": "add"}, displayName="Sum"),
            node("b", "Modal"),
            node("p", "Setting", configValues={"path": "x", "own": [1]}),
        ]
    )
    m, b, p = result.plan.nodes
    assert (m.mode, m.title, list(m.outputs), m.inputs["left"].value) == ("add", "Sum", ["sum"], 1)  # type: ignore[index]
    assert (b.mode, b.title, list(b.outputs)) == (None, "A Modal", ["text"])
    assert p.config == {"mode": "quiet", "path": "x"}


@pytest.mark.parametrize(
    ("kind", "wishes", "expected"),
    [
        ("Source", {}, (4, 1.0, 2.0, 30.0, (), 300.0, 900.0)),
        ("Call", {}, (2, 1.0, 2.0, 30.0, (), 300.0, 900.0)),
        ("Patient", {}, (7, 2.0, 3.0, 60.0, ("refused",), 10.0, 30.0)),
        ("Patient", {"timeoutSeconds": 2}, (7, 2.0, 3.0, 60.0, ("refused",), 2.0, 6.0)),
        ("Patient", {"retry": {"maximumAttempts": 1}}, (1, 2.0, 3.0, 60.0, ("refused",), 10.0, 30.0)),
        (
            "Source",
            {"retry": {"initialSeconds": 0.5, "backoff": 1, "maximumSeconds": 9, "nonRetryable": ["x"]}},
            (4, 0.5, 1.0, 9.0, ("x",), 300.0, 900.0),
        ),
    ],
)
def test_the_documents_wishes_beat_the_definition_and_it_the_defaults(
    kind: str, wishes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    n = compiled([node("n", kind, **wishes)]).plan.nodes[0]
    retry = (n.max_attempts, n.initial_s, n.backoff, n.maximum_s, n.non_retryable)
    assert (*retry, n.timeout_s, n.total_timeout_s) == expected


def test_an_inline_node_with_wishes_becomes_an_activity() -> None:
    result = compiled([node("a", "Patient"), node("b", "Patient", retry={}), node("c", "Patient", queue="mine")])
    assert [(item.placement, item.queue) for item in result.plan.nodes] == [
        ("inline", "gpu"), ("activity", "gpu"), ("activity", "mine"),
    ]  # fmt: skip


# --- bypass ---------------------------------------------------------------------------------------------------------


def bypass(result: Compiled, node_id: str) -> dict[str, BypassSource]:
    found = planned(result, node_id).bypass
    assert found is not None
    return {str(key): source for key, source in found.items()}


def test_bypass_offers_connected_inputs_then_typed_in_ones_then_defaults() -> None:
    result = compiled([SOURCE, node("p", "Plain", {"s": "typed", "i": 4}, bypassed=True)], "s.value > p.t")
    found = bypass(result, "p")
    assert found["s"] == BypassSource((SlotKey("t"), SlotKey("s"), SlotKey("i")), empty="")
    assert found["f"] == BypassSource((SlotKey("i"),), empty=0)
    assert found["o"] == BypassSource(empty={})
    assert (found["b"].empty, found["bin"].empty) == (False, None)
    assert found["st"] == BypassSource(empty={"text": "", "chunks": 0})
    given = given_by(planned(result, "p").bypass or {}, {"t": "wired", "s": "typed", "i": 4})
    assert given == {"s": "wired", "f": 4, "o": {}, "b": False, "bin": None, "st": {"text": "", "chunks": 0}}


def test_a_bypassed_list_is_passed_whole() -> None:
    nodes = [SOURCE, node("j", "Join", bypassed=True)]
    result = compiled(nodes, "s.value > j.parts__0", "s.value > j.parts__1")
    assert bypass(result, "j")["text"].inputs == ("parts", "sep")
    assert slot(result, "j", "parts").multi  # type: ignore[union-attr]


def test_muted_nodes_give_nothing() -> None:
    assert set(bypass(compiled([node("m", "Muted", {"a": "x"}, bypassed=True)]), "m").values()) == {
        BypassSource(has_empty=False)
    }


def test_declared_pass_through_defaults_and_empties() -> None:
    result = compiled([node("p", "Passing", {"a": "A", "o": {}}, bypassed=True)])
    assert bypass(result, "p") == {
        "x": BypassSource((SlotKey("a"),), empty="", shared=True),
        "y": BypassSource((SlotKey("a"),), empty="", shared=True),
        "z": BypassSource(empty=42),
        "bad": BypassSource(has_empty=False),
        "rest": BypassSource(empty={}),
    }
    assert [(warning.code, warning.slot) for warning in result.warnings] == [("bypass_mismatch", "bad")]


# --- the workflow's interface ---------------------------------------------------------------------------------------


def test_interface_values_are_defaults_or_empties_of_optional_plain_types() -> None:
    slots = {
        "given": {"dataFlowType": "STRING", "required": True, "config": {"default": "x"}},
        "null": {"dataFlowType": "STRING", "config": {"default": None}},
        "text": {"dataFlowType": "STRING"},
        "list": {"dataFlowType": "ARRAY"},
        "any": {"dataFlowType": "WILDCARD"},
        "live": {"dataFlowType": "STRING", "isStream": True, "config": {"default": "y"}},
    }
    result = compiled([node("in", "core:GroupInput"), node("e", "Echo")], "in.live > e.a", interfaceInputs=slots)
    assert result.plan.interface_inputs == {"given": "x", "null": None, "text": "", "list": [], "live": "y"}
    assert slot(result, "e", "a") == PlannedInput((feed("in", "live"),))
    assert not planned(result, "in").outputs[SlotKey("live")].stream
    assert planned(result, "in").interface_values
    assert {"given", "any", "output_0"} <= set(planned(result, "in").outputs)


def test_interface_outputs_stream_where_both_sides_do_and_convert_where_not() -> None:
    live, text, chunks = ({"dataFlowType": kind, "isStream": stream, "displayName": "D"} for kind, stream in (
        ("STRING", True), ("STRING", False), ("ARRAY", False)))  # fmt: skip
    stream = {"sourceNodeId": "e", "sourceSlotKey": "out"}
    mappings = {"live": stream, "text": stream, "bare": stream, "batch": {"sourceNodeId": "e", "sourceSlotKey": "text"}}
    interface = {"live": live, "text": text, "batch": live}
    result = compiled([node("e", "Emit")], interfaceOutputs=interface, outputInterfaceMappings=mappings)
    e, out = NodeId("e"), SlotKey("out")
    assert result.plan.interface_outputs == {
        "live": InterfaceOutput(e, out, True, "D"),
        "text": InterfaceOutput(e, out, False, "D", "collect_text"),
        "bare": InterfaceOutput(e, out, False, None, "collect_text"),
        "batch": InterfaceOutput(e, SlotKey("text"), False, "D"),
    }
    assert not planned(result, "e").collect_chunks
    result = compiled([node("e", "Emit")], interfaceOutputs={"live": chunks}, outputInterfaceMappings={"live": stream})
    assert result.plan.interface_outputs["live"].convert == "collect_chunks"
    assert planned(result, "e").collect_chunks


def test_a_stream_into_group_output_only_orders() -> None:
    nodes = [node("e", "Emit"), node("out", "core:GroupOutput")]
    interface = {"live": {"dataFlowType": "STRING", "isStream": True}}
    result = compiled(nodes, "e.out > out.live", "e.text > out.input_0", interfaceOutputs=interface)
    assert planned(result, "out").inputs == {"input_0": PlannedInput((feed("e", "text"),))}
    assert planned(result, "out").after == ("e",)
    assert result.plan.interface_outputs["live"].stream


# --- large values and secrets ---------------------------------------------------------------------------------------


def blob(value: Any) -> dict[str, Any]:
    data = orjson.dumps(value)
    sha = hashlib.sha256(data).hexdigest()
    return {"$blob": sha, "size": len(data), "mime": "application/json", "preview": data.decode()[:200]}


LARGE = "ü" * 512


@pytest.mark.parametrize("value", [LARGE, [LARGE], {"$blob": "0" * 64}, {"deep": [{"$secret": "x"}]}])
def test_large_values_and_foreign_markers_are_kept_beside_the_plan(value: Any) -> None:
    result = compiled([node("s", "Source", {"value": value}), node("j", "Join", {"parts": ["a", value]})])
    assert slot(result, "s", "value") == literal(blob(value))
    assert slot(result, "j", "parts") == literal(["a", blob(value)], multi=True, required=True)
    assert result.blobs == {blob(value)["$blob"]: orjson.dumps(value)}


def test_values_up_to_one_kilobyte_stay_in_the_plan() -> None:
    result = compiled([node("s", "Source", {"value": "x" * 1022})])
    assert result.blobs == {}
    assert compiled([node("s", "Source", {"value": "x" * 1023})]).blobs


def test_a_large_interface_value_is_a_blob_too() -> None:
    interface = {"k": {"dataFlowType": "STRING", "config": {"default": LARGE}}}
    assert compiled([], interfaceInputs=interface).plan.interface_inputs == {"k": blob(LARGE)}


CANARY = "sk-canary"
REF = {"$secret": f"id-{CANARY}"}
STORED = {"$secret": "5e" * 32}
SEALED = (SecretValue(f"id-{CANARY}", CANARY, "default_user"),)


def assert_no_canary(result: Compiled) -> None:
    assert CANARY not in str(orjson.loads(orjson.dumps(_texts(result)))).replace(f"id-{CANARY}", "")
    assert CANARY not in repr(result.secrets).replace(f"id-{CANARY}", "")


def _texts(result: Compiled) -> list[str]:
    blobs = [data.decode() for data in result.blobs.values()]
    return [str(RunPlan.decode(result.encoded)), str(result.warnings), *blobs]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (CANARY, REF),
        (STORED, STORED),
        ({"$secret": "env:OPENAI_API_KEY"}, {"$secret": "env:OPENAI_API_KEY"}),
        (f"$secret:{'5e' * 32}", STORED),
        ("$secret:env:OPENAI_API_KEY", {"$secret": "env:OPENAI_API_KEY"}),
        ("", ""),
        (None, None),
        (12, {"$secret": "id-12"}),
        ({"x": 5}, {"$secret": 'id-{"x":5}'}),
    ],
)
def test_what_is_typed_into_a_secret_slot_becomes_a_reference(typed: Any, kept: Any) -> None:
    result = compiled([node("k", "Key", {"api_key": typed})])
    assert slot(result, "k", "api_key") == literal(kept)
    assert planned(result, "k").outputs[SlotKey("settings")].seal == ("api_key",)
    if typed == CANARY:
        assert result.secrets == SEALED
        assert_no_canary(result)


def test_inner_keys_are_sealed_before_a_large_object_is_stored() -> None:
    typed = {"api_key": CANARY, "base_url": "http://x", "pad": LARGE}
    result = compiled([node("c", "Call", {"settings": typed})])
    assert slot(result, "c", "settings") == literal(blob({**typed, "api_key": REF}))
    assert result.secrets == (replace(SEALED[0], hosts=("x:80",)),)
    assert_no_canary(result)


def test_inner_keys_of_a_small_object_stay_in_the_plan_as_references() -> None:
    result = compiled([node("c", "Call", {"settings": {"api_key": CANARY, "base_url": "x"}})])
    assert slot(result, "c", "settings") == literal({"api_key": REF, "base_url": "x"})
    assert result.blobs == {}


def test_a_text_where_inner_keys_are_secret_is_sealed_whole() -> None:
    result = compiled([node("c", "Call", {"settings": f'{{"api_key": "{CANARY}"}}'})])
    assert set(slot(result, "c", "settings").value) == {"$secret"}  # type: ignore[union-attr]


def test_secret_settings_become_references() -> None:
    result = compiled([node("v", "Vault", configValues={"token": CANARY})])
    assert planned(result, "v").config == {"token": REF}
    assert_no_canary(result)


@pytest.mark.parametrize(
    ("typed", "warning", "nearest"),
    [
        (node("n", "Key", {"apiKey": CANARY}), "unknown_slot", "did you mean 'api_key'"),
        (node("n", "Key", {"Api-Key ": {"deep": [CANARY]}}), "unknown_slot", "did you mean 'api_key'"),
        (node("n", "Echo", {"password": CANARY}), "unknown_slot", "inputs are 'a', 'b', 'n'"),
        (node("n", "Vault", configValues={"Token": CANARY}), "unknown_setting", "did you mean 'token'"),
        (node("n", "Setting", configValues={"path": "x", "key": CANARY}), "unknown_setting", "settings are 'mode'"),
        (node("n", "Echo", configValues={"key": CANARY}), "unknown_setting", "settings are none"),
        (node("n", "Call", {"settings": {"apiKey": CANARY}}), "unknown_key", "did you mean 'api_key'"),
        (node("n", "Call", {"settings": {"api_key": "k", "token": CANARY}}), "unknown_key", "did you mean 'api_key'"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"bypassed": True}])
def test_what_no_slot_and_no_setting_takes_is_kept_nowhere(
    typed: dict[str, Any], warning: str, nearest: str, more: dict[str, Any]
) -> None:
    result = compiled([{**typed, **more}])
    (told,) = result.warnings
    assert (told.code, told.level, told.node) == (warning, "warning", "n")
    assert nearest in told.message
    assert "left out" in told.message
    assert CANARY not in str(_texts(result))
    assert CANARY not in repr(result.secrets)


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        (node("n", "Key", configValues={"api_key": CANARY}), "'api_key' of 'inputs'"),
        (node("n", "Call", configValues={"api_key": CANARY}), "'api_key' of 'settings' of 'inputs'"),
        (node("n", "Vault", {"token": CANARY}), "'token' of 'configValues'"),
    ],
)
def test_a_secret_on_the_wrong_side_of_a_node_is_refused(typed: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        compiled([typed])
    (problem,) = (problem for problem in refused.value.problems if problem.level == "error")
    assert (problem.code, problem.node) == ("misplaced_secret", "n")
    assert place in problem.message
    assert not any(CANARY in problem.message for problem in refused.value.problems)


def test_a_value_for_a_slot_of_another_mode_is_left_out_without_a_word() -> None:
    result = compiled([node("m", "Modal", {"left": 1, "base": CANARY}, configValues={"op": "add"})])
    assert list(planned(result, "m").inputs) == ["left"]
    assert result.warnings == ()


def test_sources_of_secret_slots_seal_what_they_give() -> None:
    result = compiled([SOURCE, node("t", "Source"), node("k", "Key"), node("c", "Call")],
                      "s.value > k.api_key", "t.value > c.settings")  # fmt: skip
    assert planned(result, "s").outputs[SlotKey("value")].seal == ("",)
    assert planned(result, "t").outputs[SlotKey("value")].seal == ("api_key",)


def test_an_interface_value_that_feeds_a_secret_slot_is_a_secret() -> None:
    nodes = [node("in", "core:GroupInput"), node("k", "Key")]
    interface = {"key": {"dataFlowType": "STRING", "config": {"default": CANARY}}}
    result = compiled(nodes, "in.key > k.api_key", interfaceInputs=interface)
    assert result.plan.interface_inputs == {"key": REF}
    assert planned(result, "in").outputs[SlotKey("key")].seal == ("",)
    assert_no_canary(result)


def test_a_bypassed_node_hands_secrecy_on_to_its_sources_and_values() -> None:
    nodes = [SOURCE, node("p", "Plain", {"s": CANARY}, bypassed=True), node("k", "Key")]
    result = compiled(nodes, "s.value > p.t", "p.s > k.api_key")
    assert planned(result, "s").outputs[SlotKey("value")].seal == ("",)
    assert slot(result, "p", "s") == literal(REF)
    assert_no_canary(result)


def test_equal_secrets_are_stored_once_and_belong_to_the_owner() -> None:
    result = compiled([node("a", "Key", {"api_key": CANARY}), node("b", "Key", {"api_key": CANARY})])
    assert result.secrets == SEALED


HERE = "https://here.example/v1"


@pytest.mark.parametrize(
    ("inputs", "edges", "hosts"),
    [
        ({"base_url": HERE}, (), ("here.example:443",)),
        ({"url": " HTTP://Here.Example:8080/x "}, (), ("here.example:8080",)),
        ({"base_url": "http://[::1]:80/v1"}, (), ("[::1]:80",)),
        ({"base_url": HERE, "use_env_vars": False}, (), ("here.example:443",)),
        ({"base_url": HERE, "use_env_vars": True}, (), ()),
        ({"base_url": HERE}, ("s.value > d.base_url",), ()),
        ({"base_url": HERE}, ("s.value > d.use_env_vars",), ()),
        ({"base_url": r"http://good.example\@evil.example/"}, (), ()),
        ({"base_url": "postgres://here.example/x"}, (), ()),
        ({"base_url": 5}, (), ()),
        ({}, (), ()),
    ],
)
def test_a_typed_secret_is_for_the_host_of_the_address_beside_it(
    inputs: dict[str, Any], edges: tuple[str, ...], hosts: tuple[str, ...]
) -> None:
    result = compiled([SOURCE, node("d", "Door", {"token": CANARY, **inputs})], *edges)
    assert result.secrets == (replace(SEALED[0], hosts=hosts),)


def test_a_secret_in_an_object_is_for_the_address_in_it_and_one_typed_twice_for_both() -> None:
    keys = [{"api_key": CANARY, "base_url": url} for url in ("http://b", HERE)]
    result = compiled([node(f"c{number}", "Call", {"settings": typed}) for number, typed in enumerate(keys)])
    assert result.secrets == (replace(SEALED[0], hosts=("b:80", "here.example:443")),)


def test_references_are_told_with_their_place() -> None:
    result = compiled([node("d", "Door", {"token": STORED, "base_url": HERE}), node("k", "Key", {"api_key": STORED})])
    told = {(use.id, use.place.node, use.place.slot, use.place.host) for use in result.references}
    assert told == {("5e" * 32, "d", "token", "here.example:443"), ("5e" * 32, "k", "api_key", None)}
    assert result.secrets == ()


def test_a_text_reference_counts_like_an_object() -> None:
    text, other = f"$secret:{'5e' * 32}", "$secret:a note"
    interface = {"key": {"dataFlowType": "STRING", "config": {"default": text}}}
    nodes = [
        node("in", "core:GroupInput"),
        node("k", "Key", {"note": text}),
        node("c", "Call", {"settings": {"api_key": text, "base_url": HERE}, "prompt": other}),
        node("all", "Call", {"settings": text}),
        node("v", "Vault", configValues={"token": text}),
    ]
    result = compiled(nodes, "in.key > k.api_key", interfaceInputs=interface)
    assert slot(result, "c", "settings") == literal({"api_key": STORED, "base_url": HERE})
    assert slot(result, "all", "settings") == literal(STORED)
    assert planned(result, "v").config == {"token": STORED}
    assert result.plan.interface_inputs == {"key": STORED}
    assert result.secrets == ()
    told = {(use.id, use.place.node, use.place.slot, use.place.host) for use in result.references}
    assert told == {
        ("5e" * 32, place, key, host)
        for place, key, host in (
            ("c", "settings", "here.example:443"), ("all", "settings", None), ("v", "token", None), (None, "key", None),
        )
    }  # fmt: skip
    # Where no secret is taken it is a text like any other.
    assert slot(result, "k", "note") == literal(text)
    assert slot(result, "c", "prompt") == literal(other)


@pytest.mark.parametrize("data_type", ["INTEGER", "BOOLEAN", "OBJECT", "STRING"])
def test_a_text_reference_is_taken_whatever_type_the_secret_has(data_type: str) -> None:
    slots = {"x": Input(data_type, secret=True, config={"suggestions": ["a"]}, match_categories=("ComboOption",))}
    kind = toy("Odd", slots, {}, config_schema=slots)
    typed = {"x": f"$secret:{'5e' * 32}"}
    result = compiled([node("o", "Odd", typed, configValues=typed)], types=(kind,))
    assert slot(result, "o", "x") == literal(STORED)
    assert planned(result, "o").config == {"x": STORED}
    assert result.warnings == ()


@pytest.mark.parametrize("form", ["object", "text"])
@pytest.mark.parametrize("typed", [CANARY, "", "5E" * 32, "env:" + CANARY, "channel:1:main"])
@pytest.mark.parametrize("place", ["slot", "inner key", "setting", "interface"])
def test_a_reference_that_is_none_is_a_problem_that_does_not_repeat_it(typed: str, place: str, form: str) -> None:
    reference: Any = {"$secret": typed} if form == "object" else f"$secret:{typed}"
    interface = {"key": {"dataFlowType": "STRING", "config": {"default": reference}}}
    graphs: dict[str, Any] = {
        "slot": ([node("k", "Key", {"api_key": reference})], ()),
        "inner key": ([node("c", "Call", {"settings": {"api_key": reference}})], ()),
        "setting": ([node("v", "Vault", configValues={"token": reference})], ()),
        "interface": ([node("in", "core:GroupInput"), node("k", "Key")], ("in.key > k.api_key",)),
    }
    nodes, edges = graphs[place]
    with pytest.raises(InvalidWorkflow) as refused:
        compiled(nodes, *edges, interfaceInputs=interface if place == "interface" else {})
    (problem,) = (problem for problem in refused.value.problems if problem.level == "error")
    assert problem.code == "invalid_secret_reference"
    assert not typed or typed not in problem.message


def test_the_stored_format_and_its_payload_give_one_plan() -> None:
    interface = {
        "interfaceInputs": {"who": {"dataFlowType": "STRING", "config": {"default": "Ada"}}},
        "interfaceOutputs": {"line": {"dataFlowType": "STRING"}},
    }
    orders = {"inputConnectionOrders": {"parts": ["e2", "e1"]}}
    payload = compiled(
        [node("in", "core:GroupInput"), node("r", "Role"), node("j", "Join", {"sep": "+"}, **orders),
         node("out", "core:GroupOutput")],
        "in.who > j.parts__0", "r.text > j.parts__1", "j.text > out.line",
        outputInterfaceMappings={"line": {"sourceNodeId": "j", "sourceSlotKey": "text"}}, **interface,
    )  # fmt: skip
    ends = [("in", "who", "j", "parts__0"), ("r", "text", "j", "parts__1"), ("j", "text", "out", "line")]
    stored = {
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "r", "type": "toy:Role"},
            {"id": "j", "type": "toy:Join", "inputValues": {"sep": "+"}, **orders},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": f"e{n}", "source": a, "sourceHandle": x, "target": b, "targetHandle": y}
            for n, (a, x, b, y) in enumerate(ends, 1)
        ],
        **interface,
    }
    assert compile_document(parse_document(stored), ToyCatalogue(), secret_id=str).plan == payload.plan
    assert payload.plan.interface_outputs["line"] == InterfaceOutput(NodeId("j"), SlotKey("text"))
    assert slot(payload, "j", "parts").feeds == (feed("r", "text"), feed("in", "who"))  # type: ignore[union-attr]


def test_the_encoded_plan_is_the_plan() -> None:
    nodes = [SOURCE, node("e", "Echo", {"a": {}}, bypassed=True), node("j", "Join")]
    result = compiled(nodes, "s.value > e.b", "e.text > j.parts__0")
    assert RunPlan.decode(result.encoded) == result.plan


def test_a_document_without_groups_asks_for_no_stored_workflow() -> None:
    asked: list[str] = []
    document = parse_document({"nodes": [node("e", "Echo"), node("r", "Role")], "edges": []})
    compile_document(document, ToyCatalogue(), asked.append, secret_id=str)
    assert asked == []
