"""Frames: what one of the log is about, told without parsing it (most are not of interest to who asks); and those of
the gateway itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from innkeeper.gateway.runs.view import FINAL
from innkeeper.gateway.store.runs import now_ms

HEAD_BYTES = 120
"""`{"seq":...,"ts":...,"type":"...",` fits into them."""
_TYPE = b'"type":"'


def is_of_type(frame: bytes, kind: str) -> bool:
    """Is this an event of that type?"""
    # The first key of this name is the event's own: what a user wrote comes behind it.
    return frame[:HEAD_BYTES].partition(_TYPE)[2].startswith(kind.encode() + b'"')


def is_final(frame: bytes) -> bool:
    """Does this event end its run?"""
    if not is_of_type(frame, "EXECUTION_STATUS_UPDATE"):
        return False
    return orjson.loads(frame)["payload"].get("status") in FINAL


def without_number(frame: bytes) -> bytes:
    """The event with `seq` null: one that comes with gaps must not count as a place in the log.

    A client that is about to subscribe would skip what lies before it.
    """
    return b'{"seq":null' + frame[frame.index(b",") :]


def own_frame(kind: str, payload: Mapping[str, Any]) -> bytes:
    """A message of the gateway itself: it belongs to no log, so it has no number."""
    return orjson.dumps({"seq": None, "ts": now_ms(), "type": kind, "payload": payload})
