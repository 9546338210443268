"""What people are shown of something that came: cut short, and without what looks secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

MAX_BYTES = 4_000
MAX_TEXT_CHARS = 200
MAX_ITEMS = 20
MAX_DEPTH = 6
HIDDEN = "[hidden]"
CUT = "[cut]"
_SECRET = re.compile(
    r"passw|passphrase|secret|token|api[-_.]?key|auth|credential|cookie|session|signature|private|^key$|^pin$|otp|jwt",
    re.IGNORECASE,
)


def sample_of(payload: Any) -> str:
    """JSON text of at most MAX_BYTES bytes. Never raises for JSON data.

    Example:
        >>> sample_of({"body": {"user": "a", "password": "b"}})
        '{"body":{"user":"a","password":"[hidden]"}}'
    """
    for items in (MAX_ITEMS, 5, 2):
        text = orjson.dumps(_shortened(payload, items, MAX_DEPTH), option=orjson.OPT_NON_STR_KEYS)
        if len(text) <= MAX_BYTES:
            return text.decode()
    return orjson.dumps(CUT).decode()


def _shortened(value: Any, items: int, depth: int) -> Any:
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT_CHARS else f"{value[:MAX_TEXT_CHARS]}…"
        return text.encode("utf-8", "replace").decode()  # half a character is no JSON
    if isinstance(value, Mapping):
        if depth == 0:
            return CUT
        shown = {_shortened(str(key), items, 0): _entry(key, entry, items, depth) for key, entry in
                 list(value.items())[:items]}  # fmt: skip
        return {**shown, "…": f"{len(value) - items} more"} if len(value) > items else shown
    if isinstance(value, list | tuple):
        if depth == 0:
            return CUT
        listed = [_shortened(entry, items, depth - 1) for entry in value[:items]]
        return [*listed, f"… {len(value) - items} more"] if len(value) > items else listed
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return str(value)[:MAX_TEXT_CHARS]
    return value


def _entry(key: Any, entry: Any, items: int, depth: int) -> Any:
    if entry is not None and not isinstance(entry, bool) and _SECRET.search(str(key)):
        return HIDDEN
    return _shortened(entry, items, depth - 1)
