"""Why a request got no answer, told by its kind."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError, RequestRefused
from innkeeper.nodes.node import CallTrace, ChatRequest
from innkeeper.nodes.services.http import AddressPolicy, Network
from innkeeper.nodes.services.llm import transport
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from tests.nodes.services.test_http import _server_tls

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def serving(handle: Handler, **options: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def failure(base_url: str, *, network: Network | None = None, trace: CallTrace | None = None) -> NodeError:
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True), network=network or Network())
    try:
        with pytest.raises(NodeError) as caught:
            await llm.chat(ChatRequest(base_url, "m", [{"role": "user", "content": "Hi"}], trace=trace))
    finally:
        await llm.aclose()
    return caught.value


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def say_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()
    writer.close()


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


def expect(error: NodeError, kind: str, said: str, *, retryable: bool = True) -> None:
    assert (error.code, error.details["kind"], error.retryable) == ("connection_error", kind, retryable)
    assert said in error.message


async def test_nobody_listens() -> None:
    trace = CallTrace()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        expect(
            await failure(f"http://127.0.0.1:{held.getsockname()[1]}/v1", trace=trace),
            "refused",
            "check that the server",
        )
    assert trace.was_sent is False


@pytest.mark.parametrize("name", ["does-not-exist.invalid", "a" * 64 + ".invalid"])
async def test_the_name_is_unknown(name: str) -> None:
    trace = CallTrace()
    expect(await failure(f"http://{name}/v1", trace=trace), "dns", "its name does not resolve")
    assert trace.was_sent is False


async def test_the_server_speaks_no_tls() -> None:
    async with serving(plain) as port:
        expect(await failure(f"https://127.0.0.1:{port}/v1"), "tls", "begins with http://", retryable=False)


async def test_the_certificate_is_not_trusted_until_its_authority_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: really(host.replace("tls.test", "127.0.0.1"), *rest, **more)
    )
    async with serving(hang_up, ssl=_server_tls(tmp_path)) as port:
        url = f"https://tls.test:{port}/v1"
        expect(await failure(url), "tls", "INNKEEPER_LLM_CA_BUNDLE", retryable=False)
        expect(
            await failure(url, network=Network(ca_bundle=tmp_path / "server.pem")), "closed", "closed the connection"
        )
        # For another name it is no proof.
        other = await failure(f"https://127.0.0.1:{port}/v1", network=Network(ca_bundle=tmp_path / "server.pem"))
        expect(other, "tls", "certificate", retryable=False)


@pytest.mark.parametrize("handle", [hang_up, say_nonsense])
async def test_the_server_hangs_up(handle: Handler) -> None:
    trace = CallTrace()
    async with serving(handle) as port:
        expect(await failure(f"http://127.0.0.1:{port}/v1", trace=trace), "closed", "closed the connection")
    assert trace.was_sent


async def test_the_proxy_is_away_or_refuses() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serving(refuse) as port:
        network = Network(proxy=f"http://me:secret-word@127.0.0.1:{port}")
        error = await failure("https://unknown-here.invalid/v1", network=network)
    expect(error, "proxy", "INNKEEPER_LLM_PROXY")
    assert "secret-word" not in f"{error.message}{error.details}{error.__cause__!r}"


async def test_a_connection_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.2)
    trace = CallTrace()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        error = await failure(f"http://127.0.0.1:{full.getsockname()[1]}/v1", trace=trace)
        for one in waiting:
            one.close()
    assert (error.code, error.details["limit"], error.retryable) == ("timeout_error", "connect", True)
    assert trace.was_sent is False


async def test_a_refused_address_is_refused_before_anything_is_sent() -> None:
    trace = CallTrace()
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy())
    with pytest.raises(RequestRefused):
        await llm.chat(ChatRequest("http://127.0.0.1:1/v1", "m", [], trace=trace))
    assert trace.was_sent is False


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"])
async def test_what_is_no_json_is_an_input_error(value: Any) -> None:
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True))
    with pytest.raises(NodeInputError, match="cannot be sent"):
        await llm.chat(ChatRequest("http://127.0.0.1:1/v1", "m", [], parameters={"a": value}))


def test_a_context_with_further_authorities_keeps_the_known_ones(tmp_path: Path) -> None:
    _server_tls(tmp_path)
    known = len(Network().tls().get_ca_certs())
    assert known > 10
    assert len(Network(ca_bundle=tmp_path / "server.pem").tls().get_ca_certs()) in (known, known + 1)
    with pytest.raises(InnkeeperError, match=r"missing\.pem.*INNKEEPER_LLM_CA_BUNDLE"):
        Network(ca_bundle=tmp_path / "missing.pem").tls()
    assert isinstance(Network().tls(), ssl.SSLContext)
