"""Reads the body of an HTTP answer; called in the process of `services.scripts`."""

from __future__ import annotations

import codecs
import re
from typing import Any

from innkeeper.nodes.json_values import MAX_VALUE_DEPTH, InvalidJson, read_json

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
        # Of another server: nested deeper than what people write, as syntax trees and threads of comments are.
        return read_json(body, max_depth=MAX_VALUE_DEPTH)
    except InvalidJson:
        return None
