"""Counts of tokens in OpenAI's shape, the form of `ChatResponse.usage`, which all protocols are brought into. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
DETAILS = {"prompt_tokens_details": "cached_tokens", "completion_tokens_details": "reasoning_tokens"}
"""Group to the count in it: a part of the prompt, and of the completion."""
MAX_COUNT = 10**12
"""A graph or a provider may say any number; sums of these fit everywhere."""


def count(value: object) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return int(value)


def token_counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage in the form of `ChatResponse.usage`, of what is given in OpenAI's: counts only, as integers."""
    counts: dict[str, Any] = {name: found for name in COUNTS if (found := count(usage.get(name))) is not None}
    if "total_tokens" not in counts and {"prompt_tokens", "completion_tokens"} <= counts.keys():
        counts["total_tokens"] = counts["prompt_tokens"] + counts["completion_tokens"]
    for group, name in DETAILS.items():
        details = usage.get(group)
        found = count(details.get(name)) if isinstance(details, Mapping) else None
        if found is not None:
            counts[group] = {name: found}
    cached = count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
    if cached is not None and "prompt_tokens_details" not in counts:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    return counts
