"""Documents as they are saved: no typed secret stays in one, and it still means the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import BypassBehavior, Input, Mode, NodeDefinition
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows, adapt_slots
from innkeeper.workflows.compiler.compile import Compiled, compile_document
from innkeeper.workflows.compiler.seal import Sealed, seal_document
from innkeeper.workflows.document.model import WorkflowDocument, parse_document
from tests.workflows.toy_graphs import TEXT, TOYS, edges, node, toy

Json = dict[str, Any]
KEY = "sk-canary-1"
"""Eight characters or more: copies of it are found, too."""
SHORT = "pin-77"
HERE = "https://here.example/v1"
WHERE = ("here.example:443",)


def name_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def text_of(value: str) -> str:
    return f"$secret:{name_of(value)}"


def broken(config: Mapping[str, Any]) -> Any:
    raise KeyError("code of a plugin")


MODES = {
    "left": Mode("left", "Left", {"pass_left": Input("STRING", secret=True), "word": Input("STRING")}, {"text": TEXT}),
    "right": Mode("right", "Right", {"side": Input("STRING")}, {"text": TEXT},
                  config_schema={"pass_right": Input("STRING", secret=True), "key": Input("STRING")}),
}  # fmt: skip
MORE = [
    toy("Sided", {}, {"text": TEXT}, modes=MODES, mode_config_key="side"),
    toy("Keys", {"keys": Input("STRING", multi=True, secret=True)}, {"text": TEXT}),
    toy("Faulty", {"token": Input("STRING", secret=True, required=broken)}, {}, outputs_of=broken),
    toy("Coded", {"door_code": Input("STRING", secret=True)}, {}),
    toy("Open", {}, {"text": TEXT}, dynamic_slots=True),
    toy("Handing", {"a": Input("STRING")}, {"x": TEXT}, bypass_behavior=BypassBehavior({"x": "a"})),
]


class Types:
    """The built-in node types, and toys."""

    def __init__(self) -> None:
        self._core = load_catalogue(())
        self._toys = {toy.full_type: toy for toy in (*TOYS, *MORE)}

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self._core.get_node(full_type) or self._toys.get(full_type)

    def get_definitions(self) -> Iterable[NodeDefinition]:
        return (*self._core.get_definitions(), *self._toys.values())


TYPES = Types()
GATE = node("in", "core:GroupInput")
STRING = {"dataFlowType": "STRING"}
INNER: Json = {
    "nodes": [GATE, node("k", "Key"), node("c", "Call"), node("out", "core:GroupOutput")],
    "edges": edges("in.key > k.api_key", "in.to > c.settings", "in.say > c.prompt", "c.text > out.text"),
    "interfaceInputs": {"key": STRING, "to": {"dataFlowType": "OBJECT"}, "say": STRING},
    "interfaceOutputs": {"text": STRING, "go": STRING},
}
HOLLOW: Json = {"nodes": [GATE, node("k", "Key")], "edges": edges("in.output_0 > k.api_key")}
OUTER: Json = {
    "nodes": [GATE, node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "inner"})],
    "edges": edges("in.secret_word > g.key"),
    "interfaceInputs": {"secret_word": STRING},
}
ITSELF: Json = {**OUTER, "nodes": [GATE, node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "itself"})]}
GIVING: Json = {
    "nodes": [GATE, node("out", "core:GroupOutput")],
    "edges": edges("in.word > out.text"),
    "interfaceInputs": {"word": STRING},
    "interfaceOutputs": {"text": STRING},
}
STORED = {"inner": INNER, "hollow": HOLLOW, "outer": OUTER, "itself": ITSELF, "giving": GIVING}


def load(workflow_id: str) -> WorkflowDocument | None:
    return parse_document(STORED[workflow_id]) if workflow_id in STORED else None


def sealed(document: Json) -> Sealed:
    before = orjson.dumps(document)
    found = seal_document(document, TYPES, load, secret_id=name_of, owner="ann")
    assert orjson.dumps(document) == before
    again = seal_document(found.document, TYPES, load, secret_id=name_of, owner="ann")
    assert orjson.dumps(again.document) == orjson.dumps(found.document)
    assert again.secrets == ()
    assert again.references == found.references
    assert found.references >= {secret.id for secret in found.secrets}
    return found


def ran(document: Json) -> Compiled:
    adapted = AdaptedWorkflows(TYPES, load)
    inner, _ = adapt_slots(parse_document(document), TYPES, adapted)
    return compile_document(inner, TYPES, adapted, secret_id=name_of, owner="ann")


def repeating(kind: str, workflow: str, inputs: Json, **config: Any) -> Json:
    return node("g", f"core:{kind}", inputs, configValues={"referencedWorkflowId": workflow, **config})


def interface(default: Any, kind: str = "STRING") -> Json:
    return {"interfaceInputs": {"key": {"key": "key", "dataFlowType": kind, "config": {"default": default}}}}


def snapshot(default: Any) -> Json:
    return {"groupInterface": {"inputs": interface(default)["interfaceInputs"]}}


def graph(nodes: list[Json], *ends: str, **more: Any) -> Json:
    return {"nodes": nodes, "edges": edges(*ends), **more}


# --- where a workflow that compiles takes a secret --------------------------------------------------------------------

COMPILING: dict[str, Callable[[Any], Json]] = {
    "slot": lambda key: graph([node("d", "Door", {"base_url": HERE, "token": key})]),
    "slot without address": lambda key: graph([node("k", "Key", {"api_key": key, "note": "n"})]),
    "inner key": lambda key: graph([node("c", "Call", {"settings": {"api_key": key, "base_url": HERE, "x": 1}})]),
    "misspelt inner key": lambda key: graph([node("c", "Call", {"settings": {"apiKey": key, "base_url": HERE}})]),
    "whole object": lambda key: graph([node("k", "Key", {"api_key": {"a": [key]}})]),
    "text for an object": lambda key: graph([node("c", "Call", {"settings": f'{{"api_key": "{key}"}}'})]),
    "setting": lambda key: graph([node("v", "Vault", configValues={"token": key})]),
    "each of several": lambda key: graph([node("k", "Keys", {"keys": [key, "other-key-2", None]})]),
    "slot of a mode": lambda key: graph([node("s", "Sided", {"pass_left": key}, configValues={"side": "left"})]),
    "slot of another mode": lambda key: graph([node("s", "Sided", {"pass_left": key}, configValues={"side": "right"})]),
    "setting of a mode": lambda key: graph([node("s", "Sided", configValues={"side": "right", "pass_right": key})]),
    "name that nobody reads": lambda key: graph([node("n", "Echo", {"a": "x", "Api-Key": {"deep": [key]}})]),
    "setting that nobody reads": lambda key: graph([node("n", "Echo", configValues={"password": key})]),
    "interface": lambda key: graph([GATE, node("k", "Key")], "in.key > k.api_key", **interface(key)),
    "interface object": lambda key: graph(
        [GATE, node("c", "Call")], "in.key > c.settings", **interface({"api_key": key, "base_url": HERE}, "OBJECT")
    ),
    "through a bypassed node": lambda key: graph(
        [node("h", "Handing", {"a": key}, bypassed=True), node("k", "Key")], "h.x > k.api_key"
    ),
    "through a merge": lambda key: graph(
        [GATE, node("m", "core:Merge"), node("k", "Key")], "in.key > m.values", "m.value > k.api_key", **interface(key)
    ),
    "through a group": lambda key: graph(
        [repeating("NodeGroup", "giving", {"word": key}), node("k", "Key")], "g.text > k.api_key"
    ),
    "group": lambda key: graph([repeating("NodeGroup", "inner", {"key": key, "say": "hello", "to": {"api_key": key}})]),
    "group with a hollow slot": lambda key: graph([repeating("NodeGroup", "hollow", {"api_key": key})]),
    "group in a group": lambda key: graph([repeating("NodeGroup", "outer", {"secret_word": key})]),
    "interface into a group": lambda key: graph(
        [GATE, repeating("NodeGroup", "inner", {})], "in.key > g.key", **interface(key)
    ),
    "items": lambda key: graph([repeating("ForEach", "inner", {"items": [key, "other-key-3"]}, itemKey="key")]),
    "objects of items": lambda key: graph(
        [repeating("ForEach", "inner", {"items": [{"api_key": key, "base_url": HERE}]}, itemKey="to")]
    ),
    "input of each item": lambda key: graph(
        [repeating("ForEach", "inner", {"items": ["a"], "key": key}, itemKey="say")]
    ),
    "state": lambda key: graph(
        [repeating("Loop", "inner", {"state": {"key": key, "to": {"api_key": key}, "say": 1}}, conditionKey="text")]
    ),
    "core: settings": lambda key: graph([node("a", "core:APISettings", {"api_key": key, "base_url": HERE})]),
    "core: header": lambda key: graph([node("h", "core:HttpRequest", {"authorization": key, "url": HERE})]),
}  # fmt: skip


def stored_form(document: Json) -> Json:
    """The same workflow as editors save it, with what they keep beside it."""
    names = {"fullType": "type", "inputs": "inputValues"}
    ends = {"sourceNodeId": "source", "targetNodeId": "target"}
    nodes = [{names.get(key, key): value for key, value in item.items()} for item in document["nodes"]]
    return {
        **document,
        "id": "w",
        "nodes": [{**item, "position": {"x": 1, "y": 2}, "zIndex": 0} for item in nodes],
        "edges": [{ends.get(key, key): value for key, value in item.items()} for item in document["edges"]],
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    }


@pytest.mark.parametrize("form", [dict, stored_form])
@pytest.mark.parametrize("place", COMPILING)
def test_a_sealed_workflow_means_the_same_and_holds_no_key(place: str, form: Callable[[Json], Json]) -> None:
    typed = form(COMPILING[place](SHORT))
    found = sealed(typed)
    assert SHORT.encode() not in orjson.dumps(found.document)
    assert any(SHORT in secret.value for secret in found.secrets)
    assert SHORT not in repr(found)
    before, after = ran(typed), ran(found.document)
    assert after.plan == before.plan
    assert after.secrets == ()
    stored = {secret.id: secret for secret in found.secrets}
    assert {secret.id: secret for secret in before.secrets}.items() <= stored.items()
    assert {use.id for use in after.references} <= found.references


@pytest.mark.parametrize("place", COMPILING)
def test_the_same_workflow_without_a_key_is_left_as_it_is(place: str) -> None:
    document = {**COMPILING[place](""), "name": "n"}
    if place in ("text for an object", "whole object", "name that nobody reads"):
        pytest.skip("an object is there, if an empty one")
    others = {text_of("other-key-2"): "other-key-2", text_of("other-key-3"): "other-key-3"}
    text = orjson.dumps(sealed(document).document)
    for sealed_text, typed in others.items():
        text = text.replace(sealed_text.encode(), typed.encode())
    assert text == orjson.dumps(document)


_words = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=7, max_size=20)


@given(
    st.lists(st.sampled_from(sorted(COMPILING)), min_size=1, max_size=4, unique=True),
    st.lists(
        st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=7, max_size=20), min_size=4, max_size=4
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_typed_key_survives_in_any_mix_of_places(places: list[str], words: list[str], is_stored: bool) -> None:
    nodes: list[Json] = []
    wires: list[Json] = []
    slots: Json = {}
    keys = [f"k{number} {word}" for number, word in enumerate(words)]
    for number, (place, key) in enumerate(zip(places, keys, strict=False)):
        part = COMPILING[place](key)
        rename = {item["id"]: f"{item['id']}{number}" for item in part["nodes"]}
        nodes += [{**item, "id": rename[item["id"]]} for item in part["nodes"]]
        slot = f"key{number}"
        for declared in part.get("interfaceInputs", {}).values():
            slots[slot] = {**declared, "key": slot}
        for item in part["edges"]:
            is_gate = item["sourceNodeId"] == "in"
            ends = {"sourceNodeId": rename[item["sourceNodeId"]], "targetNodeId": rename[item["targetNodeId"]]}
            wires.append({**item, **ends, "id": f"{number}{item['id']}", **({"sourceHandle": slot} if is_gate else {})})
    payload = {"nodes": nodes, "edges": wires, "interfaceInputs": slots}
    typed = stored_form(payload) if is_stored else payload
    found = sealed(typed)
    text = orjson.dumps(found.document).decode()
    assert not [key for key in keys[: len(places)] if orjson.dumps(key).decode()[1:-1] in text]
    assert ran(found.document).plan == ran(typed).plan


# --- drafts -----------------------------------------------------------------------------------------------------------

DRAFTS: dict[str, Callable[[Any], Json]] = {
    "input among the settings": lambda key: graph([node("k", "Key", configValues={"api_key": key})]),
    "input of any name among the settings": lambda key: graph([node("c", "Coded", configValues={"door_code": key})]),
    "inner key among the settings": lambda key: graph([node("c", "Call", configValues={"api_key": key})]),
    "setting among the inputs": lambda key: graph([node("v", "Vault", {"token": key})]),
    "unknown type": lambda key: graph([node("u", "no:Such", {"api_key": key, "x": {"deep": [{"password": key}]}})]),
    "setting of an unknown type": lambda key: graph([node("u", "no:Such", configValues={"token": [key]})]),
    "unknown type with a header": lambda key: graph([node("u", "no:Such", {"headers": {"Authorization": key}})]),
    "both maps of inputs": lambda key: graph([{**node("k", "Key", {"note": "x"}), "inputValues": {"api_key": key}}]),
    "second node of an id": lambda key: graph([node("k", "Echo"), node("k", "Key", {"api_key": key})]),
    "node without an id": lambda key: {"nodes": [{"type": "toy:Key", "inputValues": {"api_key": key}}]},
    "node whose code fails": lambda key: graph([node("f", "Faulty", {"token": key})]),
    "nodes by id": lambda key: {"nodes": {"a": {"type": "toy:Key", "inputValues": {"api_key": key}}}},
    "list of inputs": lambda key: {"nodes": [{"id": "k", "type": "toy:Key", "inputValues": [{"api_key": key}]}]},
    "in a cycle": lambda key: graph(
        [GATE, node("m", "core:Merge"), node("n", "core:Merge"), node("k", "Key")],
        "in.key > m.values", "m.value > n.values", "n.value > m.values", "m.value > k.api_key", **interface(key),
    ),
    "value in a cycle": lambda key: graph(
        [node("m", "core:Merge"), node("n", "core:Merge", {"values": [key]}), node("k", "Key")],
        "n.value > m.values", "m.value > n.values__1", "m.value > k.api_key",
    ),
    "missing input": lambda key: graph([node("n", "Need"), node("k", "Key", {"api_key": key})], "n.text > x.y"),
    "hollow slot with a value": lambda key: graph(
        [GATE, node("k", "Key")], "in.key > k.api_key", **interface(key, "CONVERTIBLE_ANY")
    ),
    "bypassed group": lambda key: graph([{**repeating("NodeGroup", "inner", {"key": key}), "bypassed": True}]),
    "items that are no list": lambda key: graph(
        [repeating("ForEach", "inner", {"items": f'["{key}"]'}, itemKey="key")]
    ),
    "state that is a list": lambda key: graph([repeating("Loop", "inner", {"state": [key]})]),
    "name of the item that is none": lambda key: graph([repeating("ForEach", "inner", {"key": key}, itemKey=[])]),
    "group that is not there": lambda key: graph([repeating("NodeGroup", "gone", {"api_key": key})]),
    "group inside itself": lambda key: graph([repeating("NodeGroup", "itself", {"secret_word": key, "password": key})]),
    "inputs beside a workflow": lambda key: graph(
        [GATE, node("k", "Key")], "in.key > k.api_key", **interface(""), inputs={"key": key}
    ),
    "copy of the slot": lambda key: graph(
        [node("k", "Key", data={"inputs": {"api_key": {"dataFlowType": "STRING", "value": key, "x": 1}}})]
    ),
    "values among the editor's data": lambda key: graph([node("k", "Key", data={"inputValues": {"api_key": key}})]),
    "copy of a group's interface": lambda key: graph(
        [{**repeating("NodeGroup", "inner", {}), "data": snapshot(key)}]
    ),
    "copy of a group's interface among the settings": lambda key: graph(
        [repeating("NodeGroup", "inner", {}, **snapshot(key))]
    ),
    "copy of a missing group's interface": lambda key: graph(
        [repeating("NodeGroup", "gone", {}, **snapshot(key))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", DRAFTS)
@pytest.mark.parametrize("key", [SHORT, 'short "quote'])
def test_no_key_stays_in_a_draft(place: str, key: str) -> None:
    if place == "group inside itself":
        pytest.skip("it can never run: only names tell there")
    found = sealed(DRAFTS[place](key))
    assert key not in str(found.document)
    assert any(key in secret.value or orjson.dumps(key).decode()[1:-1] in secret.value for secret in found.secrets)


def test_a_workflow_inside_itself_is_sealed_as_far_as_its_names_tell() -> None:
    found = sealed(DRAFTS["group inside itself"](SHORT))
    assert found.document["nodes"][0]["inputs"]["password"] == text_of(SHORT)


def test_what_a_key_is_bound_to_is_the_address_beside_it() -> None:
    document = graph([
        node("u", "no:Such", {"base_url": HERE, "token": SHORT}),
        node("c", "Call", {"settings": {"base_url": HERE, "apiKey": "misspelt"}}),
        node("k", "Door", {"base_url": HERE}, configValues={"token": "misplaced"}),
    ])  # fmt: skip
    assert {secret.value: (secret.hosts, secret.owner) for secret in sealed(document).secrets} == {
        SHORT: (WHERE, "ann"), "misspelt": (WHERE, "ann"), "misplaced": (WHERE, "ann"),
    }  # fmt: skip


def test_the_secret_of_a_callback_is_bound_to_its_url() -> None:
    callback = {"url": f"{HERE}?to=me", "secret": KEY, "on": ["complete"]}
    found = seal_document({"nodes": [], "callback": callback, "note": KEY}, TYPES, secret_id=name_of)
    assert found.document == {
        "nodes": [],
        "callback": {**callback, "secret": text_of(KEY)},
        "note": text_of(KEY),
    }
    assert [(secret.value, secret.hosts) for secret in found.secrets] == [(KEY, WHERE)]
    assert found.references == {name_of(KEY)}
    again = seal_document(found.document, TYPES, secret_id=name_of)
    assert (again.document, again.secrets, again.references) == (found.document, (), found.references)
    for odd in ([], "x", {"secret": None}, {"secret": [KEY]}):
        assert KEY not in str(seal_document({"nodes": [], "callback": odd}, TYPES, secret_id=name_of).document)


def test_values_that_take_no_secret_stay() -> None:
    document = graph([
        node("e", "Echo", {"a": "sk-looks-like-one", "n": 5}),
        node("t", "Open", {"token": "a word"}),
        node("s", "Sided", {"word": "w"}, configValues={"side": "left", "key": "of the other mode"}),
        node("u", "no:Such", {"max_tokens": 5, "token": 7, "form": [{"key": "name", "label": "Your name"}]}),
        node("k", "Key", {"api_key": "", "note": "$secret:a note"}),
        node("x", "Key", {"api_key": None}),
        node("y", "Key", {"api_key": {"$secret": "env:OPENAI_API_KEY"}}),
        node("z", "Key", {"api_key": {"$secret": "5e" * 32}}),
    ], **interface("no secret"))  # fmt: skip
    found = sealed(document)
    assert orjson.dumps(found.document) == orjson.dumps(document)
    assert found.secrets == ()
    assert found.references == {"env:OPENAI_API_KEY", "5e" * 32}


def test_copies_of_a_key_are_replaced_where_they_are_a_whole_text() -> None:
    document: Json = {
        **graph([node("k", "Key", {"api_key": KEY}, data={"seen": [{"x": KEY}]}, customSlotDescriptions={"a": KEY})]),
        "name": KEY,
        "metadata": {"note": f"the key is {KEY}"},
    }
    found = sealed(document).document
    assert found["nodes"][0]["data"] == {"seen": [{"x": text_of(KEY)}]}
    assert found["nodes"][0]["customSlotDescriptions"] == {"a": text_of(KEY)}
    assert found["name"] == text_of(KEY)
    assert found["metadata"] == document["metadata"]


def test_a_key_that_is_a_name_in_the_graph_does_not_tear_it_apart() -> None:
    document = graph([node("node-number-1", "Source"), node("k", "Key", {"api_key": "node-number-1"})],
                     "node-number-1.value > k.note", inputConnectionOrders={})  # fmt: skip
    found = sealed(document).document
    assert found["edges"] == document["edges"]
    assert [item["id"] for item in found["nodes"]] == ["node-number-1", "k"]
    short = graph([node("k", "Key", {"api_key": SHORT, "note": SHORT})])
    assert sealed(short).document["nodes"][0]["inputs"]["note"] == SHORT


@pytest.mark.parametrize("typed", [{"$secret": KEY}, f"$secret:{KEY}", "$secret:" + "AB" * 32])
def test_a_reference_that_is_none_is_masked_and_stays_an_error(typed: Any) -> None:
    document = graph([node("c", "Call", {"settings": {"api_key": typed}}), node("d", "Call", {"settings": typed})],
                     copy=typed)  # fmt: skip
    found = sealed(document)
    assert KEY not in str(found.document)
    assert "AB" * 32 not in str(found.document["nodes"])
    assert found.secrets == ()
    with pytest.raises(Exception, match="no id of a stored secret"):
        ran(found.document)


# --- anything -----------------------------------------------------------------------------------------------------

_names = st.sampled_from(
    [
        *("nodes", "edges", "id", "type", "fullType", "inputs", "inputValues", "configValues", "data", "bypassed"),
        *("interfaceInputs", "interfaceOutputs", "outputInterfaceMappings", "config", "default", "groupInterface"),
        *("source", "target", "sourceHandle", "targetHandle", "api_key", "settings", "token", "$secret", "items"),
        *("dataFlowType", "referencedWorkflowId", "itemKey", "cases", "form", "inputConnectionOrders", "key"),
    ]
)
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["toy:Key", "toy:Call", "toy:Faulty", "toy:Sided", "a", "b", "itself", "$secret:", "STRING"]),
    st.sampled_from([f"core:{name}" for name in ("NodeGroup", "ForEach", "Loop", "Switch", "GroupInput", "Approval")]),
)  # fmt: skip
_json = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4))
_node = st.fixed_dictionaries(
    {"id": st.sampled_from("abc")},
    optional={
        "type": _scalars, "fullType": _scalars, "bypassed": _json, "data": _json,
        **dict.fromkeys(("inputs", "inputValues", "configValues"), st.dictionaries(_names, _json, max_size=3) | _json),
    },
)  # fmt: skip
_edge = st.fixed_dictionaries(
    {"source": st.sampled_from("abc"), "target": st.sampled_from("abc")},
    optional={"sourceHandle": _names, "targetHandle": _names},
)
_documents = st.dictionaries(_names, _json, max_size=4) | st.fixed_dictionaries(
    {"nodes": st.lists(_node | _json, max_size=4), "edges": st.lists(_edge | _json, max_size=5)},
    optional={"interfaceInputs": st.dictionaries(_names, _json, max_size=3)},
)


@given(_documents)
@settings(max_examples=200, deadline=None)
def test_any_object_is_sealed_without_an_error_and_keeps_its_shape(document: Json) -> None:
    found = sealed(document).document
    assert list(found) == list(document)
    assert len(found.get("nodes") or ()) == len(document.get("nodes") or ()) if "nodes" in document else True
