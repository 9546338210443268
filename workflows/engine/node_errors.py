"""What the interpreter keeps of a node's error: text that JSON can hold, and no more than a run can carry. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

MAX_MESSAGE_CHARS = 10_000
MAX_CODE_CHARS = 200
MAX_DETAILS_BYTES = 64_000
"""JSON of an error's details. They travel in the node table, in results, and to who handles the error."""
MAX_SUMMARY_CHARS = 1_000
"""Of a message in the list of a run's failed nodes; their own entries have it whole."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = range(-(2**63), 2**64)


def bounded(error: Mapping[str, Any]) -> dict[str, Any]:
    """The error with a message, a code and details of bounded size; details that are larger say how large they were."""
    kept = {**error, "message": text_of(error.get("message"), MAX_MESSAGE_CHARS)}
    if isinstance(error.get("code"), str):
        kept["code"] = text_of(error["code"], MAX_CODE_CHARS)
    if error.get("details"):
        kept["details"] = _details(error["details"])
    return kept


def json_size(value: Any) -> int:
    """Bytes of JSON, also of what orjson refuses, as an error that nobody has bounded yet may be."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(json.dumps(value, default=str))


def text_of(value: Any, limit: int) -> str:
    """The beginning of a text, with U+FFFD for halves of surrogate pairs, which no UTF-8 can hold."""
    return _SURROGATE.sub("\ufffd", "" if value is None else str(value)[:limit])


def _details(details: Any) -> Any:
    try:
        size = len(orjson.dumps(details))
    except TypeError:
        return _details_of_any(details)
    return details if size <= MAX_DETAILS_BYTES else _omitted(f"they have {size} bytes")


def _details_of_any(details: Any) -> Any:
    """Details with something that orjson refuses: broken text, a great number, or too many levels."""
    try:
        clean = _clean(details)
        size = len(orjson.dumps(clean))
    except (TypeError, RecursionError):
        return _omitted("they are no plain JSON")
    return clean if size <= MAX_DETAILS_BYTES else _omitted(f"they have {size} bytes")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return text_of(value, len(value))
    if isinstance(value, Mapping):
        return {text_of(key, MAX_DETAILS_BYTES): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return str(value)
    return value


def _omitted(why: str) -> dict[str, str]:
    return {"omitted": f"the details were left out: {why}; the limit is {MAX_DETAILS_BYTES}"}
