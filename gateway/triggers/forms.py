"""Names and values of forms and query strings. Nothing is lost: repeated names become lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from innkeeper.nodes.json_values import InvalidJson, read_json


class TooManyFields(ValueError):
    """A form or query has more fields than allowed."""


def read_urlencoded(data: bytes, max_fields: int) -> dict[str, str | list[str]]:
    """The fields of a form or query string; bytes that are no UTF-8 become U+FFFD.

    Raises:
        TooManyFields: There are more than `max_fields`.

    Example:
        >>> read_urlencoded(b"a=1&b=2&b=3&c%5B%5D=4", 10)
        {'a': '1', 'b': ['2', '3'], 'c': ['4']}
    """
    # Not `parse_qsl`: it takes bytes only when they are ASCII, and as Latin-1 text it needs 4 s for 5 MB of escapes.
    if data.count(b"&") >= max_fields:
        raise TooManyFields(f"more than {max_fields} fields")
    pairs = (piece.partition(b"=") for piece in data.split(b"&") if piece)
    return fields_of((_text(name), _text(value)) for name, _, value in pairs)


def _text(escaped: bytes) -> str:
    return unquote_to_bytes(escaped.replace(b"+", b" ")).decode("utf-8", "replace")


def fields_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """One value as text, several as a list; a name that ends in `[]` is always a list, and loses the brackets."""
    values: dict[str, list[str]] = {}
    lists = set()
    for name, value in pairs:
        plain = name.removesuffix("[]") or name
        if plain != name:
            lists.add(plain)
        values.setdefault(plain, []).append(value)
    return {name: found if len(found) > 1 or name in lists else found[0] for name, found in values.items()}


def with_payload_read(fields: dict[str, str | list[str]], max_depth: int) -> dict[str, Any]:
    """The fields, with `payload` as an object when it is the JSON of one, as Slack and GitHub send it in forms."""
    text = fields.get("payload")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return dict(fields)
    try:
        return {**fields, "payload": read_json(text, max_depth=max_depth)}
    except InvalidJson:
        return dict(fields)
