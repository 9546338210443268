"""The bound on chunks that wait for their acknowledgement, and the gaps that it leaves in streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from innkeeper.activities.link.node_attempt import NodeAttempt

MAX_STREAM_PENDING = 4_000_000
"""Bytes of one stream that are not acknowledged."""
MAX_PENDING = 64_000_000
"""Bytes of all streams of this worker together."""

Gap = tuple[int, int]
"""First and last chunk that were dropped."""


@dataclass(slots=True)
class _Stream:
    pending: int = 0
    gap: Gap | None = None

    @property
    def is_idle(self) -> bool:
        return self.pending <= 0 and self.gap is None


class StreamLimits:
    """Counts the bytes of each attempt's stream that are not acknowledged, and remembers what was dropped meanwhile.

    A stream is forgotten once nothing of it is pending and no gap is left to report.
    """

    def __init__(self) -> None:
        self._streams: dict[NodeAttempt, _Stream] = {}
        self._pending = 0
        self._removed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def pending(self) -> int:
        """Bytes of all streams that are not acknowledged."""
        return self._pending

    def has_room(self, attempt: NodeAttempt) -> bool:
        """May another chunk of this stream join what is pending?"""
        stream = self._streams.get(attempt)
        return (stream is None or stream.pending <= MAX_STREAM_PENDING) and self._pending <= MAX_PENDING

    async def wait_for_room(self, attempt: NodeAttempt) -> None:
        while not self.has_room(attempt):
            self._removed.clear()
            await self._removed.wait()

    def drop(self, attempt: NodeAttempt, index: int) -> None:
        """Remember that chunk `index` was dropped. Chunks come in order, so that a gap only grows at its end."""
        stream = self._streams.setdefault(attempt, _Stream())
        stream.gap = (stream.gap[0] if stream.gap else index, index)

    def take_gap(self, attempt: NodeAttempt) -> Gap | None:
        """What was dropped since the last chunk that was sent; asked once, because it is reported once."""
        stream = self._streams.get(attempt)
        if stream is None:
            return None
        gap, stream.gap = stream.gap, None
        return gap

    def add(self, attempt: NodeAttempt, size: int) -> None:
        """Count a chunk of `size` bytes that was queued."""
        stream = self._streams.get(attempt)
        if stream is None:
            stream = self._streams[attempt] = _Stream()
        stream.pending += size
        self._pending += size

    def remove(self, attempt: NodeAttempt, size: int) -> None:
        """Count a chunk of `size` bytes that was acknowledged."""
        self._pending -= size
        self._removed.set()
        stream = self._streams.get(attempt)
        if stream is not None:
            stream.pending -= size
            if stream.is_idle:
                del self._streams[attempt]

    def forget_idle(self, attempt: NodeAttempt) -> None:
        """Forget the stream if there is nothing left to know of it."""
        stream = self._streams.get(attempt)
        if stream is not None and stream.is_idle:
            del self._streams[attempt]
