"""Functions called by name with JSON, as `services.scripts` does it in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from nodes.errors import InvalidNode


def call_function(name: str, arguments: Mapping[str, Any], data: bytes = b"") -> Any:
    """Call `module:name`. Only public functions of modules below `nodes` can be called."""
    function = find_function(name)
    return function(**arguments, data=data) if data else function(**arguments)


def find_function(name: str) -> Callable[..., Any]:
    """Raises InvalidNode when there is no such function."""
    module, _, attribute = name.partition(":")
    if not module.startswith("nodes.") or not attribute or attribute.startswith("_"):
        raise InvalidNode(f"{name!r} cannot be called by name; it looks like 'nodes.package.module:function'")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise InvalidNode(f"there is no function {name!r}") from None
    if not callable(function):
        raise InvalidNode(f"{name!r} is no function")
    return function  # type: ignore[no-any-return]
