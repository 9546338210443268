"""A model server of the tests' own: answers each request word by word, at a pace, over the real wire format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

WORDS = [f"word{index}" for index in range(40)]
TEXT = " ".join(WORDS)


class SlowModel:
    """`requests` counts the completions asked for; the pace is `delay_s` between `words`."""

    def __init__(self, delay_s: float) -> None:
        self.url = ""
        self.delay_s = delay_s
        self.words = WORDS
        self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
            self.requests += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for index, word in enumerate(self.words):
                await self._send(writer, {"content": word if index == 0 else f" {word}"}, None)
                await asyncio.sleep(self.delay_s)
            await self._send(writer, {}, "stop")
            writer.write(b"data: [DONE]\n\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        part = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice]}
        writer.write(f"data: {json.dumps(part)}\n\n".encode())
        await writer.drain()


@asynccontextmanager
async def slow_model(delay_s: float = 0.05) -> AsyncIterator[SlowModel]:
    model = SlowModel(delay_s)
    server = await asyncio.start_server(model.handle, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield model
    finally:
        server.close()
