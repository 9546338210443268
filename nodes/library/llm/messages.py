"""Chat histories in both forms that graphs carry: JSON text and native lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import InvalidJson, TooDeep, read_json
from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.history.carried import without_carried

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def is_message(value: Any) -> bool:
    """A message is an object with `role` and `content`; further fields are kept."""
    return isinstance(value, Mapping) and "role" in value and "content" in value


def read_history(value: Any, slot: str) -> list[dict[str, Any]]:
    """Read a history from JSON text, a list, or one message. Nothing and blank text are an empty history.

    Raises:
        NodeInputError: It is no JSON, or holds something that is no message. Names the slot and the place.
    """
    items = _parse_history(value, slot)
    if isinstance(items, Mapping):
        items = [items]
    if not isinstance(items, list):
        raise NodeInputError(f"{slot!r} must be a list of messages or its JSON text, found {kind_of(items)}")
    return [_check(item, slot, index) for index, item in enumerate(items)]


def _parse_history(value: Any, slot: str) -> Any:
    if value is None:
        return []
    if not isinstance(value, str):
        return value
    if not value.strip():
        return []
    try:
        return read_json(value)
    except TooDeep:
        raise NodeInputError(f"{slot!r} is nested too deeply") from None
    except InvalidJson as error:
        place = "" if error.position is None else f" at character {error.position[2]}"
        raise NodeInputError(f"{slot!r} is not valid JSON{place}; a history looks like {_EXAMPLE}") from None


def _check(item: Any, slot: str, index: int) -> dict[str, Any]:
    # A call of tools may come without content, as providers write it.
    if not is_message(item) and not (isinstance(item, Mapping) and "role" in item and item.get("tool_calls")):
        raise NodeInputError(f"{slot!r}: item {index} is no message; a message has 'role' and 'content'")
    if item["role"] not in ROLES:
        raise NodeInputError(f"{slot!r}: item {index} has an unknown role; roles are {', '.join(ROLES)}")
    if not isinstance(item.get("content"), str | list | None):
        raise NodeInputError(f"{slot!r}: item {index}: 'content' must be text, a list of parts, or null")
    return without_carried(item)


_EXAMPLE = '[{"role": "user", "content": "Hi"}]'
