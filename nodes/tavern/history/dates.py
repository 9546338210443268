"""When a message was sent, in all the ways it has been written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_STAMP = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2}) ?@ ?(\d{1,2})h ?(\d{1,2})m ?(\d{1,2})s(?: ?\d{1,3}ms)?")
_ENGLISH = re.compile(r"([A-Za-z]{3,9}) (\d{1,2}), (\d{4}) (\d{1,2}):(\d{2}) ?([ap]m)", re.IGNORECASE)
_DIGITS = re.compile(r"\d{9,16}")


def sent_at(value: Any) -> datetime | None:
    """The time of a `send_date`; None when it cannot be told.

    ISO texts and numbers (milliseconds; seconds when so small) carry their zone. Old texts (`July 4, 2023 3:05pm`,
    `2023-7-4@15h05m01s`) are local time of the writer, so they come without one.
    """
    try:
        if isinstance(value, str):
            return _from_text(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _from_number(float(value))
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _from_number(number: float) -> datetime:
    return datetime.fromtimestamp(number / 1000 if number >= 1e11 else number, UTC)


def _from_text(text: str) -> datetime | None:
    if _DIGITS.fullmatch(text):
        return _from_number(float(text))
    if found := _STAMP.fullmatch(text):
        year, month, day, hour, minute, second = map(int, found.groups())
        return datetime(year, month, day, hour, minute, second)
    if found := _ENGLISH.fullmatch(text):
        return _from_english(found)
    return datetime.fromisoformat(text)


def _from_english(found: re.Match[str]) -> datetime:
    month, day, year, hour, minute, half = found.groups()
    number = _MONTHS.index(month[:3].lower()) + 1
    return datetime(int(year), number, int(day), int(hour) % 12 + 12 * (half.lower() == "pm"), int(minute))
