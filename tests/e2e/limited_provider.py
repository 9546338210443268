"""A provider of the tests' own that limits requests as providers do, and notes when each came and what became of it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class LimitedProvider:
    """Answers chat completions.

    Attributes:
        ask: Says whether it takes a request now, else in how many seconds it would.
        tells_wait: With `Retry-After`.
        answer_s: How long an answer takes; `hang` never answers while it is set.
        sent: When each request came, and whether it was taken.
        under_way: How many are answered now; `most` ever.
        cut: How many hung up before they had their answer.
    """

    ask: Callable[[float], tuple[bool, float]] = lambda now: (True, 0.0)
    tells_wait: bool = True
    answer_s: float = 0.05
    url: str = ""
    sent: list[tuple[float, bool]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    cut: int = 0

    @property
    def taken(self) -> list[float]:
        return [at for at, was_taken in self.sent if was_taken]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
            now = time.monotonic()
            is_taken, wait_s = self.ask(now)
            self.sent.append((now, is_taken))
            await (self._answer(reader, writer) if is_taken else self._refuse(writer, wait_s))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            gone = asyncio.create_task(reader.read())  # a client that is killed is noticed at once
            await asyncio.wait({gone}, timeout=self.answer_s)
            self.cut += gone.done()
            gone.cancel()
            message = {"role": "assistant", "content": "yes"}
            body = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
            await _send(writer, "200 OK", body)
        finally:
            self.under_way -= 1

    async def _refuse(self, writer: asyncio.StreamWriter, wait_s: float) -> None:
        more = f"Retry-After: {max(1, math.ceil(wait_s))}\r\n" if self.tells_wait else ""
        await _send(
            writer, "429 Too Many Requests", {"error": {"code": "rate_limit_exceeded", "message": "slow"}}, more
        )


async def _send(writer: asyncio.StreamWriter, status: str, body: object, more: str = "") -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + data)
    await writer.drain()


@asynccontextmanager
async def provider(found: LimitedProvider) -> AsyncIterator[LimitedProvider]:
    """Serve it for as long as the block lasts."""
    server = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield found
    finally:
        server.close()
