"""Clients that hold a connection for nothing are sent away, and those that are refused can read why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from innkeeper.gateway.api import middleware
from innkeeper.gateway.process import uvicorn_config

HEAD = b"POST /api/prompt HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"


class Raw:
    """A connection that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        """One response, head and body."""
        async with asyncio.timeout(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            return head + await self.reader.readexactly(size)


@pytest.fixture
async def raw(shared: Any) -> AsyncIterator[Any]:
    opened: list[Raw] = []

    async def connect() -> Raw:
        url = httpx.URL(shared.url)
        opened.append(Raw(*await asyncio.open_connection(url.host, url.port)))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nhost: localh", b"GET /healthz HTTP/1.1\r\nx: 1\r\n"])
async def test_half_a_head_is_not_waited_for_for_ever(raw: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(uvicorn_config, "HEADERS_S", 0.3)
    connection = await raw()
    connection.writer.write(sent)
    assert (await connection.answer()).startswith(b"HTTP/1.1 408")


async def test_half_a_second_head_on_a_used_connection_is_not_waited_for_either(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_config, "HEADERS_S", 0.3)
    connection = await raw()
    connection.writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b'{"status":"ok"}' in await connection.answer()
    connection.writer.write(b"GET /healthz HTT")
    assert (await connection.answer()).startswith(b"HTTP/1.1 408")


async def test_connection_outlives_the_patience_of_a_client_that_keeps_it(raw: Any) -> None:
    """With 5 s, like those of httpx, one of 50 runs of a benchmark ended with a lost request."""
    connection = await raw()
    for pause_s in (6.0, 0.0):
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b'{"status":"ok"}' in await connection.answer()
        await asyncio.sleep(pause_s)


async def test_head_without_an_end_is_refused(raw: Any) -> None:
    connection = await raw()
    connection.writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
    await asyncio.sleep(0.05)
    connection.writer.write(b"x-more: " + b"y" * 80_000)
    assert (await connection.answer()).startswith(b"HTTP/1.1 431")


async def test_head_behind_a_large_body_is_served(raw: Any) -> None:
    """They may be read at once: then the body does not count as a part of the head."""
    connection = await raw()
    body = b'{"nodes": ' + b" " * 200_000 + b"[]}"
    head = "POST /api/workflows/validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    both = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    connection.writer.write(both + b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
    assert (await connection.answer()).startswith(b"HTTP/1.1")
    connection.writer.write(b"x-pad: " + b"y" * 30_000 + b"\r\n\r\n")
    assert b'{"status":"ok"}' in await connection.answer()


async def test_head_that_comes_in_pieces_is_served(raw: Any) -> None:
    connection = await raw()
    for piece in (b"GET /healthz HTTP/1.1\r\n", b"host: localhost\r\n", b"connection: close\r\n\r\n"):
        connection.writer.write(piece)
        await asyncio.sleep(0.05)
    assert b'{"status":"ok"}' in await connection.answer()


async def test_half_a_body_is_answered_with_408(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_S", 0.3)
    monkeypatch.setattr(middleware, "LINGER_S", 0.3)
    connection = await raw()
    connection.writer.write(HEAD + b'{"nodes": [')
    answer = await connection.answer()
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too_slow"


async def test_body_that_drips_is_no_way_around_it(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_S", 0.3)
    monkeypatch.setattr(middleware, "LINGER_S", 0.3)
    connection = await raw()
    connection.writer.write(HEAD)

    async def drip() -> None:
        while not connection.writer.is_closing():
            connection.writer.write(b" ")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    answer = await connection.answer()
    dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408")


async def test_client_that_sends_too_much_can_read_why(shared: Any) -> None:
    limit = shared.settings.max_body_bytes
    async with shared.http() as http:
        announced = await http.post("/api/prompt", content=b" " * (limit + 5_000_000))

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(limit // 1_000_000 + 5):
                yield b" " * 1_000_000

        counted = await http.post("/api/prompt", content=pieces())
    assert [answer.status_code for answer in (announced, counted)] == [413, 413]
    assert announced.json()["code"] == counted.json()["code"] == "too_large"


async def test_client_that_may_not_can_read_why_whatever_it_sends(shared: Any) -> None:
    async with shared.http() as http:
        answer = await http.post("/api/prompt", content=b" " * 10_000_000, headers={"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
