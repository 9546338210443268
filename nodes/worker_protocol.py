"""What both ends of the worker socket must agree on before anything else is said: version and close codes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

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


@dataclass(frozen=True)
class StartPlace:
    """Where a worker starts runs when it is asked.

    Attributes:
        queue: The task queue that its workflow worker polls.
        namespace: The id of the Temporal namespace: another server may have one of the same name.
    """

    queue: str
    namespace: str


STARTED = "started"
NOT_STARTED = "not_started"
STOPPING = "stopping"
"""A worker's answers to the request to start a run. One that is stopping starts no more."""
MAX_START_BYTES = 256_000
"""Of one such request. A larger one would hold up what else travels on the socket."""
MAX_STARTS = 64
"""Such requests that a worker may owe the answer to."""

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
