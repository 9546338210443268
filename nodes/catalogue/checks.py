"""What must hold of a definition before it joins the catalogue: an author's slip is told at load, not in a run."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import FunctionType
from typing import Any

from innkeeper.nodes.definition import DATA_FLOW_TYPES, BypassBehavior, Input, Mode, NodeDefinition, Output
from innkeeper.nodes.errors import PluginLoadError
from innkeeper.nodes.json_values import NotJsonData, encode_json

_NAME = re.compile(r"[^\s:/]+")
_SUB_HANDLE = re.compile(r"__\d+$")
_PLACEMENTS = ("activity", "inline", "workflow", "thread", "process")


def check_definition(node: NodeDefinition) -> None:
    """Refuse a definition that could not run.

    Raises:
        PluginLoadError: Says everything that is wrong, with the names of slots and modes.
    """
    # Slots first: the other questions read them.
    problems = list(_shape_problems(node)) or list(_meaning_problems(node))
    if problems:
        raise PluginLoadError(f"node type {node.type!r}: {'; '.join(problems)}")


def _shape_problems(node: NodeDefinition) -> Iterator[str]:
    yield from _name_problems(node)
    yield from _slot_problems("inputs", node.inputs, Input)
    yield from _slot_problems("outputs", node.outputs, Output)
    yield from _slot_problems("config_schema", node.config_schema, Input)
    yield from _mode_slot_problems(node.modes)


def _meaning_problems(node: NodeDefinition) -> Iterator[str]:
    yield from _mode_problems(node)
    yield from _execute_problems(node)
    yield from _bypass_problems(node)
    yield from _placement_problems(node)


def _name_problems(node: NodeDefinition) -> Iterator[str]:
    for field, value in (("type", node.type), ("namespace", node.namespace)):
        if field == "namespace" and value is None:
            continue
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            yield f"{field} {value!r} must be a name without ':', '/' and spaces"


def _slot_problems(where: str, slots: Any, kind: type[Input] | type[Output]) -> Iterator[str]:
    if not isinstance(slots, Mapping):
        yield f"{where} must be a mapping of slot keys to {kind.__name__}"
        return
    for key, slot in slots.items():
        if not isinstance(key, str) or not key:
            yield f"{where}: slot key {key!r} must be a text"
        elif _SUB_HANDLE.search(key):
            # Editors address the parts of a multi slot as `key__0`, `key__1`; such a key would be taken for one.
            yield f"{where}: slot key {key!r} must not end in '__' and digits"
        if not isinstance(slot, kind):
            yield f"{where}: slot {key!r} must be an {kind.__name__}, found {type(slot).__name__}"
        elif slot.data_flow_type not in DATA_FLOW_TYPES:
            yield f"{where}: slot {key!r} has type {slot.data_flow_type!r}; types are {', '.join(DATA_FLOW_TYPES)}"
        elif isinstance(slot, Input) and (problem := _data_problem(slot.config)):
            yield f"{where}: config of slot {key!r} {problem}"


def _data_problem(value: Any) -> str:
    """Why a value of an author cannot go into plans and to editors; "" when it can."""
    try:
        changes = encode_json(value).changes
    except NotJsonData as error:
        return str(error)
    return "holds what is no JSON (NaN, a great integer, half a character, or a key that is no text)" if changes else ""


def _mode_slot_problems(modes: Any) -> Iterator[str]:
    if not isinstance(modes, Mapping):
        yield "modes must be a mapping of mode ids to Mode"
        return
    for key, mode in modes.items():
        if not isinstance(mode, Mode):
            yield f"mode {key!r} must be a Mode, found {type(mode).__name__}"
            continue
        yield from _slot_problems(f"mode {key!r} inputs", mode.inputs, Input)
        yield from _slot_problems(f"mode {key!r} outputs", mode.outputs, Output)


def _mode_problems(node: NodeDefinition) -> Iterator[str]:
    modes = ", ".join(map(repr, node.modes)) or "none"
    if node.modes and not node.mode_config_key:
        yield "it has modes but no mode_config_key"
    if node.mode_config_key and node.mode_config_key not in node.config_schema:
        items = ", ".join(map(repr, node.config_schema)) or "none"
        yield f"mode_config_key {node.mode_config_key!r} is not in config_schema; items are {items}"
    if node.default_mode_id is not None and node.default_mode_id not in node.modes:
        yield f"default_mode_id {node.default_mode_id!r} is not a mode; modes are {modes}"
    if node.falls_back_to_default_mode and node.default_mode_id is None:
        yield "it falls back to its default mode but has no default_mode_id"
    for key, mode in node.modes.items():
        if mode.id != key:
            yield f"mode {key!r} has the id {mode.id!r}; the two must be equal"


def _execute_problems(node: NodeDefinition) -> Iterator[str]:
    # The interpreter itself plays these: control nodes, groups, the ends of an interface, notes in the editor.
    by_interpreter = node.placement == "workflow" or node.interface_values or node.interface_sink or node.is_ui_node
    if node.execute is None and not node.modes and not by_interpreter:
        yield "execute is missing"
    if node.execute is not None:
        yield from _callable_problems("execute", node.execute, node.outputs)
    for key, mode in node.modes.items():
        execute = mode.execute or node.execute
        if execute is None:
            yield f"mode {key!r} has no execute and the node type has none either"
        elif mode.execute is not None or any(output.is_stream for output in mode.outputs.values()):
            yield from _callable_problems(f"mode {key!r} execute", execute, mode.outputs)


def _callable_problems(where: str, execute: Any, outputs: Mapping[str, Output]) -> Iterator[str]:
    if not callable(execute):
        yield f"{where} must be a function, found {type(execute).__name__}"
        return
    yield from _parameter_problems(where, execute)
    if is_generator(execute):
        return
    streams = [key for key, output in outputs.items() if output.is_stream]
    if streams:
        keys = ", ".join(map(repr, streams))
        yield f"{where} must be a generator (with 'yield'): output {keys} is a stream"


def _parameter_problems(where: str, execute: Callable[..., Any]) -> Iterator[str]:
    try:
        signature = inspect.signature(execute)
    except (TypeError, ValueError):  # of a function written in C, which tells nothing
        return
    try:
        signature.bind(None, None)
    except TypeError:
        yield f"{where} must take (inputs, context), two positional parameters; found {signature}"


def is_plain(execute: Any) -> bool:
    """Is it a plain `def`, which holds up whatever thread it runs in?"""
    if type(execute) is FunctionType and execute.__code__.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        return False  # of most; asked several times for each node that runs
    return not (_is(execute, inspect.iscoroutinefunction) or _is(execute, inspect.isasyncgenfunction))


def is_generator(execute: Any) -> bool:
    """Does it yield chunks?"""
    if type(execute) is FunctionType:
        return bool(execute.__code__.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR))
    return _is(execute, inspect.isasyncgenfunction) or _is(execute, inspect.isgeneratorfunction)


def _is(function: Any, test: Callable[[Any], bool]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    # An object with `async def __call__` is as good as a function.
    return test(function) or test(getattr(function, "__call__", None))  # noqa: B004


def _bypass_problems(node: NodeDefinition) -> Iterator[str]:
    inputs = _keys(node.inputs, *(mode.inputs for mode in node.modes.values()))
    outputs = _keys(node.outputs, *(mode.outputs for mode in node.modes.values()))
    any_slot = node.dynamic_slots
    yield from _behaviour_problems(
        "bypass_behavior", node.bypass_behavior, inputs=inputs, outputs=outputs, any_slot=any_slot
    )
    for key, mode in node.modes.items():
        yield from _behaviour_problems(
            f"mode {key!r} bypass_behavior",
            mode.bypass_behavior,
            inputs=list(mode.inputs),
            outputs=list(mode.outputs),
            any_slot=any_slot,
        )


def _behaviour_problems(
    where: str, behaviour: Any, *, inputs: list[str], outputs: list[str], any_slot: bool
) -> Iterator[str]:
    if behaviour is None or behaviour == "mute":
        return
    if not isinstance(behaviour, BypassBehavior):
        yield f"{where} {behaviour!r} must be 'mute' or a BypassBehavior"
        return
    for key, value in behaviour.defaults.items():
        if problem := _data_problem(value):
            yield f"{where}: default of output {key!r} {problem}"
    if any_slot:
        return
    for key in (*behaviour.pass_through, *behaviour.defaults):
        if key not in outputs:
            yield f"{where} names output {key!r}; outputs are {', '.join(map(repr, outputs)) or 'none'}"
    for key in behaviour.pass_through.values():
        if key not in inputs:
            yield f"{where} names input {key!r}; inputs are {', '.join(map(repr, inputs)) or 'none'}"


def _placement_problems(node: NodeDefinition) -> Iterator[str]:
    if node.placement not in _PLACEMENTS:
        yield f"placement {node.placement!r} must be one of {', '.join(_PLACEMENTS)}"
    if node.memory_mb is not None and (node.placement != "process" or not 64 <= node.memory_mb <= 1_048_576):
        yield f"memory_mb {node.memory_mb!r} must be from 64 to 1048576, and takes placement 'process'"
    if node.placement != "inline":
        return
    if node.side_effects:
        yield "an inline node cannot have side effects: it may run twice"
    if any(slot.is_stream for slot in _all_slots(node)):
        yield "an inline node cannot have stream slots: use placement 'activity'"


def _all_slots(node: NodeDefinition) -> Iterator[Input | Output]:
    parts: list[NodeDefinition | Mode] = [node, *node.modes.values()]
    for part in parts:
        yield from part.inputs.values()
        yield from part.outputs.values()


def _keys(*slots: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(key for part in slots for key in part))
