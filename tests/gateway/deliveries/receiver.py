"""Somebody whom runs tell how they go: a bare HTTP server that answers as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """What came in one request. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer(status: int, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@dataclass
class Receiver:
    """What has come, and how the next ones are answered: with 204 when nothing else is said."""

    url: str = ""
    got: list[Message] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    otherwise: bytes = answer(204)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        first, *lines = head.strip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.got.append(Message(first.split(" ")[1], headers, body))
        writer.write(self.answers.pop(0) if self.answers else self.otherwise)
        await writer.drain()
        writer.close()

    async def until_got(self, count: int, timeout_s: float = 30) -> list[Message]:
        """The messages, as soon as there are so many."""
        async with asyncio.timeout(timeout_s):
            while len(self.got) < count:
                await asyncio.sleep(0.02)
        return list(self.got)


@asynccontextmanager
async def receiving(answers: Iterable[bytes] = (), port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on this machine that answers so, first to the first request."""
    receiver = Receiver(answers=list(answers))
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", port)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield receiver
