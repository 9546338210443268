"""Functions called by name with JSON, as `services.scripts` does it in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FunctionType
from typing import Any

import orjson

from innkeeper.nodes.errors import InnkeeperError, InvalidNode, NodeError

# Marks what orjson would read otherwise than it was: great whole numbers as floats.
_SLOW = b" "
OUT_OF_MEMORY = "script_out_of_memory"


def call_function(name: str, arguments: Mapping[str, Any], data: bytes = b"") -> Any:
    """Call `module:name`. Only public functions of modules below `nodes` can be called."""
    function = find_function(name)
    return function(**arguments, data=data) if data else function(**arguments)


def find_function(name: str) -> Callable[..., Any]:
    """A public function by `module:name`, of the module that defines it. Raises InvalidNode when there is none."""
    module, _, attribute = name.partition(":")
    if not module.startswith("innkeeper.nodes.") or not attribute or attribute.startswith("_"):
        raise InvalidNode(f"{name!r} cannot be called by name; it looks like 'innkeeper.nodes.package.module:function'")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise InvalidNode(f"there is no function {name!r}") from None
    # What a module imports is not offered: it may be anything.
    if not isinstance(function, FunctionType) or function.__module__ != module:
        raise InvalidNode(f"{name!r} is no function of that module")
    return function


def error_of_call(name: str, error: Exception) -> InnkeeperError:
    """What the caller of a function is told: our own errors as they are, of others the kind but never the words.

    None but our own are retryable: the function is pure and would fail again.
    """
    if isinstance(error, InnkeeperError):
        return error
    message, code = f"the work failed: {type(error).__name__}", "script_failed"
    if isinstance(error, MemoryError):
        message, code = "the work needed more memory than it may have", OUT_OF_MEMORY
    elif isinstance(error, RecursionError):
        message, code = "a value is nested too deeply", "too_deep"
    return NodeError(message, code=code, details={"function": name}, retryable=False)


def to_json(value: Any) -> bytes:
    """Any JSON value, also what orjson refuses: great whole numbers, halves of surrogate pairs, 250 levels.

    Raises:
        InvalidNode: It is no JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _to_json_slowly(value)


def from_json(data: bytes | bytearray) -> Any:
    """What `to_json` wrote. Raises ValueError when it is no JSON, RecursionError when it is too deep."""
    return json.loads(data) if data.startswith(_SLOW) else orjson.loads(data)


def _to_json_slowly(value: Any) -> bytes:
    try:
        return _SLOW + json.dumps(value).encode()
    except (TypeError, ValueError):
        raise InvalidNode("a value between a node and its script is no JSON") from None
