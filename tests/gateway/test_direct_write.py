"""The short way of messages to a client, and the ordinary one where it is not open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect

from innkeeper.gateway.direct_write import direct_write
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import Batch
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.process.uvicorn_config import server_config
from innkeeper.gateway.realtime.client_socket import ClientSockets, SocketServices
from innkeeper.gateway.realtime.reader import EventReader
from innkeeper.gateway.realtime.whole_values import WholeValues
from innkeeper.gateway.runs.socket_runs import SocketRuns
from innkeeper.nodes.services.blobs import FolderBlobs

LARGE = b"x" * 200_000


@asynccontextmanager
async def served(handler: Callable[[WebSocket], Awaitable[None]], *, is_plain: bool = False) -> AsyncIterator[str]:
    """A server as the gateway's own, or with the protocol as uvicorn has it (`is_plain`)."""
    config = server_config(Starlette(routes=[WebSocketRoute("/ws", handler)]))
    config.host, config.port, config.lifespan = "127.0.0.1", 0, "off"
    if is_plain:
        config.ws = "websockets-sansio"
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.005)
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/ws"
    finally:
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[ClientConnection]:
    async with connect(url, compression=None, proxy=None, max_size=None, max_queue=1) as socket:
        yield socket


async def test_message_that_was_written_at_once_arrives_as_text() -> None:
    written: list[bool] = []

    async def handler(websocket: WebSocket) -> None:
        write = direct_write(websocket.scope)
        written.append(write(b"too early"))
        await websocket.accept()
        written.append(write("für alle".encode()))
        written.append(write(b"y" * 70_000))
        await websocket.close()
        written.append(write(b"too late"))

    async with served(handler) as url, client_of(url) as socket:
        assert [await socket.recv(), await socket.recv()] == ["für alle", "y" * 70_000]
        with pytest.raises(Exception, match="1000"):
            await socket.recv()
    assert written == [False, True, True, False]


async def test_nothing_is_written_to_a_client_that_takes_nothing() -> None:
    """What it leaves unread is bounded by the socket's buffers, however long this goes on."""
    refused = asyncio.Event()

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        write = direct_write(websocket.scope)
        for _ in range(1000):
            if not write(LARGE):
                refused.set()
                return
            await asyncio.sleep(0)

    async with served(handler) as url, client_of(url):
        async with asyncio.timeout(30):
            await refused.wait()


async def test_other_protocol_offers_no_short_way() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        write = direct_write(websocket.scope)
        await websocket.send_text(str(write(b"short")))

    async with served(handler, is_plain=True) as url, client_of(url) as socket:
        assert await socket.recv() == "False"


@pytest.mark.parametrize("is_plain", [False, True])
async def test_slow_client_gets_all_events_in_order_on_whichever_way(tmp_path: Path, is_plain: bool) -> None:
    """At first they go out at once, then the client leaves them unread for a while, then it takes them."""
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    lines = [orjson.dumps({"seq": seq, "type": "X", "payload": {"text": "x" * 20_000}}) for seq in range(1, 401)]
    await log.append([Batch("r", 1, lines)])
    services = SocketServices(
        runs=cast(Any, None),
        refusals=cast(Any, None),
        reader=EventReader(log, Hub(log)),
        values=WholeValues(FolderBlobs(tmp_path)),
        socket_runs=SocketRuns(),
        run_updates=cast(Any, None),
        user="u",
        send_timeout_s=30,
    )
    async with served(ClientSockets(services).handle, is_plain=is_plain) as url, client_of(url) as socket:
        subscription = {"promptId": "r", "after": 0, "batch": True}
        await socket.send(orjson.dumps({"type": "SUBSCRIBE", "payload": subscription}).decode())
        assert orjson.loads(await socket.recv())["type"] == "SUBSCRIBED"
        await asyncio.sleep(0.5)
        got: list[int] = []
        async with asyncio.timeout(60):
            while len(got) < len(lines):
                got += [event["seq"] for event in orjson.loads(await socket.recv())]
    assert got == list(range(1, 401))
    await log.close()
