"""Moments as clients see them."""

from __future__ import annotations

import datetime


def iso(milliseconds: float) -> str:
    """A moment of ours (since 1970) as clients see it: ISO 8601 in UTC with milliseconds."""
    return iso_of(datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC))


def iso_of(moment: datetime.datetime) -> str:
    """A moment of any zone, in the same form."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 moment."""
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)
