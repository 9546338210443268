"""The guard: what it refuses, what it lets through, and that it connects to the address it checked."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from innkeeper.nodes.errors import RequestRefused, ResourceError
from innkeeper.nodes.node import HttpRequest
from innkeeper.nodes.services.http import AddressPolicy, GuardedTransport, Network, address_kind
from innkeeper.nodes.services.web import GuardedHttp


@asynccontextmanager
async def answering(body: bytes = b"hello", headers: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A bare server: gives its port and the request heads it saw."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        length = str(len(body)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n" + headers + b"\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


def client(policy: AddressPolicy, **options: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=GuardedTransport(policy, **options))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fc00::1", "private"),
        ("fec0::1", "private"),
        ("::ffff:10.1.1.1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("::127.0.0.1", "reserved"),
    ],
)
def test_every_address_has_a_kind(address: str, kind: str) -> None:
    assert address_kind(ip_address(address)) == kind


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (AddressPolicy(), {"public"}),
        (AddressPolicy(allow_loopback=True), {"public", "loopback"}),
        (AddressPolicy(allow_private=True), {"public", "private"}),
    ],
)
def test_a_policy_allows_its_kinds_and_no_others(policy: AddressPolicy, allowed: set[str]) -> None:
    examples = {
        "public": "8.8.8.8",
        "loopback": "127.0.0.1",
        "private": "10.0.0.1",
        "link-local": "169.254.1.1",
        "metadata": "169.254.169.254",
        "unspecified": "0.0.0.0",
        "multicast": "224.0.0.1",
        "reserved": "240.0.0.1",
    }
    for kind, address in examples.items():
        expected: AbstractContextManager[Any] = (
            nullcontext() if kind in allowed else pytest.raises(RequestRefused, match=kind)
        )
        with expected:
            policy.check("host", 80, [ip_address(address)])


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    with pytest.raises(RequestRefused, match="INNKEEPER_ALLOW_PRIVATE"):
        AddressPolicy().check("host", 80, [ip_address("8.8.8.8"), ip_address("10.0.0.1")])


@pytest.mark.parametrize(("entry", "passes"), [("box", True), ("box:80", True), ("box:81", False), ("bo", False)])
def test_an_allowed_host_is_matched_whole_and_by_port(entry: str, passes: bool) -> None:
    policy = AddressPolicy(allowed_hosts=frozenset({entry}))
    if passes:
        policy.check("Box.", 80, [ip_address("10.0.0.1")])
    else:
        with pytest.raises(RequestRefused):
            policy.check("Box.", 80, [ip_address("10.0.0.1")])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    async with answering() as (port, heads), client(AddressPolicy()) as http:
        with pytest.raises(RequestRefused, match="loopback"):
            await http.get(f"http://{host}:{port}/")
    assert heads == []


async def test_an_allowed_request_arrives_with_its_host_header() -> None:
    async with answering() as (port, heads), client(AddressPolicy(allow_loopback=True)) as http:
        response = await http.get(f"http://localhost:{port}/path")
    assert response.text == "hello"
    assert f"Host: localhost:{port}".lower().encode() in heads[0].lower()


async def test_a_name_that_changes_its_address_after_the_check_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    really = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(str(host))
        # First a harmless answer, then, to whoever asks again, another.
        shown = "127.0.0.1" if asked.count(str(host)) == 1 else "10.0.0.1"
        return really(shown if host == "rebind.test" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with answering() as (port, heads), client(AddressPolicy(allow_loopback=True)) as http:
        response = await http.get(f"http://rebind.test:{port}/")
    assert response.status_code == 200
    assert asked.count("rebind.test") == 1
    assert f"rebind.test:{port}".encode() in heads[0]


async def test_a_name_that_does_not_exist_is_a_connection_error() -> None:
    async with client(AddressPolicy()) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get("http://does-not-exist.invalid/")


async def test_the_next_address_is_tried_when_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    really = socket.getaddrinfo

    def two(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "two.test":
            return really(host, port, *args, **kwargs)
        return [*really("127.0.0.3", port, *args, **kwargs), *really("127.0.0.1", port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    async with answering() as (port, _):
        policy = AddressPolicy(allowed_hosts=frozenset({"two.test"}))
        async with client(policy) as http:
            # The guard of these tests knows 127.0.0.1 only; the first address fails either way.
            assert (await http.get(f"http://two.test:{port}/")).text == "hello"


async def test_a_response_over_the_limit_ends_with_an_error() -> None:
    here = AddressPolicy(allow_loopback=True)
    async with answering(b"x" * 1000) as (port, _), client(here, max_response_bytes=999) as http:
        with pytest.raises(ResourceError, match="999 bytes"):
            await http.get(f"http://127.0.0.1:{port}/")


RAW_DEFLATE = zlib.compressobj(wbits=-15)
PACKED = {
    "gzip": gzip.compress(b"hello" * 1_000),
    "x-gzip": gzip.compress(b"hello" * 1_000),
    "GZIP": gzip.compress(b"hello" * 500) + gzip.compress(b"hello" * 500) + b"junk",
    "deflate": zlib.compress(b"hello" * 1_000),
    "Deflate": RAW_DEFLATE.compress(b"hello" * 1_000) + RAW_DEFLATE.flush(),
}


@pytest.mark.parametrize("encoding", PACKED)
async def test_compressed_answers_are_not_asked_for_but_read(encoding: str) -> None:
    here = AddressPolicy(allow_loopback=True)
    header = f"Content-Encoding: {encoding}\r\n".encode()
    async with answering(PACKED[encoding], header) as (port, heads), client(here) as http:
        response = await http.get(f"http://127.0.0.1:{port}/")
    assert response.content == b"hello" * 1_000
    assert b"accept-encoding: identity" in heads[0].lower()


async def test_a_compressed_answer_ends_at_the_limit_and_not_in_memory() -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(60)) + packer.flush()
    here = AddressPolicy(allow_loopback=True)
    tracemalloc.start()
    try:
        async with (
            answering(bomb, b"Content-Encoding: gzip\r\n") as (port, _),
            client(here, max_response_bytes=2_000_000) as http,
        ):
            with pytest.raises(ResourceError, match="2000000 bytes"):
                await http.get(f"http://127.0.0.1:{port}/")
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # 60 MB are packed in it
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "match"), [("br", "gzip and deflate"), ("gzip, gzip", "gzip and deflate"), ("gzip", "not packed")]
)
async def test_what_cannot_be_unpacked_is_refused(encoding: str, match: str) -> None:
    here = AddressPolicy(allow_loopback=True)
    header = f"Content-Encoding: {encoding}\r\n".encode()
    async with answering(b"hello", header) as (port, _), client(here) as http:
        with pytest.raises(ResourceError, match=match):
            await http.get(f"http://127.0.0.1:{port}/")


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with answering() as (port, _), client(AddressPolicy(allow_loopback=True)) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200


def _server_tls(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tls.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("tls.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def test_tls_is_spoken_with_the_name_and_its_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: really(host.replace("tls.test", "127.0.0.1"), *rest, **more)
    )
    names: list[str | None] = []
    context = _server_tls(tmp_path)
    context.sni_callback = lambda connection, name, _: names.append(name)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server, client(AddressPolicy(allow_loopback=True)) as http:
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await http.get(f"https://tls.test:{server.sockets[0].getsockname()[1]}/")
    assert names == ["tls.test"]


# --- proxy and authorities of the operator ------------------------------------------------------------------------


@asynccontextmanager
async def proxying() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that answers everything itself; gives its URL and the first lines and permissions it got."""
    asked: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split(" HTTP/")[0])
        asked.extend(line for line in head.split("\r\n") if line.lower().startswith("proxy-authorization"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nproxy")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://me:pass%20word@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_what_is_outside_is_reached_through_the_proxy_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    really = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: really(host.replace("out.test", "1.1.1.1"), *rest, **more)
    )
    async with proxying() as (url, asked), client(AddressPolicy(), network=Network(proxy=url)) as http:
        assert (await http.get("http://out.test/a")).text == "proxy"
        assert (await http.get("http://unknown-here.invalid/b")).text == "proxy"
    assert asked[::2] == ["GET http://out.test/a", "GET http://unknown-here.invalid/b"]
    assert asked[1].split()[-1] == base64.b64encode(b"me:pass word").decode()


async def test_what_is_inside_goes_past_the_proxy_and_is_guarded() -> None:
    async with proxying() as (url, asked), answering() as (port, _):
        network = Network(proxy=url)
        async with client(AddressPolicy(allow_loopback=True), network=network) as http:
            assert (await http.get(f"http://127.0.0.1:{port}/")).text == "hello"
        async with client(AddressPolicy(), network=network) as http:
            for inside in (f"127.0.0.1:{port}", f"localhost:{port}", "10.0.0.1", "169.254.169.254", "[::1]"):
                with pytest.raises(RequestRefused):
                    await http.get(f"http://{inside}/")
    assert asked == []


async def test_our_own_services_are_closed_behind_a_proxy_too() -> None:
    policy = AddressPolicy(closed=frozenset({("unknown-here.invalid", 80)}))
    async with proxying() as (url, asked), client(policy, network=Network(proxy=url)) as http:
        with pytest.raises(RequestRefused):
            await http.get("http://unknown-here.invalid/")
    assert asked == []


async def test_a_redirect_from_outside_leads_to_nothing_inside_behind_a_proxy() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client(AddressPolicy(allow_loopback=True), network=Network(proxy=url)) as http:
        with pytest.raises(RequestRefused):
            await http.get("http://unknown-here.invalid/", follow_redirects=True)


async def test_certificates_of_the_operators_own_authority_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: really(host.replace("tls.test", "127.0.0.1"), *rest, **more)
    )

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=_server_tls(tmp_path))
    network = Network(ca_bundle=tmp_path / "server.pem")
    async with server, client(AddressPolicy(allow_loopback=True), network=network) as http:
        response = await http.get(f"https://tls.test:{server.sockets[0].getsockname()[1]}/")
    assert response.text == "ok"


