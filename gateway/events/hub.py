"""Live fan-out without a queue per client: a reader is a cursor over the log, the newest frames come from a ring.

A slow reader only has an old cursor: it reads from the log again. So memory does not grow with slow readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from innkeeper.gateway.events.log import EventLog
from innkeeper.nodes.errors import RunError, RunNotFound

RING_FRAMES = 1024
RING_BYTES = 4_000_000
FIRST_PAGE = 50
"""The first events after a resume should come soon, however many resume at once."""
PAGE = 500
PAGE_BYTES = 256_000
"""Of hundreds of readers that take nothing each one holds a page."""

Frames = list[tuple[int, bytes]]


class AfterBeyondEnd(RunError):
    """A reader claims to have events that the log does not hold: it read another log."""

    code = "after_beyond_end"


class _Ring:
    """The newest frames of one run, while somebody follows it."""

    def __init__(self) -> None:
        self.readers = 0
        self.sealed = False
        self.first = 0
        self._frames: list[bytes] = []
        self._bytes = 0
        self._waiting: dict[asyncio.Future[None], None] = {}

    def add(self, first_seq: int, frames: Sequence[bytes]) -> None:
        if not self._frames or first_seq != self.first + len(self._frames):
            self.first, self._frames, self._bytes = first_seq, [], 0
        self._frames.extend(frames)
        self._bytes += sum(map(len, frames))
        if len(self._frames) > 2 * RING_FRAMES or self._bytes > RING_BYTES:
            self._trim()
        self.wake()

    def _trim(self) -> None:
        """Cut to the newest half at once, so that appending stays cheap; large frames are cut harder."""
        keep, size = 0, 0
        for frame in reversed(self._frames[-RING_FRAMES:]):
            size += len(frame)
            if size > RING_BYTES // 2:
                break
            keep += 1
        self.first += len(self._frames) - keep
        self._frames = self._frames[len(self._frames) - keep :]
        self._bytes = sum(map(len, self._frames))

    def after(self, seq: int) -> Frames | None:
        """Frames behind `seq`; empty when there is nothing newer yet; None when the log must be asked."""
        if seq + 1 < self.first:
            return None
        return list(enumerate(self._frames[seq + 1 - self.first :], seq + 1))

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for reader in waiting:
            if not reader.done():  # cancelled
                reader.set_result(None)

    async def wait(self) -> None:
        # No event: one more for each commit is what most of them would cost, while nobody waits.
        reader = asyncio.get_running_loop().create_future()
        self._waiting[reader] = None
        try:
            await reader
        finally:  # a run may be quiet for days, while its readers come and go
            self._waiting.pop(reader, None)


class Hub:
    """Tells followers of a run what was committed. Only the writer publishes, only after the commit."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._rings: dict[str, _Ring] = {}
        self._awaited: dict[str, asyncio.Event] = {}

    def is_followed(self, run: str) -> bool:
        return run in self._rings

    def publish(self, run: str, first_seq: int, frames: Sequence[bytes]) -> None:
        """New frames of a run, committed and numbered from `first_seq`."""
        ring = self._rings.get(run)
        if ring is not None:
            ring.add(first_seq, frames)

    def seal(self, run: str) -> None:
        """The run gets no more events: its followers end when they have read all."""
        ring = self._rings.get(run)
        if ring is not None:
            ring.sealed = True
            ring.wake()
        if awaited := self._awaited.pop(run, None):
            awaited.set()

    async def until_sealed(self, run: str) -> None:
        """Return when a run gets no more events, without reading any.

        Raises:
            RunNotFound: No such run.
        """
        # Asked for before the look at the log: a seal that comes in between is in one of them. Whoever gives up leaves
        # it to the seal, since others may wait for it, too.
        awaited = self._awaited.setdefault(run, asyncio.Event())
        info = await self._log.run_info(run)
        if info is None or info.is_sealed:
            self.seal(run)
        if info is None:
            raise RunNotFound(f"there is no event log of run {run!r}")
        await awaited.wait()

    async def follow(self, run: str, after: int = 0) -> AsyncIterator[Frames]:
        """Frames `after + 1 ..` as non-empty lists of (seq, JSON), without gap or repetition, until the run is sealed.

        Raises:
            RunNotFound: No such run.
            AfterBeyondEnd: The log holds fewer than `after` events.
        """
        # The ring comes before the first look at the log: what is committed in between is in one of them.
        with self._ring(run) as ring:
            await self._check(run, after, ring)
            cursor = after
            while True:
                sealed = ring.sealed
                limit = FIRST_PAGE if cursor == after else PAGE
                batch = self._live(ring, cursor) or await self._page(run, cursor, ring, limit)
                if batch:
                    cursor = batch[-1][0]
                    yield batch
                elif sealed:
                    return
                elif not ring.sealed and not self._live(ring, cursor):
                    await ring.wait()

    @contextmanager
    def _ring(self, run: str) -> Iterator[_Ring]:
        ring = self._rings.setdefault(run, _Ring())
        ring.readers += 1
        try:
            yield ring
        finally:
            ring.readers -= 1
            if ring.readers == 0:
                del self._rings[run]

    async def _check(self, run: str, after: int, ring: _Ring) -> None:
        info = await self._log.run_info(run)
        if info is None:
            raise RunNotFound(f"there is no event log of run {run!r}")
        if after > info.last_seq:
            raise AfterBeyondEnd(f"run {run!r} has {info.last_seq} events, not {after}; start from 0")
        ring.sealed = ring.sealed or info.is_sealed

    @staticmethod
    def _live(ring: _Ring, cursor: int) -> Frames:
        return _one_page(ring.after(cursor) or []) if ring.first else []

    async def _page(self, run: str, cursor: int, ring: _Ring, limit: int) -> Frames:
        """From the log, unless the ring says that there is nothing newer."""
        if ring.first and ring.after(cursor) is not None:
            return []
        while events := await self._log.read(run, cursor, limit, PAGE_BYTES):
            # What the disk has damaged would end the connection of a client that reads it.
            if frames := [(event.seq, event.frame) for event in events if event.is_readable]:
                return frames
            cursor = events[-1].seq
        return []


def _one_page(frames: Frames) -> Frames:
    size = 0
    for count, (_, frame) in enumerate(frames):
        size += len(frame)
        if size > PAGE_BYTES and count:
            return frames[:count]
    return frames
