"""What a node says (progress, log lines, errors, values) in a form that every reader can take.

A node may hand over anything: values of its own classes, numbers that JSON has no words for, megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

import orjson

from innkeeper.nodes.json_values import whole_text
from innkeeper.nodes.node import MAX_WARNING_CHARS, MAX_WARNING_CODE_CHARS, MAX_WARNINGS

MAX_MESSAGE_CHARS = 10_000
MAX_CODE_CHARS = 100
MAX_DETAILS_BYTES = 64 * 1024
MAX_DEPTH = 50
_OMITTED = {"note": f"details of more than {MAX_DETAILS_BYTES} bytes of JSON, or that cannot be read, are left out"}


def finite_number(value: object) -> float | None:
    """A number as JSON can hold it; None for what is none: NaN, infinity, true and false, texts, anything else."""
    if isinstance(value, bool | str | bytes | bytearray):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # also numbers of other libraries, which JSON does not know
    except Exception:  # whatever the `__float__` of a node's own class does
        return None
    if not math.isfinite(number):
        return None
    return value if type(value) is int and abs(value) < 2**53 else number  # beyond that, readers lose digits


def printable(value: object, limit: int = MAX_MESSAGE_CHARS) -> str:
    """Any value as a text of at most `limit` characters; lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # whatever the `__str__` of a node's own class does
        text = type(value).__name__
    return whole_text(text[:limit])


def error_code(value: object) -> str:
    """A node's own error code; `node_failed` for what is no text, or an empty one."""
    return (printable(value, MAX_CODE_CHARS) if isinstance(value, str) else "") or "node_failed"


def json_details(value: object) -> dict[str, Any]:
    """An object of JSON data of at most `MAX_DETAILS_BYTES`; for what is larger or cannot be read, a note."""
    try:
        details = _Details().copied(value)
        if isinstance(details, dict) and len(orjson.dumps(details)) <= MAX_DETAILS_BYTES:
            return details
    except Exception:  # too large, or a container of a node's own class that cannot be gone through
        pass
    return dict(_OMITTED)


def warnings_of(told: Iterable[object]) -> list[dict[str, str]]:
    """The warnings of a node, which may have put into its list what `NodeContext.warn` would not."""
    proper = [item for item in told if isinstance(item, Mapping)][:MAX_WARNINGS]
    return [
        {
            "code": printable(item.get("code", "warning"), MAX_WARNING_CODE_CHARS),
            "message": printable(item.get("message", ""), MAX_WARNING_CHARS),
        }
        for item in proper
    ]


class _TooLargeError(Exception):
    """The details are larger than allowed."""


class _Details:
    """Copies values to JSON data, and gives up as soon as they are too large: a copy must not cost more than that."""

    def __init__(self) -> None:
        self._left = MAX_DETAILS_BYTES

    def copied(self, value: object, depth: int = 0) -> Any:
        self._spend(1)
        if depth > MAX_DEPTH:
            raise _TooLargeError
        if isinstance(value, Mapping):
            return {self._text(key): self.copied(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | Set):
            return [self.copied(item, depth + 1) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return finite_number(value)
        return self._text(value)

    def _text(self, value: object) -> str:
        text = printable(value, MAX_DETAILS_BYTES + 1)
        self._spend(len(text))
        return text

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooLargeError
