"""One stream, read by a consumer node: what the log sends of it, in order, from whatever attempt is the valid one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.activities.link.node_attempt import Epoch
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import Chunk

REPORT_EVERY = 250
"""Chunks taken after which the gateway hears of it; it sends at most 1,000 ahead."""


class StreamFailed(NodeError):
    """The producer of a consumed stream ended without completing it."""

    code = "stream_failed"
    retryable = False


@dataclass(frozen=True)
class StreamEnd:
    """How the producer ended."""

    type: str
    error: Mapping[str, Any] | None = None


class Follower:
    """The chunks of one producer as the log has them.

    Args:
        report: Called when the gateway should hear how much was consumed.
        restarted: Set when the stream begins anew after somebody began to read it.

    Attributes:
        origin: The epoch in which the stream began last. When it changes, what was read before is void.
        received: Chunks that have arrived, from the origin on.
        consumed: Chunks of these that the node has taken.
        end: How the producer ended; None while it has not.
        opened: Set once the producer has begun.
    """

    def __init__(
        self, id: str, run: str, path: str, *, report: Callable[[Follower], None], restarted: asyncio.Event
    ) -> None:
        self.id, self.run, self.path = id, run, path
        self.origin: Epoch | None = None
        self.received = 0
        self.consumed = 0
        self.end: StreamEnd | None = None
        self.opened = asyncio.Event()
        self._report_consumed = report
        self._restarted = restarted
        self._chunks: deque[dict[str, Any]] = deque()
        self._wake = asyncio.Event()
        self._reported = 0
        self._reading = False

    def request(self) -> dict[str, Any]:
        """The request that goes on from here."""
        origin = list(self.origin) if self.origin else None
        return {"id": self.id, "run": self.run, "path": self.path, "origin": origin, "next": self.received}

    def receive(self, block: Mapping[str, Any]) -> None:
        """One block from the gateway."""
        if block.get("origin") is not None:
            origin = (int(block["origin"][0]), int(block["origin"][1]))
            if origin != self.origin:
                self._begin_anew(origin)
            self._append(int(block.get("i", 0)), block.get("chunks") or ())
        if block.get("end") is not None:
            self.end = StreamEnd(str(block["end"].get("type")), block["end"].get("error"))
        self.opened.set()
        self._wake.set()

    def _begin_anew(self, origin: Epoch) -> None:
        if self._reading:
            self._restarted.set()
        self.origin, self.received, self.consumed, self._reported = origin, 0, 0, 0
        self._chunks.clear()
        self.end = None

    def _append(self, index: int, chunks: Sequence[dict[str, Any]]) -> None:
        # A jump is a gap in the log itself: chunks that were dropped before anybody knew they would be read.
        self.received = max(self.received, index)
        fresh = chunks[self.received - index :]
        self._chunks.extend(fresh)
        self.received += len(fresh)

    def begin_reading(self, skip: int = 0) -> Reader:
        """A reader from chunk number `skip` on. Readers made before are dead."""
        self._reading = True
        return Reader(self, skip)

    async def next(self, origin: Epoch | None, waiting: Callable[[], Any]) -> dict[str, Any] | None:
        """The next chunk; None at the end. `waiting` gives a context manager held while nothing is there.

        A reader of another origin gets nothing any more: its node is about to be started anew, and a chunk it took
        here would be missing there. Raises StreamFailed when the producer ended otherwise than complete.
        """
        while not self._chunks or self.origin != origin:
            if self.origin != origin:
                await asyncio.Event().wait()
            if self.end is not None:
                self._check(self.end)
                return None
            self._report()
            self._wake.clear()
            with waiting():
                await self._wake.wait()
        chunk = self._chunks.popleft()
        self.consumed += 1
        if self.consumed - self._reported >= REPORT_EVERY:
            self._report()
        return chunk

    def _check(self, end: StreamEnd) -> None:
        if end.type == "NODE_ERROR":
            reason = (end.error or {}).get("message", "it failed")
            raise StreamFailed(f"the stream of node {self.path!r} ended with an error: {reason}")
        if end.type == "NODE_INTERRUPTED":
            raise StreamFailed(f"the stream of node {self.path!r} was interrupted")

    def _report(self) -> None:
        if self.consumed > self._reported:
            self._reported = self.consumed
            self._report_consumed(self)


class Reader:
    """What a node gets for a stream input: an async iterator of chunks."""

    def __init__(self, follower: Follower, skip: int = 0) -> None:
        self._follower = follower
        self._origin = follower.origin
        self._skip = skip
        self.waiting: Callable[[], Any] = _no_wait
        self.used = skip

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            data = await self._follower.next(self._origin, self.waiting)
            if data is None:
                raise StopAsyncIteration
            if self._skip > 0:
                self._skip -= 1
                continue
            self.used += 1
            return Chunk.from_json(data)


class ChunksOf:
    """A stream input that is there already: a batch value as its one chunk, or none."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = deque(chunks)
        self.used = 0

    def __aiter__(self) -> ChunksOf:
        return self

    async def __anext__(self) -> Chunk:
        if not self._chunks:
            raise StopAsyncIteration
        self.used += 1
        return self._chunks.popleft()


def one_chunk(value: Any) -> ChunksOf:
    """A batch value wired to a stream input."""
    kind = "text_chunk" if isinstance(value, str) else "custom"
    return ChunksOf(Chunk(kind, value))  # type: ignore[arg-type]  # one of two literals


class _no_wait:
    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...
