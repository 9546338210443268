"""Spans and moments as users write them. Pure: no clock is read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

MAX_WAIT_S = 10 * 366 * 86_400.0
"""Ten years: more is a mistake in the unit."""


def seconds_of(value: Any) -> float:
    """A span of time. Raises ValueError saying what it must be."""
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds):
        raise ValueError("must be a number of seconds")
    if not 0 <= seconds <= MAX_WAIT_S:
        raise ValueError(f"must be from 0 to {MAX_WAIT_S:.0f} seconds")
    return seconds


def moment_of(value: Any) -> float:
    """A moment, as ISO 8601 or a number, in seconds since 1970. Raises ValueError saying what it must be."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).timestamp()
        moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError("must be a moment such as '2030-01-31T08:00:00Z', or seconds since 1970") from None
