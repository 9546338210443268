"""Messages on their way to the gateway: numbered, kept until they are acknowledged, sent again after a reconnect."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.nodes.errors import InvalidNode

MAX_FRAME = 1_000_000
"""Bytes of messages gathered into one frame; the gateway takes 8 MB."""
MAX_MESSAGE = 4_000_000
"""Bytes of one message: with others it must fit a frame of 8 MB, or it would be refused and resent for ever."""

MAX_WAITING = 32_000_000
"""Bytes of messages beside chunks (which have a bound of their own) from which on only the indispensable joins them."""


class QueuedMessage(NamedTuple):
    """One encoded message. `stream`: whose chunk it is; None when it is no chunk."""

    n: int
    data: bytes
    stream: NodeAttempt | None = None


class OutgoingQueue:
    """The messages that are not acknowledged yet, by ascending number. Numbers rise for the life of the process.

    Attributes:
        in_frame: How many messages went into the frame made last.
    """

    def __init__(self) -> None:
        self._messages: deque[QueuedMessage] = deque()
        self._sent = 0  # messages at the front that are on their way in this connection
        self._next_n = 1
        self._waiting = 0
        self.in_frame = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def has_room(self) -> bool:
        """Is little enough waiting that a message may join it whose loss can be made good?"""
        return self._waiting <= MAX_WAITING

    @property
    def last_n(self) -> int:
        """The number of the newest message; 0 before the first."""
        return self._next_n - 1

    def append(self, message: dict[str, Any], stream: NodeAttempt | None = None) -> QueuedMessage:
        """Number a message and keep it.

        Raises:
            InvalidNode: It is not JSON data, or too large. No number is used up.
        """
        queued = QueuedMessage(self._next_n, _encode({"n": self._next_n, **message}), stream)
        self._next_n += 1
        self._messages.append(queued)
        self._waiting += _weight(queued)
        return queued

    def next_batch(self) -> list[bytes]:
        """The messages that go into the next frame: all that is unsent, up to `MAX_FRAME`, but at least one."""
        batch: list[bytes] = []
        size = 0
        while self._sent < len(self._messages) and (not batch or size < MAX_FRAME):
            data = self._messages[self._sent].data
            batch.append(data)
            size += len(data)
            self._sent += 1
        self.in_frame = len(batch)
        return batch

    def resend_all(self) -> None:
        """Begin at the front again: what was sent on an earlier connection may not have arrived."""
        self._sent = 0

    def acknowledge(self, n: int) -> Iterator[QueuedMessage]:
        """Drop the messages up to and including `n`, one by one."""
        while self._messages and self._messages[0].n <= n:
            self._sent = max(0, self._sent - 1)
            message = self._messages.popleft()
            self._waiting -= _weight(message)
            yield message


def _weight(message: QueuedMessage) -> int:
    return len(message.data) if message.stream is None else 0


def _encode(message: dict[str, Any]) -> bytes:
    try:
        data = orjson.dumps(message)
    except TypeError as error:
        raise InvalidNode(f"what the node sent is not JSON data: {error}") from None
    if len(data) > MAX_MESSAGE:
        detail = f"a message of {len(data)} bytes is over the limit of {MAX_MESSAGE}; send smaller chunks"
        raise InvalidNode(detail, code="chunk_too_large")
    return data
