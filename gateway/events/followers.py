"""What one worker follows: per consumer a place in a stream, and no more on the way to it than it can take."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from innkeeper.gateway.events.chunks import Found, Place, read_chunks
from innkeeper.gateway.events.fence import Epoch
from innkeeper.gateway.events.log import EventLog, LogUnavailable
from innkeeper.gateway.events.streams import CLOSED, RETRY_S, Streams
from innkeeper.nodes.errors import InnkeeperError

WINDOW_CHUNKS = 1000
WINDOW_BYTES = 1_000_000
"""What may be on its way to one consumer; a larger chunk goes alone."""
BLOCK_BYTES = 128_000
"""A block of one consumer ends here, so that the others get their turn."""
LOADED_PAGES = 8
MAX_FOLLOWS = 5000


class TooManyFollows(InnkeeperError):
    """One worker follows too much."""

    code = "too_many_follows"


class _Follower:
    """One consumer: it has, or is about to get, the chunks below `next` of the stream that began in `origin`."""

    def __init__(self, id: str, run: str, path: str, *, origin: Epoch | None, next: int, awake: _Awake) -> None:
        self.id, self.run, self.path = id, run, path
        self.origin, self.next = origin, next
        self.page: list[bytes] = []
        self.is_done = False
        self._awake = awake
        self._is_told = False
        self._is_lost = False
        self._place: Place | None = None
        self._sent: deque[tuple[int, int, int]] = deque()  # index behind a block, its chunks and bytes
        self._chunks_away = 0
        self._bytes_away = 0

    def join(self, streams: Streams) -> None:
        self._streams = streams
        self._tail, self._stream = streams.join(self.run, self.path, self.wake)

    def leave(self) -> None:
        self.is_done = True
        self._streams.leave(self._tail, self._stream, self.wake)

    def wake(self) -> None:
        self._awake(self)

    def got(self, next: int) -> None:
        """The consumer took everything below `next`."""
        if next > self.next:
            return  # said of an origin that is over
        while self._sent and self._sent[0][0] <= next:
            _, count, size = self._sent.popleft()
            self._account(-count, -size)
        if self._sent and (taken := next - self._sent[0][0] + self._sent[0][1]) > 0:
            behind, count, size = self._sent[0]
            share = size * taken // count
            self._sent[0] = (behind, count - taken, size - share)
            self._account(-taken, -share)

    def take(self) -> bytes | None:
        """The next block as JSON; None when there is none now, or only in the log."""
        stream, end = self._stream, self._tail.end_of(self._stream)
        if not self._tail.live or (stream.origin is None and end is None):
            return None
        if self.origin != stream.origin:
            self._start_over()
        chunks, body = self._chunks()
        end = CLOSED if self._is_lost else end
        self.is_done = end is not None and (self._is_lost or self.next + len(chunks) >= stream.next)
        if self._is_told and not chunks and not self.is_done:
            return None
        block = _block(self, body, end if self.is_done else None)
        self._is_told = True
        self._send(len(chunks), len(body))
        return block

    @property
    def needs_log(self) -> bool:
        """What comes next is only in the log, and there is room for a good part of it."""
        stream = self._stream
        is_behind = self._tail.live and self.origin == stream.origin and self.next < min(stream.next, stream.ring.first)
        has_room = self._chunks_away <= WINDOW_CHUNKS // 2 and self._bytes_away <= WINDOW_BYTES // 2
        return is_behind and has_room and not self.page and not self._is_lost

    async def load(self, log: EventLog) -> None:
        """Read the next page from the log: as much as there is room for, so that it can be sent at once."""
        if not self.needs_log:
            return
        origin, place = self.origin, self._place
        if place is None or place.index != self.next:
            place = Place(self._stream.seq_before(self.next), self.next)
        most, max_bytes = WINDOW_CHUNKS - self._chunks_away, WINDOW_BYTES - self._bytes_away
        found = await read_chunks(log, self.run, self.path, place, most=most, max_bytes=max_bytes)
        # Meanwhile the producer may have begun anew.
        if not self.is_done and origin == self.origin == self._stream.origin:
            self._put(found)

    def _put(self, found: Found) -> None:
        self.next = found.first
        self.page = [orjson.dumps(chunk) for chunk in found.chunks]
        self._place = found.place
        # The log had more before: it was deleted.
        self._is_lost = found.log_ends and self.needs_log

    def _start_over(self) -> None:
        self.origin, self.next, self.page = self._stream.origin, 0, []
        self._is_told, self._place = False, None
        self._sent.clear()
        self._chunks_away = self._bytes_away = 0

    def _chunks(self) -> tuple[Sequence[bytes], bytes]:
        """What can go out now, also as the inside of a JSON list."""
        room = WINDOW_CHUNKS - self._chunks_away
        if self.page:
            chunks = self._fitting(self.page[:room])
            del self.page[: len(chunks)]
            return chunks, b",".join(chunks)
        ring = self._stream.ring
        if self.next < ring.first:
            return (), b""
        chunks = self._fitting(ring.since(self.next, room))
        return chunks, ring.joined(self.next, chunks)

    def _fitting(self, chunks: list[bytes]) -> list[bytes]:
        room = WINDOW_BYTES - self._bytes_away
        if sum(map(len, chunks)) <= min(BLOCK_BYTES, room):
            return chunks
        size = 0
        for count, chunk in enumerate(chunks):
            size += len(chunk)
            if (size > BLOCK_BYTES and count) or (size > room and (count or self._chunks_away)):
                return chunks[:count]
        return chunks

    def _send(self, count: int, size: int) -> None:
        self.next += count
        if count:
            self._sent.append((self.next, count, size))
            self._account(count, size)

    def _account(self, count: int, size: int) -> None:
        self._chunks_away += count
        self._bytes_away += size


_Awake = Callable[[_Follower], None]


class Followers:
    """Everything one worker connection follows.

    Args:
        wake: Called when `take` may have something.
    """

    def __init__(self, streams: Streams, log: EventLog, wake: Callable[[], None]) -> None:
        self._streams, self._log, self._wake = streams, log, wake
        self._followers: dict[str, _Follower] = {}
        self._ready: OrderedDict[_Follower, None] = OrderedDict()
        self._behind: OrderedDict[_Follower, None] = OrderedDict()
        self._loaded: set[_Follower] = set()
        self._unloaded = asyncio.Event()
        self._loading: asyncio.Task[None] | None = None

    def follow(self, id: str, run: str, path: str, *, origin: Epoch | None, next: int) -> None:
        """Send this stream from chunk `next` on, if it still has that `origin`, else from its beginning.

        Raises TooManyFollows.
        """
        self.unfollow(id)
        if len(self._followers) >= MAX_FOLLOWS:
            raise TooManyFollows(f"one worker follows at most {MAX_FOLLOWS} streams")
        next = next if origin is not None else 0
        follower = _Follower(id, run, path, origin=origin, next=next, awake=self._awake)
        self._followers[id] = follower
        follower.join(self._streams)
        self._awake(follower)

    def unfollow(self, id: str) -> None:
        """Send no more of it. Unknown ids are of streams that have ended."""
        follower = self._followers.pop(id, None)
        if follower is not None:
            self._forget(follower)

    def got(self, id: str, next: int) -> None:
        """The consumer took everything below `next`: there is room for more."""
        follower = self._followers.get(id)
        if follower is not None:
            follower.got(next)
            self._awake(follower)

    def take(self, max_bytes: int) -> list[bytes]:
        """Blocks (JSON) that can go out now, in turn, of about `max_bytes` together."""
        blocks: list[bytes] = []
        size = 0
        while self._ready and size < max_bytes:
            follower, _ = self._ready.popitem(last=False)
            block = follower.take()
            if not follower.page:
                self._unload(follower)
            if block is None:
                self._load_if_behind(follower)
                continue
            blocks.append(block)
            size += len(block)
            if follower.is_done:
                self.unfollow(follower.id)
            else:
                self._ready[follower] = None
        return blocks

    @property
    def has_more(self) -> bool:
        return bool(self._ready)

    def close(self) -> None:
        """Follow nothing any more."""
        for id in list(self._followers):
            self.unfollow(id)
        if self._loading is not None:
            self._loading.cancel()

    def _awake(self, follower: _Follower) -> None:
        self._ready[follower] = None
        self._wake()

    def _forget(self, follower: _Follower) -> None:
        follower.leave()
        self._ready.pop(follower, None)
        self._behind.pop(follower, None)
        self._unload(follower)

    # --- catching up ------------------------------------------------------------------------------------------------

    def _load_if_behind(self, follower: _Follower) -> None:
        if not follower.needs_log:
            return
        self._behind[follower] = None
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load(), name="streams-catch-up")

    async def _load(self) -> None:
        """One page after the other, only a few ahead of what was sent: memory is bounded."""
        while self._behind:
            while len(self._loaded) >= LOADED_PAGES:
                self._unloaded.clear()
                await self._unloaded.wait()
            if not self._behind:
                return
            follower, _ = self._behind.popitem(last=False)
            try:
                await follower.load(self._log)
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)
            if not follower.is_done:
                if follower.page:
                    self._loaded.add(follower)
                self._awake(follower)

    def _unload(self, follower: _Follower) -> None:
        self._loaded.discard(follower)
        self._unloaded.set()


def _block(follower: _Follower, body: bytes, end: dict[str, Any] | None) -> bytes:
    head = orjson.dumps({"id": follower.id, "origin": follower.origin, "i": follower.next})
    tail = b"]}" if end is None else b'],"end":' + orjson.dumps(end) + b"}"
    return head[:-1] + b',"chunks":[' + body + tail
