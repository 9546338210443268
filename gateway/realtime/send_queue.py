"""What one client is about to get: one writer for its socket, and no queue that could grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from innkeeper.gateway.realtime.reader import EventReader

MESSAGES_PER_SEND = 64
ARRAY_BYTES = 64_000
"""An array of events ends here; a larger event goes alone."""


@dataclass(frozen=True, eq=False)
class _Page:
    frames: Sequence[bytes]
    batch: bool


class SendQueue:
    """Sends pages in the order they came. Whoever puts one waits until it was sent, so each has one here at most.

    Args:
        send: Takes messages (UTF-8), in order, and waits as long as the client does not take them.
    """

    def __init__(self, send: Callable[[Iterable[bytes]], Awaitable[None]], reader: EventReader) -> None:
        self._send = send
        self._reader = reader
        self._pages: list[_Page] = []
        self._news: dict[str, bytes] = {}
        self._filled = asyncio.Event()
        self._turn = asyncio.Event()

    async def put(self, frames: Sequence[bytes], *, batch: bool = False) -> None:
        """Have frames sent; returns when they were and the client's next ones may come.

        A caller that is cancelled takes its frames back, unless they are on their way.
        """
        page = _Page(frames, batch)
        self._pages.append(page)
        self._filled.set()
        try:
            await self._turn.wait()
        except asyncio.CancelledError:
            if page in self._pages:
                self._pages.remove(page)
            raise

    def announce(self, kind: str, frame: bytes) -> None:
        """Send when there is time; of two of a kind only the newer one."""
        self._news[kind] = frame
        self._filled.set()

    async def run(self) -> None:
        """Send for ever. Everything that is ready goes out together, then the gateway's rate is kept."""
        while True:
            if self._filled.is_set():
                # Subscriptions that were let go in this moment have something in the next one: one frame for all.
                await asyncio.sleep(0)
            else:
                # Those that wake up together have all put their pages before this goes on.
                await self._filled.wait()
            self._filled.clear()
            pages, self._pages = self._pages, []
            news, self._news = self._news, {}
            turn, self._turn = self._turn, asyncio.Event()
            since = time.monotonic()
            messages = _messages(pages, news.values())
            # Each is made when its turn comes: a client that takes nothing holds one of them, not all.
            while (first := next(messages, None)) is not None:
                await self._send(chain([first], islice(messages, MESSAGES_PER_SEND - 1)))
            await self._reader.sent(sum(len(page.frames) for page in pages), since)
            turn.set()


def _messages(pages: Iterable[_Page], news: Iterable[bytes]) -> Iterator[bytes]:
    """Frames as messages: those of batch subscriptions, of whichever run, together in arrays."""
    gathered: list[bytes] = []
    size = 0
    for page in pages:
        for frame in page.frames:
            if not page.batch:
                yield frame
                continue
            if gathered and size + len(frame) > ARRAY_BYTES:
                yield _array(gathered)
                gathered, size = [], 0
            gathered.append(frame)
            size += len(frame)
    if gathered:
        yield _array(gathered)
    for frame in news:
        yield frame


def _array(frames: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(frames) + b"]"
