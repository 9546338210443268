"""JSON as model servers write it: with NaN, and with halves of UTF-16 pairs that a later piece may complete. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

_MAX_DIGITS = 20
_MAX_COUNT = 10**12
MAX_CONTAINERS = 1_000_000
"""Objects and lists in one JSON text. Tens of thousands of tokens with all their probabilities have fewer; twenty
million empty ones fit into what a body may have, and take seconds and gigabytes."""
_SMALL = 2 * MAX_CONTAINERS
_DETAILS = (
    ("prompt_tokens_details", "cached_tokens"),
    ("completion_tokens_details", "reasoning_tokens"),
)


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


def count(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_COUNT:
        return None
    return int(value)


def token_counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage in the form of `ChatResponse.usage`, of what is given in OpenAI's: counts only, as integers."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts: dict[str, Any] = {name: found for name in names if (found := count(usage.get(name))) is not None}
    if "total_tokens" not in counts and {"prompt_tokens", "completion_tokens"} <= counts.keys():
        counts["total_tokens"] = counts["prompt_tokens"] + counts["completion_tokens"]
    for group, name in _DETAILS:
        details = usage.get(group)
        found = count(details.get(name)) if isinstance(details, Mapping) else None
        if found is not None:
            counts[group] = {name: found}
    cached = count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
    if cached is not None and "prompt_tokens_details" not in counts:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    return counts
