"""A small web server for nodes that make requests: `/echo` answers with what it got, `/status/NNN` with that status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Web:
    url: str


@asynccontextmanager
async def web_server() -> AsyncIterator[Web]:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield Web(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    request, *lines = head.split("\r\n")
    method, path, _ = request.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
    answer = json.dumps({"method": method, "path": path, "headers": headers, "body": body.decode()}).encode()
    writer.write(
        b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        % (status, len(answer))
    )
    writer.write(answer)
    await writer.drain()
    writer.close()
