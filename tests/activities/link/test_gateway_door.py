"""What a worker makes of the answers of its gateway, at a real server that plays it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.activities.link.gateway_door import GatewayDoor, GatewayEvents
from innkeeper.nodes.errors import NodeError, NodeInputError, NodeMustWait
from innkeeper.nodes.node import EmittedEvent, EventReach
from innkeeper.nodes.process.settings import SettingsError

EVENT = EmittedEvent("run", "outer/n", "paid", {"n": 1})


class Played:
    """A gateway that answers everything with one response; `requests` holds what it was sent."""

    def __init__(self, status: int, body: bytes, headers: str = "") -> None:
        self._answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
        self._body = body
        self.requests: list[tuple[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        self.requests.append((head, json.loads(await reader.readexactly(int(headers["content-length"])))))
        writer.write(self._answer.encode() + self._body)
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def events_at(played: Played) -> AsyncIterator[GatewayEvents]:
    server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    door = GatewayDoor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: "the-token")
    try:
        async with server:
            yield GatewayEvents(door)
    finally:
        await door.aclose()


async def test_event_is_told_with_the_token_of_workers() -> None:
    played = Played(200, json.dumps({"eventId": "e", "started": 2, "woken": 1}).encode())
    async with events_at(played) as events:
        assert await events.emit(EVENT) == EventReach("e", 2, 1)
    ((head, body),) = played.requests
    assert head.startswith("POST /internal/events HTTP/1.1")
    assert "authorization: bearer the-token" in head.lower()
    assert body == {"run": "run", "node": "outer/n", "name": "paid", "data": {"n": 1}}


@pytest.mark.parametrize(
    ("status", "headers", "delay_s"),
    [(503, "", 2.0), (502, "", 2.0), (429, "Retry-After: 7\r\n", 7.0), (429, "Retry-After: 9999999\r\n", 300.0)],
)
async def test_gateway_that_cannot_take_it_now_is_waited_for(status: int, headers: str, delay_s: float) -> None:
    async with events_at(Played(status, b"<html>", headers)) as events:
        with pytest.raises(NodeMustWait) as wait:
            await events.emit(EVENT)
    assert wait.value.delay_s == delay_s


async def test_gateway_that_is_away_is_waited_for() -> None:
    door = GatewayDoor("http://127.0.0.1:9", lambda: "t")
    with pytest.raises(NodeMustWait):
        await GatewayEvents(door).emit(EVENT)
    await door.aclose()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(400, NodeInputError, False), (413, NodeInputError, False), (409, NodeError, False), (404, NodeError, False),
     (401, NodeError, True), (500, NodeError, True)],
)  # fmt: skip
async def test_refusal_fails_the_node_with_the_words_of_the_gateway(
    status: int, kind: type[NodeError], retryable: bool
) -> None:
    body = json.dumps({"error": "no such thing", "code": "what_it_is"}).encode()
    async with events_at(Played(status, body)) as events:
        with pytest.raises(kind) as refused:
            await events.emit(EVENT)
    assert (refused.value.message, refused.value.code) == ("no such thing", "what_it_is")
    assert refused.value.retryable is retryable


async def test_worker_without_a_gateway_says_so() -> None:
    with pytest.raises(NodeError) as refused:
        await GatewayEvents(GatewayDoor("", lambda: "t")).emit(EVENT)
    assert (refused.value.code, refused.value.retryable) == ("no_gateway", False)


async def test_a_token_that_cannot_be_read_now_is_waited_for() -> None:
    def unreadable() -> str:
        raise SettingsError("no worker token: worker.token is not readable")

    door = GatewayDoor("http://127.0.0.1:9", unreadable)
    with pytest.raises(NodeMustWait, match="worker token"):
        await door.post("/internal/events", {})
    await door.aclose()
