"""Reads the body of an HTTP answer; called in the process of `services.scripts`."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any

_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)


def read_body(content_type: str, data: bytes = b"") -> dict[str, Any]:
    """The answer's `body` as text, and `json`, null when it is none.

    Bytes that are no text in its character set (UTF-8 when none is named) become U+FFFD.
    """
    body = data.decode(_charset(content_type), errors="replace")
    return {"body": body, "json": _json(body, content_type)}


def _charset(content_type: str) -> str:
    found = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(found[1]).name if found else "utf-8"
        # Some of Python's codecs are no character sets ("zip").
        "x".encode(name)
    except (LookupError, UnicodeError, ValueError):
        name = "utf-8"
    # The mark that some files begin with is no part of the text, and no JSON.
    return "utf-8-sig" if name == "utf-8" else name


def _json(body: str, content_type: str) -> Any:
    if "json" not in content_type.lower() and not body.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(name: str) -> float:
    raise ValueError(name)
