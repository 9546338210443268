"""JSON as model servers write it: with NaN, and with halves of UTF-16 pairs that a later piece may complete. Pure."""

from __future__ import annotations

import json
from typing import Any

import orjson

_MAX_DIGITS = 20
MAX_CONTAINERS = 1_000_000
"""Objects and lists in one JSON text. Tens of thousands of tokens with all their probabilities have fewer; twenty
million empty ones fit into what a body may have, and take seconds and gigabytes."""
_SMALL = 2 * MAX_CONTAINERS


def parsed(text: str | bytes) -> Any:
    """The value of JSON text; halves of UTF-16 pairs stay as they are.

    Raises:
        ValueError: It is none, nested too deeply, or has more than `MAX_CONTAINERS` objects and lists.
    """
    if len(text) > _SMALL and _containers(text) > MAX_CONTAINERS:
        raise ValueError(f"it has more than {MAX_CONTAINERS} objects and lists")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text, parse_int=_integer)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _containers(text: str | bytes) -> int:
    """At most so many objects and lists are in it: brackets in its texts count, too."""
    return text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")


def _integer(digits: str) -> int | float:
    # Longer ones are not converted exactly: that takes the square of their length.
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
