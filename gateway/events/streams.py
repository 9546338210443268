"""Streams of nodes as their consumers follow them: where each stands in the log, and its newest chunks.

The log is the only queue. Per followed run one tail knows every stream's origin, length and end, from one pass over the
log and then from what the writer commits; per followed stream a ring holds the newest chunks, once for all followers.
Who is further behind reads the log. So memory grows neither with slow followers nor with their number.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.events.chunks import PAGE, Place, read_chunks
from innkeeper.gateway.events.fence import (
    ERROR,
    EXECUTING,
    STATUS,
    STATUS_RANK,
    TERMINAL,
    YIELD,
    Epoch,
    Event,
    StoredOutputs,
    StoredStream,
    StoredText,
)
from innkeeper.gateway.events.kept_stream import read_kept
from innkeeper.gateway.events.links import without_links
from innkeeper.gateway.events.log import EventLog, LogDamaged, LogUnavailable, StoredEvent
from innkeeper.gateway.events.next_chunk import ChunkEvent

RING_CHUNKS = 2048
RING_BYTES = 1_000_000
ALL_RINGS_BYTES = 64_000_000
CHUNK_OVERHEAD = 100
"""What a chunk costs in memory besides its own bytes."""
MARK_EVERY = 256
RETRY_S = 0.5
CLOSED: dict[str, Any] = {"type": "NODE_INTERRUPTED"}
"""The end of a stream that cannot come any more: its run is over."""

Wake = Callable[[], None]
Changed = Callable[[Iterable["Stream"]], None]


class Ring:
    """The newest chunks of a stream as JSON. `first` is the index of the oldest one, or of the next one if empty."""

    __slots__ = ("_chunks", "_joined", "first", "size")

    def __init__(self) -> None:
        self.first = 0
        self.size = 0
        self._chunks: list[bytes] = []
        self._joined: tuple[int, int, bytes] = (0, 0, b"")

    def clear(self, first: int) -> None:
        self.first, self.size, self._chunks, self._joined = first, 0, [], (0, 0, b"")

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size += len(chunk) + CHUNK_OVERHEAD
        if len(self._chunks) > RING_CHUNKS or self.size > RING_BYTES:
            self._trim()

    def _trim(self) -> None:
        """Drop the older half at once, so that adding stays cheap."""
        keep, size = 0, 0
        for chunk in reversed(self._chunks[-RING_CHUNKS // 2 :]):
            size += len(chunk) + CHUNK_OVERHEAD
            if size > RING_BYTES // 2:
                break
            keep += 1
        gone = len(self._chunks) - keep
        self.first += gone
        self._chunks = self._chunks[gone:]
        self.size = sum(map(len, self._chunks)) + CHUNK_OVERHEAD * keep

    def since(self, index: int, most: int) -> list[bytes]:
        """Chunks `index ..`, at most `most`; `index` is not below `first`."""
        start = index - self.first
        return self._chunks[start : start + most]

    def joined(self, index: int, chunks: Sequence[bytes]) -> bytes:
        """The chunks from `index` as the inside of a JSON list, made once for all followers that stand there."""
        if self._joined[:2] != (index, len(chunks)):
            self._joined = (index, len(chunks), b",".join(chunks))
        return self._joined[2]


@dataclass(eq=False, slots=True)
class Stream:
    """One node's stream, as far as the log has it.

    Attributes:
        origin: The epoch in which it began anew last; None before the node has opened.
        began: `seq` of that beginning.
        next: Index of the next chunk.
        end: Type and, for NODE_ERROR, error of the node's terminal event.
        wakes: Called whenever there is something new, one per follower.
    """

    origin: Epoch | None = None
    began: int = 0
    next: int = 0
    end: dict[str, Any] | None = None
    wakes: dict[Wake, None] = field(default_factory=dict)
    ring: Ring = field(default_factory=Ring)
    _marks: list[tuple[int, int]] = field(default_factory=list)

    def begin(self, origin: Epoch, seq: int) -> None:
        self.origin, self.began, self.next = origin, seq, 0
        self._marks.clear()
        self.ring.clear(0)

    def add(self, index: int, seq: int, chunk: bytes | Mapping[str, Any]) -> None:
        """Add a chunk, or its JSON."""
        if index >= (self._marks[-1][0] if self._marks else 0) + MARK_EVERY:
            self._marks.append((index, seq))
        self.next = index + 1
        if self.wakes:
            self.ring.add(chunk if isinstance(chunk, bytes) else orjson.dumps(chunk))
        else:
            self.ring.first = self.next

    def jump(self, index: int) -> None:
        """Chunks below `index` were dropped for good."""
        self.next = index
        self.ring.clear(index)

    def seq_before(self, index: int) -> int:
        """An event behind which chunk `index` is found, and not far."""
        place = bisect_right(self._marks, index, key=lambda mark: mark[0])
        return self._marks[place - 1][1] - 1 if place else self.began


class Tail:
    """The streams of one run, while somebody follows one of them.

    Attributes:
        live: The log was read to its end; since then what is committed comes at once.
        closed: The run's final status is logged.
    """

    def __init__(self, run: str, log: EventLog, changed: Changed) -> None:
        self.run = run
        self.live = False
        self.closed = False
        self.followers = 0
        self._log, self._changed = log, changed
        self._streams: dict[str, Stream] = {}
        self._seq = 0
        self._published = 0
        self._loading = self._start_loading()

    def stream(self, path: str) -> Stream:
        stream = self._streams.get(path)
        if stream is None:
            stream = self._streams[path] = Stream()
        return stream

    def end_of(self, stream: Stream) -> dict[str, Any] | None:
        return stream.end or (CLOSED if self.closed else None)

    def publish(self, first: int, events: Sequence[Event | ChunkEvent]) -> None:
        """Follow new events, committed, in order, and numbered from `first`."""
        self._published = first + len(events) - 1
        if self.live and first == self._seq + 1:
            self._seq = self._published
            self._changed(self._apply_all(events))
        elif self.live:
            self.live = False
            self._loading = self._start_loading()
        # Else the log is being read: these events are found there.

    def stop(self) -> None:
        self._loading.cancel()

    def _start_loading(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._load(), name=f"streams-{self.run}")

    async def _load(self) -> None:
        while True:
            before = self._published
            try:
                page = await self._log.read(self.run, self._seq, PAGE)
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            if page:
                self._seq = page[-1].seq
                self._changed(self._apply_all(_decoded(page)))
            elif self._published == before:
                break
        self._seq = max(self._seq, self._published)
        self.live = True
        self._changed(self._streams.values())

    def _apply_all(self, events: Iterable[Event | ChunkEvent]) -> set[Stream]:
        changed: set[Stream] = set()
        for event in events:
            # One that is damaged is lost, the others are not. The writer of the log has told of it.
            with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
                if (stream := self._apply(event)) is not None:
                    changed.add(stream)
        return set(self._streams.values()) if self.closed else changed

    def _apply(self, event: Event | ChunkEvent) -> Stream | None:
        if isinstance(event, ChunkEvent):
            stream = self.stream(event.path)
            stream.add(event.place, event.seq, event.chunk)
            return stream
        kind, payload = event["type"], event["payload"]
        if kind == YIELD:
            return self._apply_frame(event)
        if kind == EXECUTING and not event.get("kept"):
            stream = self.stream(payload["nodeId"])
            stream.begin((event["e"][0], event["e"][1]), event["seq"])
        elif kind in TERMINAL:
            stream = self.stream(payload["nodeId"])
            stream.end = {"type": kind, "error": payload.get("errorDetails")} if kind == ERROR else {"type": kind}
        else:
            self.closed = self.closed or (kind == STATUS and STATUS_RANK[payload["status"]] == 3)
            return None
        return stream

    def _apply_frame(self, event: Event) -> Stream | None:
        payload = event["payload"]
        if "i" in event:
            stream = self.stream(payload["sourceNodeId"])
            stream.add(event["i"], event["seq"], payload["yieldedContent"])
        elif "gap" in payload:
            stream = self.stream(payload["sourceNodeId"])
            stream.jump(payload["gap"]["to"] + 1)
        else:
            return None
        return stream


class Streams:
    """All followed streams. The writer publishes every commit, only after it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tails: dict[str, Tail] = {}
        self._rings: OrderedDict[Stream, int] = OrderedDict()
        self._held = 0

    def publish(self, run: str, first: int, events: Sequence[Event | ChunkEvent]) -> None:
        tail = self._tails.get(run)
        if tail is not None:
            tail.publish(first, events)

    def join(self, run: str, path: str, wake: Wake) -> tuple[Tail, Stream]:
        """Follow a stream until `leave`. One that does not exist, even its run, may come: following it waits.

        Args:
            wake: Called whenever there may be something new.
        """
        tail = self._tails.get(run)
        if tail is None:
            tail = self._tails[run] = Tail(run, self._log, self._changed)
        tail.followers += 1
        stream = tail.stream(path)
        stream.wakes[wake] = None
        return tail, stream

    def leave(self, tail: Tail, stream: Stream, wake: Wake) -> None:
        del stream.wakes[wake]
        if not stream.wakes:
            self._drop_ring(stream)
        tail.followers -= 1
        if tail.followers == 0:
            tail.stop()
            del self._tails[tail.run]

    async def text(self, wanted: StoredText) -> str:
        """The text of a stream so far, however long the log cannot be read."""
        parts: list[str] = []
        place = Place(wanted.after, 0)
        while place.index < wanted.next:
            try:
                found = await read_chunks(self._log, wanted.run, wanted.path, place)
            except LogDamaged:
                break
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            parts.extend(_text_of(chunk) for chunk in found.chunks[: wanted.next - found.first])
            if found.place == place:
                break  # deleted, or begun anew: nobody wants it any more
            place = found.place
        return "".join(parts)

    async def kept(self, wanted: Sequence[StoredStream]) -> dict[StoredStream, dict[str, Any]]:
        """What the streams of the first one's run hold (see `read_kept`)."""
        return await read_kept(self._log, [stream for stream in wanted if stream.run == wanted[0].run])

    async def outputs(self, wanted: StoredOutputs) -> dict[str, Any] | None:
        """What a node gave, as its worker sent it, however long the log cannot be read; None when it is gone."""
        while True:
            try:
                page = await self._log.read(wanted.run, wanted.seq - 1, 1)
            except LogDamaged:
                return None
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                return without_links(page[0].decode()["payload"]["output"]) if page[0].seq == wanted.seq else None
            except (LookupError, ValueError, TypeError, AttributeError):  # deleted, or damaged
                return None

    def _changed(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            if stream.wakes:
                self._weigh(stream)
            for wake in stream.wakes:
                wake()

    def _weigh(self, stream: Stream) -> None:
        """All rings together are bounded: those that nothing was added to for the longest time go first."""
        self._held += stream.ring.size - self._rings.pop(stream, 0)
        self._rings[stream] = stream.ring.size
        while self._held > ALL_RINGS_BYTES:
            self._drop_ring(next(iter(self._rings)))

    def _drop_ring(self, stream: Stream) -> None:
        self._held -= self._rings.pop(stream, 0)
        stream.ring.clear(stream.next)


def _decoded(page: Iterable[StoredEvent]) -> Iterator[Event]:
    """The events of a page that can be read."""
    for event in page:
        with contextlib.suppress(ValueError, TypeError):
            yield event.decode()


def _text_of(chunk: Any) -> str:
    content = chunk.get("content") if chunk.get("type") == "text_chunk" else None
    return content if isinstance(content, str) else ""
