"""The catalogue: namespaces, duplicates, and definitions that could not run."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.catalogue.manager import LIBRARY_ROOT, NodeManager, node_manager
from innkeeper.nodes.catalogue.registration import create_node_registerer
from innkeeper.nodes.definition import BypassBehavior, Input, Mode, NodeDefinition, Output
from innkeeper.nodes.errors import DuplicateNodeType, PluginLoadError

LIBRARY_FILE = LIBRARY_ROOT / "toys" / "toy.py"


async def execute(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    return {}


async def stream(inputs: dict[str, Any], context: Any) -> AsyncIterator[Any]:
    yield {}


def toy(**fields: Any) -> NodeDefinition:
    base = NodeDefinition(type="Toy", category="Toys", display_name="Toy", description="Does nothing.", execute=execute)
    return replace(base, **fields)


@pytest.mark.parametrize(
    ("own", "plugin", "registerer", "file", "expected"),
    [
        ("mine", "plug", "reg", LIBRARY_FILE, "mine"),
        ("mine", None, None, None, "mine"),
        (None, "plug", "reg", LIBRARY_FILE, "plug"),
        (None, None, "reg", LIBRARY_FILE, "reg"),
        (None, None, None, LIBRARY_FILE, "core"),
        (None, None, None, LIBRARY_ROOT / "deep" / "er" / "toy.py", "core"),
        (None, None, None, LIBRARY_ROOT.parent / "toy.py", "unknown"),
        (None, None, None, "/elsewhere/toy.py", "unknown"),
        (None, None, None, None, "unknown"),
    ],
)
def test_namespace_is_own_then_plugin_then_registerer_then_path(
    own: str | None, plugin: str | None, registerer: str | None, file: Path | None, expected: str
) -> None:
    manager = NodeManager()
    stored = manager.register_node(toy(namespace=own), file, plugin=plugin, default_namespace=registerer)
    assert stored.namespace == expected
    assert manager.get_node(f"{expected}:Toy") is stored


def test_registerer_gives_its_namespace_and_the_definition_back() -> None:
    manager = NodeManager()
    register = create_node_registerer("mine", manager)
    assert register(toy(), "somewhere.py").full_type == "mine:Toy"
    assert register(toy(type="Own", namespace="own")).full_type == "own:Own"
    found = manager.get_node("mine:Toy")
    assert found is not None
    assert found.file_path == "somewhere.py"


def test_registerer_without_a_manager_uses_the_process_one() -> None:
    create_node_registerer("only-here")(toy())
    try:
        assert node_manager.get_node("only-here:Toy") is not None
    finally:
        assert node_manager.unregister_namespace("only-here") == ("only-here:Toy",)


def test_duplicate_names_both_sources_and_keeps_the_first() -> None:
    manager = NodeManager()
    first = manager.register_node(toy(namespace="shared"), "/srv/plugins/a/nodes/one.py", plugin="a")
    with pytest.raises(DuplicateNodeType, match="shared:Toy") as caught:
        manager.register_node(toy(namespace="shared"), "/srv/plugins/b/nodes/two.py", plugin="b")
    assert "plugin 'b', file 'b/nodes/two.py'" in caught.value.message
    assert "plugin 'a', file 'a/nodes/one.py'" in caught.value.message
    assert "/srv" not in caught.value.message
    assert manager.get_definitions() == [first]


def test_core_belongs_to_the_library() -> None:
    manager = NodeManager()
    for file in (None, "/elsewhere/nodes/library/toy.py", LIBRARY_ROOT / ".." / "toy.py"):
        with pytest.raises(PluginLoadError, match="'core' belongs to the built-in"):
            manager.register_node(toy(namespace="core"), file, plugin="plug")
    with pytest.raises(PluginLoadError, match="'core'"):
        create_node_registerer("core", manager)(toy())
    assert manager.register_node(toy(namespace="core"), LIBRARY_FILE).full_type == "core:Toy"


def test_name_of_another_plugin_is_refused_a_foreign_namespace_is_not() -> None:
    manager = NodeManager()
    manager.reserve_namespace("a")
    manager.reserve_namespace("b")
    with pytest.raises(PluginLoadError, match="'b' belongs to that plugin"):
        manager.register_node(toy(namespace="b"), plugin="a")
    assert manager.register_node(toy(namespace="test"), plugin="a").full_type == "test:Toy"
    assert manager.register_node(toy(namespace="b"), plugin="b").full_type == "b:Toy"


def test_unregister_by_namespace_by_plugin_and_clear() -> None:
    manager = NodeManager()
    for namespace, plugin in (("x", "a"), ("y", "a"), ("x2", "b")):
        manager.register_node(toy(namespace=namespace), plugin=plugin)
    assert manager.unregister_namespace("x") == ("x:Toy",)
    assert manager.unregister_plugin("a") == ("y:Toy",)
    assert [node.full_type for node in manager.get_definitions()] == ["x2:Toy"]
    manager.clear_nodes()
    assert manager.get_definitions() == []
    assert manager.get_node("x2:Toy") is None


TEXT_IN, TEXT_OUT = {"text": Input("STRING")}, {"text": Output("STRING")}
STREAM_OUT = {"chunks": Output("STRING", is_stream=True)}


def mode(**fields: Any) -> Mode:
    return replace(Mode("add", "Add", TEXT_IN, TEXT_OUT), **fields)


MODAL = {"config_schema": {"op": Input("STRING")}, "mode_config_key": "op"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "a:b"}, "type 'a:b'"),
        ({"type": "a/b"}, "type 'a/b'"),
        ({"type": ""}, "type ''"),
        ({"namespace": "a b"}, "namespace 'a b'"),
        ({"inputs": {"part__0": Input("STRING")}}, "'part__0' must not end in '__' and digits"),
        ({"outputs": {"": Output("STRING")}}, "slot key ''"),
        ({"outputs": {"text": Input("STRING")}}, "must be an Output, found Input"),
        ({"inputs": [Input("STRING")]}, "inputs must be a mapping"),
        ({"inputs": {"text": Input("TEXT")}}, "has type 'TEXT'; types are STRING"),
        (
            {"inputs": {"a": Input("STRING", config={"default": {1, 2}})}},
            "config of slot 'a' holds a value of type set",
        ),
        (
            {"config_schema": {"b": Input("FLOAT", config={"max": float("nan")})}},
            "config of slot 'b' holds what is no JSON",
        ),
        (
            {"outputs": {"x": Output("ARRAY")}, "bypass_behavior": BypassBehavior(defaults={"x": {1}})},
            "bypass_behavior: default of output 'x' holds a value of type set",
        ),
        ({"config_schema": {"op__1": Input("STRING")}}, "config_schema: slot key 'op__1'"),
        ({"execute": None}, "execute is missing"),
        ({"execute": "run"}, "execute must be a function, found str"),
        ({"execute": lambda inputs: {}}, "must take (inputs, context), two positional parameters; found (inputs)"),
        ({"execute": lambda inputs, context, more: {}}, "found (inputs, context, more)"),
        ({"execute": functools.partial(stream, context=None), "outputs": STREAM_OUT}, "execute must take (inputs"),
        ({"outputs": STREAM_OUT}, "generator (with 'yield'): output 'chunks' is a stream"),
        ({"bypass_behavior": "silent"}, "bypass_behavior 'silent'"),
        (
            {"inputs": TEXT_IN, "outputs": TEXT_OUT, "bypass_behavior": BypassBehavior({"text": "txt"})},
            "names input 'txt'; inputs are 'text'",
        ),
        (
            {"inputs": TEXT_IN, "outputs": TEXT_OUT, "bypass_behavior": BypassBehavior({"txt": "text"})},
            "names output 'txt'; outputs are 'text'",
        ),
        ({"outputs": TEXT_OUT, "bypass_behavior": BypassBehavior(defaults={"txt": 1})}, "names output 'txt'"),
        ({"mode_config_key": "op"}, "mode_config_key 'op' is not in config_schema; items are none"),
        ({"modes": {"add": mode()}}, "it has modes but no mode_config_key"),
        ({**MODAL, "modes": {"sub": mode()}}, "mode 'sub' has the id 'add'"),
        ({**MODAL, "modes": {"add": mode()}, "default_mode_id": "sub"}, "default_mode_id 'sub' is not a mode"),
        ({**MODAL, "modes": {"add": mode()}, "falls_back_to_default_mode": True}, "has no default_mode_id"),
        ({**MODAL, "modes": {"add": mode(bypass_behavior="silent")}}, "mode 'add' bypass_behavior 'silent'"),
        (
            {**MODAL, "modes": {"add": mode(bypass_behavior=BypassBehavior({"text": "txt"}))}},
            "mode 'add' bypass_behavior names input 'txt'; inputs are 'text'",
        ),
        ({**MODAL, "modes": {"add": "add"}}, "mode 'add' must be a Mode"),
        ({**MODAL, "modes": {"add": mode()}, "execute": None}, "mode 'add' has no execute"),
        ({**MODAL, "modes": {"add": mode(outputs=STREAM_OUT)}}, "mode 'add' execute must be a generator"),
        ({**MODAL, "modes": {"add": mode(inputs={"x__2": Input("STRING")})}}, "mode 'add' inputs: slot key 'x__2'"),
        ({"placement": "somewhere"}, "placement 'somewhere'"),
        ({"placement": "inline", "side_effects": True}, "cannot have side effects"),
        ({"placement": "inline", "outputs": STREAM_OUT, "execute": stream}, "cannot have stream slots"),
    ],
)
def test_unsound_definition_is_refused_with_its_reason(fields: dict[str, Any], said: str) -> None:
    manager = NodeManager()
    with pytest.raises(PluginLoadError) as caught:
        manager.register_node(toy(**fields))
    assert said in caught.value.message
    assert manager.get_definitions() == []


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(PluginLoadError, match=r"'a__1'.*'b__2'"):
        NodeManager().register_node(toy(inputs={"a__1": Input("STRING"), "b__2": Input("STRING")}))


class Callable:
    async def __call__(self, inputs: dict[str, Any], context: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    "fields",
    [
        {"execute": stream, "outputs": STREAM_OUT},
        {"execute": functools.partial(stream), "outputs": STREAM_OUT},
        {"execute": Callable()},
        {"execute": lambda inputs, context: {}},
        {"execute": lambda *given: {}},
        {"execute": None, "placement": "workflow"},
        {"execute": None, "interface_values": True, "dynamic_slots": True},
        {"execute": None, "interface_sink": True, "dynamic_slots": True},
        {**MODAL, "modes": {"add": mode(execute=execute)}, "execute": None, "default_mode_id": "add"},
        {**MODAL, "modes": {"add": mode()}, "bypass_behavior": BypassBehavior({"text": "text"})},
        {"inputs": {"a__b": Input("STRING"), "__1x": Input("STRING")}},
        {"type": "文本合并"},
    ],
)
def test_sound_definition_is_accepted(fields: dict[str, Any]) -> None:
    assert NodeManager().register_node(toy(**fields)).namespace == "unknown"
