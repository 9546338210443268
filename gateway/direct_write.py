"""The short way of a message to a client's socket: past the layers of the app, when it can go out at once.

A server may offer it as an extension of ASGI, `WRITE_TEXT` in the scope: a function that writes a text message, given
as UTF-8, and says whether it did. Where it is not offered, or says no, a message goes the way that ASGI has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

WRITE_TEXT = "innkeeper.write_text"

Write = Callable[[bytes], bool]


def direct_write(scope: Mapping[str, Any]) -> Write:
    """The function that the server offers, else one that never writes."""
    offered: Write | None = scope.get("extensions", {}).get(WRITE_TEXT, {}).get("write")
    return offered or _never


def _never(text: bytes) -> bool:
    return False
