"""What the interpreter keeps of a node's error: text that JSON can hold, and no more than a run can carry. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from innkeeper.nodes.json_values import NotJsonData, json_size, mended, whole_text
from innkeeper.workflows.sdk_errors import worded

MAX_MESSAGE_CHARS = 10_000
MAX_CODE_CHARS = 200
MAX_DETAILS_BYTES = 64_000
"""JSON of an error's details. They travel in the node table, in results, and to who handles the error."""
MAX_SUMMARY_CHARS = 1_000
"""Of a message in the list of a run's failed nodes; their own entries have it whole."""


def bounded(error: Mapping[str, Any]) -> dict[str, Any]:
    """The error with a message, a code and details of bounded size; details that are larger say how large they were."""
    message, code = text_of(error.get("message"), MAX_MESSAGE_CHARS), error.get("code")
    kept = {**error, "message": message}
    if isinstance(code, str):
        kept["message"], kept["code"] = worded(message, text_of(code, MAX_CODE_CHARS))
    if error.get("details"):
        kept["details"] = _details(error["details"])
    return kept


def text_of(value: Any, limit: int) -> str:
    """The beginning of a text, with U+FFFD for halves of surrogate pairs, which no UTF-8 can hold."""
    return whole_text("" if value is None else str(value)[:limit])


def _details(details: Any) -> Any:
    try:
        size = len(orjson.dumps(details))
        clean = details
    except TypeError:  # broken text, a great number, or too many levels
        try:
            clean = mended(details)
        except NotJsonData:
            return _omitted("they are no plain JSON")
        size = json_size(clean)
    return clean if size <= MAX_DETAILS_BYTES else _omitted(f"they have {size} bytes")


def _omitted(why: str) -> dict[str, str]:
    return {"omitted": f"the details were left out: {why}; the limit is {MAX_DETAILS_BYTES}"}
