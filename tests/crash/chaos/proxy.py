"""A TCP proxy of the tests' own, whose connections can be cut in the middle: for workers and clients alike."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Passes bytes on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.url = ""
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self, chance: random.Random, share: float) -> int:
        """Reset this share of the connections, at least one; gives how many."""
        # Sorted, or the same seed would cut others.
        chosen = [writer for writer in sorted(self._open, key=_age) if chance.random() < share]
        chosen = chosen or sorted(self._open, key=_age)[:1]
        for writer in chosen:
            writer.transport.abort()
        return len(chosen)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            # Either side's end is the end: HTTP and WebSocket connections are never half closed.
            ways = [asyncio.ensure_future(_pass(reader, onward)), asyncio.ensure_future(_pass(onward_reader, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open.discard(writer)
            for each in (writer, onward):
                each.transport.abort() if each.transport.is_closing() else each.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()


def _age(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("peername", ("", 0))[1])


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for writer in list(proxy._open):
            writer.transport.abort()
