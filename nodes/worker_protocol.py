"""What both ends of the worker socket must agree on before anything else is said: version and close codes."""

from __future__ import annotations

import hashlib
import hmac

PROTOCOL_VERSION = 1
"""The version that this code speaks. It rises when frames change so that an older peer would misread them."""
VERSION_BEFORE_FIELD = 1
"""The version of workers whose hello does not name one: they are older than the field."""

MALFORMED = 4400
WRONG_TOKEN = 4401
OUT_OF_ORDER = 4409
UNSUPPORTED_VERSION = 4426
TOO_LARGE = 1009
RESTARTING = 1012

MAX_REASON_BYTES = 123
"""A WebSocket close frame has 125 bytes; two of them are the code."""


def version_refusal(version: int) -> str | None:
    """Why a gateway of this version cannot serve a worker of that `version`; None when it can.

    The text goes into a close frame: it stays below `MAX_REASON_BYTES` for any 64-bit number.
    """
    if version == PROTOCOL_VERSION:
        return None
    older = "gateway" if version > PROTOCOL_VERSION else "worker"
    return f"worker speaks protocol {version}, gateway speaks {PROTOCOL_VERSION}; upgrade the {older}"


def demo_token(worker_token: str) -> str:
    """What a worker shows the demo model of its gateway: good for that alone, and tells nothing of its own token."""
    return hmac.new(worker_token.encode(), b"innkeeper demo model", hashlib.sha256).hexdigest()