# --- redirects, and our own services ------------------------------------------------------------------------------

OUTSIDE = "::1"
"""Counts as an address of the internet in these tests."""


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "innkeeper.nodes.services.http.address_kind",
        lambda address: "public" if str(address) == OUTSIDE else address_kind(address),
    )


@asynccontextmanager
async def leading_to(place: str, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server that sends everybody on."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 On\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, host, 0)
    async with server:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("through", [0, 1])
async def test_no_server_outside_sends_us_to_this_machine(through: int) -> None:
    policy = AddressPolicy(allow_loopback=True, allow_private=True, allowed_hosts=frozenset({"127.0.0.1"}))
    async with answering() as (port, heads), AsyncExitStack() as servers:
        for place in (f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/demo/v1"):
            url = place
            for _ in range(through + 1):
                url = await servers.enter_async_context(leading_to(url, OUTSIDE))
            async with client(policy) as http:
                # An open connection to the place makes no difference.
                assert (await http.get(place)).text == "hello"
                with pytest.raises(RequestRefused):
                    await http.post(url, follow_redirects=True)
            nodes = GuardedHttp(policy)
            with pytest.raises(RequestRefused):
                await nodes.request(HttpRequest("POST", url))
            await nodes.aclose()
        assert len(heads) == 2


@pytest.mark.usefixtures("outside")
async def test_a_server_here_may_send_us_on_to_another_here_and_outside() -> None:
    policy = AddressPolicy(allow_loopback=True)
    async with answering() as (port, _), client(policy) as http, AsyncExitStack() as servers:
        here = await servers.enter_async_context(leading_to(f"http://127.0.0.1:{port}/"))
        assert (await http.get(here, follow_redirects=True)).text == "hello"
        back = await servers.enter_async_context(leading_to(f"http://127.0.0.1:{port}/", OUTSIDE))
        away = await servers.enter_async_context(leading_to(back))
        # The first address was here, so what is behind it may lead back.
        assert (await http.get(away, follow_redirects=True)).text == "hello"


@pytest.mark.parametrize(
    ("first", "kinds"),
    [("public", {"public"}), ("loopback", {"public", "loopback"}), ("private", {"public", "private"})],
)
def test_what_a_redirect_may_reach_hangs_on_where_it_comes_from(first: Any, kinds: set[str]) -> None:
    policy = AddressPolicy(allow_loopback=True, allow_private=True).after(first)
    assert reached(policy) == kinds
    assert reached(AddressPolicy().after(first)) == {"public"}


def reached(policy: AddressPolicy) -> set[str]:
    found = set()
    for kind, address in (("public", "8.8.8.8"), ("loopback", "127.0.0.1"), ("private", "10.0.0.1")):
        try:
            policy.check("h", 80, [ip_address(address)])
            found.add(kind)
        except RequestRefused:
            pass
    return found


OWN = AddressPolicy(
    allow_loopback=True, allow_private=True, gateway=("127.0.0.1", 8090), closed=frozenset({("127.0.0.1", 7233)})
)


@pytest.mark.parametrize(
    ("host", "port", "address", "is_refused"),
    [
        ("127.0.0.1", 8090, "127.0.0.1", True),
        ("localhost", 8090, "::1", True),
        ("rebound.example", 8090, "127.0.0.1", True),
        ("127.1.2.3", 8090, "127.1.2.3", True),
        ("[::ffff:7f00:1]", 8090, "::ffff:7f00:1", True),
        ("127.0.0.1", 7233, "127.0.0.1", True),
        ("127.0.0.1", 8091, "127.0.0.1", False),
        ("llm.example", 8090, "8.8.8.8", False),
        ("box.lan", 8090, "10.0.0.1", False),
    ],
)
def test_our_own_services_are_refused_under_every_name(host: str, port: int, address: str, is_refused: bool) -> None:
    if not is_refused:
        OWN.check(host, port, [ip_address(address)])
        return
    with pytest.raises(RequestRefused, match="Innkeeper itself listens there") as caught:
        OWN.check(host, port, [ip_address(address)])
    assert caught.value.details["kind"] == "own"


def test_a_gateway_elsewhere_is_known_by_name_and_address() -> None:
    named = AddressPolicy(allow_private=True, gateway=("inn.example", 443))
    numbered = AddressPolicy(allow_private=True, gateway=("10.0.0.5", 8090))
    for policy, host, port in ((named, "INN.example.", 443), (numbered, "alias.example", 8090)):
        with pytest.raises(RequestRefused, match="Innkeeper itself"):
            policy.check(host, port, [ip_address("10.0.0.5")])
    named.check("other.example", 443, [ip_address("10.0.0.5")])


def test_the_operator_may_name_the_gateway() -> None:
    replace(OWN, allowed_hosts=frozenset({"127.0.0.1:8090"})).check("127.0.0.1", 8090, [ip_address("127.0.0.1")])


@pytest.mark.parametrize("allow_loopback", [True, False])
async def test_of_the_gateway_only_the_demo_is_reached(allow_loopback: bool) -> None:
    async with answering(headers=b"Connection: keep-alive\r\n") as (port, heads):
        policy = AddressPolicy(allow_loopback=allow_loopback, gateway=("127.0.0.1", port), allow_demo=True)
        async with client(policy) as http:
            assert (await http.get(f"http://127.0.0.1:{port}/demo/v1/models")).text == "hello"
            # The connection to the demo serves nothing else.
            for path in ("/", "/api/prompt", "/demo", "/demos/v1", "/demo/../api/prompt", "/demo/%2e%2e/api/prompt"):
                with pytest.raises(RequestRefused):
                    await http.post(f"http://127.0.0.1:{port}{path}")
        assert len(heads) == 1


async def test_the_demo_is_no_way_around_the_policy() -> None:
    async with answering() as (port, _), client(AddressPolicy(gateway=("127.0.0.1", port))) as http:
        with pytest.raises(RequestRefused, match="loopback"):
            await http.get(f"http://127.0.0.1:{port}/demo/v1")
