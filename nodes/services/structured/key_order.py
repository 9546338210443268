"""The keys of an answer in the order of its schema. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_COMBINED = ("allOf", "anyOf", "oneOf")
_ONE_OF_THEM = ("then", "else")
_MAX_STEPS = 64
"""Schemas that are looked at for one object: a schema may refer to itself."""


def in_order(value: Any, schema: Any) -> Any:
    """A copy of a value with the keys of its objects as `properties` lists them; others follow as they came.

    Example:
        >>> in_order({"c": 1, "b": 2, "a": 3}, {"properties": {"a": {}, "b": {}}})
        {'a': 3, 'b': 2, 'c': 1}
    """
    return _ordered(value, (schema,), schema)


def _ordered(value: Any, schemas: tuple[Any, ...], root: Any) -> Any:
    if isinstance(value, dict):
        parts = list(_resolved(schemas, root))
        listed = [key for part in parts for key in _mapping(part, "properties")]
        keys = dict.fromkeys([*(key for key in listed if key in value), *value])
        return {key: _ordered(value[key], _of_key(key, parts), root) for key in keys}
    if isinstance(value, list):
        parts = list(_resolved(schemas, root))
        return [_ordered(item, _of_place(place, parts), root) for place, item in enumerate(value)]
    return value


def _of_key(key: str, parts: list[Mapping[str, Any]]) -> tuple[Any, ...]:
    own = tuple(_mapping(part, "properties")[key] for part in parts if key in _mapping(part, "properties"))
    return own or tuple(part["additionalProperties"] for part in parts if "additionalProperties" in part)


def _of_place(place: int, parts: list[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(_first_items(part)[place] if place < len(_first_items(part)) else part.get("items") for part in parts)


def _first_items(part: Mapping[str, Any]) -> list[Any]:
    found = part.get("prefixItems")
    return found if isinstance(found, list) else []


def _resolved(schemas: tuple[Any, ...], root: Any) -> Iterator[Mapping[str, Any]]:
    """The schemas, and those that they combine or refer to."""
    queue, seen = list(schemas), 0
    while queue and seen < _MAX_STEPS:
        part, seen = queue.pop(0), seen + 1
        if not isinstance(part, Mapping):
            continue
        yield part
        if isinstance(part.get("$ref"), str):
            queue.append(_at(part["$ref"], root))
        queue += [inner for name in _COMBINED if isinstance(part.get(name), list) for inner in part[name]]
        queue += [part[name] for name in _ONE_OF_THEM if name in part]


def _at(reference: str, root: Any) -> Any:
    """What a local reference (`#/$defs/name`) names; None when there is nothing."""
    found = root
    for step in unquote(reference.removeprefix("#")).split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _mapping(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = part.get(name)
    return found if isinstance(found, Mapping) else {}
