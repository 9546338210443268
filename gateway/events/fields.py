"""Fields of messages that come from outside: each is read here, or refused with ValueError."""

from __future__ import annotations

import math
from typing import Any

Epoch = tuple[int, int]
MAX_COUNT = 2**53
"""What every reader of JSON can count to."""


def epoch_of(value: Any) -> Epoch:
    """`[attempt, generation]`."""
    attempt, generation = value
    return count_of(attempt), count_of(generation)


def count_of(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"expected an integer from 0, not {str(value)[:50]!r}")
    return value


def text_of(value: Any, most: int = 100_000) -> str:
    """A text that is not empty and has at most so many characters."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise ValueError(f"expected a text of 1 to {most} characters")
    return value


def number_of(value: Any) -> float:
    """A number that is finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, not {str(value)[:50]!r}")
    return value


def object_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return value
