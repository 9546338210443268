"""The bounds of a JSON Schema that a user gives. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import TooDeep, check_depth, json_size

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_KEYWORDS = 4_000
"""Keys of all objects in a schema."""

_TEXT_FACTOR = 4
"""How much larger a text may be than the schema in it: people indent."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def check_size(value: object, slot: str) -> None:
    """Refuse a schema, or its text, that it would take long to look at. Raises NodeInputError."""
    try:
        size = len(value) // _TEXT_FACTOR if isinstance(value, str) else json_size(value)
    except (RecursionError, ValueError):
        raise NodeInputError(f"{slot!r} is nested too deeply") from None
    if size > MAX_SCHEMA_BYTES:
        raise NodeInputError(f"{slot!r} is larger than {MAX_SCHEMA_BYTES // 1024} KB")


def check_bounds(schema: Mapping[str, Any], slot: str) -> None:
    """Refuse what would take too much, or reach out of the schema.

    Raises:
        NodeInputError: It is too large or too deep, or a reference leaves it.
    """
    check_size(schema, slot)
    try:
        check_depth(schema, MAX_SCHEMA_DEPTH)
    except TooDeep:
        raise NodeInputError(f"{slot!r} is nested more than {MAX_SCHEMA_DEPTH} levels deep") from None
    keywords = 0
    for part in _parts(schema):
        keywords += len(part)
        if keywords > MAX_KEYWORDS:
            raise NodeInputError(f"{slot!r} has more than {MAX_KEYWORDS} keywords")
        _check_references(part, slot)
    if "object" not in _types(schema.get("type", "object")):
        raise NodeInputError(f"{slot!r} must describe an object; give a list a name: '{_LIST_EXAMPLE}'")


def _check_references(part: Mapping[str, Any], slot: str) -> None:
    for keyword in _REFERENCES:
        target = part.get(keyword)
        if isinstance(target, str) and not target.startswith("#"):
            raise NodeInputError(
                f"{slot!r}: {keyword!r} leads out of the schema; only references within it are taken, such as"
                " '#/$defs/name'"
            )


def _parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All objects in a schema, the data in it (`const`, `examples`) included."""
    stack: list[Any] = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _types(types: Any) -> tuple[Any, ...]:
    return tuple(types) if isinstance(types, list | tuple) else (types,)


_LIST_EXAMPLE = '{"type": "object", "properties": {"items": {"type": "array"}}}'
