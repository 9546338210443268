"""Spans and moments as users write them. Pure: no clock is read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
    """A moment in seconds since 1970: ISO 8601, also with the name of a zone behind it, or a number.

    Without a zone it is UTC. Of two moments that a clock shows alike when summer time ends, the first counts.

    Raises:
        ValueError: Says what it must be.

    Example:
        >>> moment_of("2030-01-31 09:00 Europe/Berlin") == moment_of("2030-01-31t08:00:00z")
        True
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).timestamp()
        return _moment(str(value).strip()).timestamp()
    except ZoneInfoNotFoundError:
        raise ValueError("names a time zone that is not known; one looks like 'Europe/Berlin'") from None
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            "must be a moment such as '2030-01-31T08:00:00Z' or '2030-01-31 09:00 Europe/Berlin', or seconds since 1970"
        ) from None


def _moment(text: str) -> datetime:
    """Raises ValueError, ZoneInfoNotFoundError."""
    written, zone = _without_zone(text)
    moment = datetime.fromisoformat(written.strip().upper())
    if moment.tzinfo is not None:  # with a zone's name beside it the offset counts, as RFC 9557 has it
        return moment
    return moment.replace(tzinfo=ZoneInfo(zone) if zone else UTC)


def _without_zone(text: str) -> tuple[str, str]:
    """The moment and the name of its zone, which stands behind it: `... Europe/Berlin` or `...[Europe/Berlin]`."""
    if text.endswith("]"):
        moment, _, zone = text[:-1].partition("[")
        return moment, zone
    moment, space, zone = text.rpartition(" ")
    return (moment, zone) if space and zone[:1].isalpha() else (text, "")
