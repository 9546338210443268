"""How long a provider asks to wait: in headers, in the body of its error, or in its words. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

MIN_WAIT_S = 1.0
"""A wait is not counted as a failure, so none may spin."""
MAX_WAIT_S = 86_400.0
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?")
_MILLISECONDS = re.compile(r"(\d+(?:\.\d+)?)ms")
_AGAIN_IN = re.compile(
    r"(?i)\b(?:try again|retry|wait|available)\b[^.\d]{0,40}?(\d+(?:\.\d+)?)\s*"
    r"(ms|milliseconds?|s\b|sec\b|seconds?|m\b|min\b|minutes?|h\b|hours?)"
)
_UNITS = (("ms", 0.001), ("milli", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0))
_RESET = re.compile(r"(?:x-|anthropic-)?ratelimit(?:-[a-z-]+)?-reset(?:-[a-z-]+)?|(?:x-)?ratelimit-reset(?:-[a-z-]+)?")
_EPOCH_S, _EPOCH_MS = 1e9, 1e12


def retry_hint(headers: Mapping[str, str], body: object, now: datetime) -> float | None:
    """Seconds to wait, between 1 and 86,400; None when nothing usable is said.

    Args:
        headers: With names in lower case.
        body: The error as JSON, or as text.
    """
    # By the server's own clock, if it tells it: this machine's may be a day off.
    now = _date(headers.get("date")) or now
    for seconds in _hints(headers, body, now):
        if seconds is not None:
            return min(max(seconds, MIN_WAIT_S), MAX_WAIT_S)
    return None


def rate_limit_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that tell of limits, as `CallEnd.headers`."""
    return {name: value[:200] for name, value in headers.items() if "ratelimit" in name or "retry-after" in name}


def _hints(headers: Mapping[str, str], body: object, now: datetime) -> Iterator[float | None]:
    milliseconds = _number(headers.get("retry-after-ms"))
    yield None if milliseconds is None else milliseconds / 1000
    yield _moment(headers.get("retry-after"), now)
    yield from _of_body(body)
    yield _of_resets(headers, now)


def _of_resets(headers: Mapping[str, str], now: datetime) -> float | None:
    """The reset of the limit that is used up; the nearest one when none says that it is."""
    found = [(name, _moment(value, now)) for name, value in headers.items() if _RESET.fullmatch(name)]
    resets = [(name, seconds) for name, seconds in found if seconds is not None]
    used_up = [s for name, s in resets if _number(headers.get(name.replace("reset", "remaining"))) == 0]
    return max(used_up) if used_up else min((seconds for _, seconds in resets), default=None)


def _of_body(body: object) -> Iterator[float | None]:
    inner: Any = body[0] if isinstance(body, list) and body else body
    if isinstance(inner, Mapping):
        yield _number(inner.get("estimated_time"))  # Hugging Face, of a model that is being loaded
        error = inner.get("error")
        inner = error if error else inner
    if isinstance(inner, Mapping):
        details = inner.get("details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, Mapping):
                yield duration_s(detail.get("retryDelay"))
        yield _number(inner.get("retry_after"))
        inner = inner.get("message")
    yield _of_words(inner) if isinstance(inner, str) else None


def _of_words(text: str) -> float | None:
    match = _AGAIN_IN.search(text[:2_000])
    if match is None:
        return None
    unit = match[2].lower()
    return float(match[1]) * next(factor for start, factor in _UNITS if unit.startswith(start))


def duration_s(text: object) -> float | None:
    """Seconds of `1s`, `6m0s`, `250ms`, `37.5s`; None for anything else."""
    if not isinstance(text, str) or not text:
        return None
    if match := _MILLISECONDS.fullmatch(text.strip()):
        return _finite(float(match[1]) / 1000)
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    factors = (86_400.0, 3_600.0, 60.0, 1.0)
    return _finite(sum(float(part or 0) * factor for part, factor in zip(match.groups(), factors, strict=True)))


def _moment(text: str | None, now: datetime) -> float | None:
    """Seconds until what a header names: seconds, a duration, or a moment as a date or as a number."""
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_S:
            return max(number / (1000 if number >= _EPOCH_MS else 1) - now.timestamp(), 0.0)
        return number
    duration = duration_s(text)
    if duration is not None:
        return duration
    when = _date(text) or _iso_date(text)
    return None if when is None else max((when - now).total_seconds(), 0.0)


def _date(text: str | None) -> datetime | None:
    try:
        when = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _iso_date(text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _number(value: object) -> float | None:
    """A number of at least 0, also one that is a text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return _finite(float(value))
    except (ValueError, OverflowError):
        return None


def _finite(value: float) -> float | None:
    # `nan` and `inf` are floats too.
    return value if math.isfinite(value) and 0 <= value < 1e15 else None
