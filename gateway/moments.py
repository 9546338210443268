"""Moments as clients see them."""

from __future__ import annotations

import datetime


def iso(milliseconds: int) -> str:
    """A moment of ours as clients see it: ISO 8601 in UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 moment."""
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)
