"""Requests of nodes: what is sent, where redirects may lead, and what errors say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from innkeeper.nodes.errors import InnkeeperError, NodeInputError, ProviderError, RequestRefused, ResourceError
from innkeeper.nodes.node import Http, HttpRequest
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.web import GuardedHttp, check_url

LOCAL = AddressPolicy(allow_loopback=True)
Seen = list[tuple[str, dict[str, str], bytes]]


@asynccontextmanager
async def serving(answers: Mapping[str, bytes] | None = None) -> AsyncIterator[tuple[str, Seen]]:
    """A bare server that answers by path (`/echo` with 200, `/slow` never); gives its address and what it saw."""
    seen: Seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen.append((first, headers, body))
        path = first.split(" ")[1]
        if path == "/slow":
            await reader.read()
        writer.write((answers or {}).get(path, answer(b"hello")))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


def answer(body: bytes, status: int = 200, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body


def moved(to: str, status: int = 302) -> bytes:
    return answer(b"", status, f"Location: {to}\r\n")


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    service = GuardedHttp(LOCAL, max_response_bytes=10_000)
    yield service
    await service.aclose()


async def failed(http: Http, request: HttpRequest) -> InnkeeperError:
    with pytest.raises(InnkeeperError) as caught:
        await http.request(request)
    return caught.value


async def test_request_goes_out_as_asked_and_any_status_is_an_answer(http: Http) -> None:
    async with serving({"/a?b=1": answer(b"\xff\x00", 404, "X-Two: 1\r\nX-Two: 2\r\n")}) as (url, seen):
        response = await http.request(HttpRequest("POST", f"{url}/a?b=1", {"X-Mine": "yes"}, b"body"))
    assert (response.status, response.body, response.headers["x-two"]) == (404, b"\xff\x00", "1, 2")
    first, headers, body = seen[0]
    assert (first, headers["x-mine"], body) == ("POST /a?b=1 HTTP/1.1", "yes", b"body")
    assert headers["user-agent"] == "innkeeper"
    assert headers["accept-encoding"] == "identity"


async def test_headers_of_the_connection_are_left_out(http: Http) -> None:
    mine = {"Host": "other.example", "Content-Length": "999", "Transfer-Encoding": "chunked", "Connection": "upgrade"}
    mine |= {"Upgrade": "h2c", "Proxy-Authorization": "x", "Expect": "100-continue", "User-Agent": "mine"}
    async with serving() as (url, seen):
        await http.request(HttpRequest("POST", url, mine, b"abc"))
    headers = seen[0][1]
    assert url.endswith(headers["host"])
    assert headers["content-length"] == "3"
    assert headers["user-agent"] == "mine"
    assert not {"transfer-encoding", "upgrade", "proxy-authorization", "expect"} & headers.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\n"),
        ("X-A", "\0"),
        ("X-A", "酒"),
        ("X-A\r\nX-B", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X:A", "1"),
    ],
)
async def test_headers_that_are_none_are_refused_without_their_value(http: Http, name: str, value: str) -> None:
    async with serving() as (url, seen):
        error = await failed(http, HttpRequest("GET", url, {name: value}))
    assert isinstance(error, NodeInputError)
    assert seen == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/path",
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "http://user:pw@host/",
        "http://a\\@host/",
        "http://host:99999/",
        "http://ho st/",
        "http://host/\r\nX: 1",
        "http://[::1",
        None,
    ],
)
async def test_url_that_is_not_plain_is_refused(http: Http, url: Any) -> None:
    error = await failed(http, HttpRequest("GET", url))
    assert isinstance(error, NodeInputError)
    assert "pw" not in error.message


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET /x HTTP/1.1\r\n", ""])
async def test_method_that_is_not_offered_is_refused(http: Http, method: str) -> None:
    assert isinstance(await failed(http, HttpRequest(method, "http://127.0.0.1:9/")), NodeInputError)


def test_host_is_told_with_its_port() -> None:
    assert check_url("https://Example.com/a") == "example.com:443"
    assert check_url("http://[::1]:81") == "[::1]:81"


async def test_redirects_on_the_same_server_keep_headers(http: Http) -> None:
    async with serving({"/a": moved("/b", 307), "/b": moved("c")}) as (url, seen):
        response = await http.request(HttpRequest("POST", f"{url}/a", {"Authorization": "key"}, b"body"))
    assert response.body == b"hello"
    assert [first.split(" ")[0:2] for first, _, _ in seen] == [["POST", "/a"], ["POST", "/b"], ["GET", "/c"]]
    assert [body for _, _, body in seen] == [b"body", b"body", b""]
    assert all(headers["authorization"] == "key" for _, headers, _ in seen)


async def test_another_server_gets_no_headers_but_those_of_content(http: Http) -> None:
    mine = {"Authorization": "key", "X-Api-Key": "key", "Cookie": "a=key", "Content-Type": "text/plain"}
    async with serving() as (other, elsewhere), serving({"/a": moved(f"{other}/b", 308)}) as (url, _):
        await http.request(HttpRequest("POST", f"{url}/a", mine, b"body"))
    _, headers, body = elsewhere[0]
    assert "key" not in str(headers)
    assert (headers["content-type"], body) == ("text/plain", b"body")
    assert other.endswith(headers["host"])


async def test_redirects_are_counted_and_checked(http: Http) -> None:
    answers = {
        "/circle": moved("/circle"),
        "/file": moved("file:///etc/passwd"),
        "/user": moved("http://a:b@127.0.0.1/"),
        "/metadata": moved("http://169.254.169.254/latest"),
        "/private": moved("http://10.0.0.1/"),
    }
    async with serving(answers) as (url, seen):
        circle = await failed(http, HttpRequest("GET", f"{url}/circle"))
        assert len(seen) == 6
        for path, kind in (
            ("file", NodeInputError),
            ("user", NodeInputError),
            ("metadata", RequestRefused),
            ("private", RequestRefused),
        ):
            assert isinstance(await failed(http, HttpRequest("GET", f"{url}/{path}")), kind), path
    assert (circle.code, circle.retryable) == ("too_many_redirects", False)


async def test_addresses_that_are_not_allowed_are_refused() -> None:
    async with serving() as (url, seen):
        strict = GuardedHttp(AddressPolicy())
        assert isinstance(await failed(strict, HttpRequest("GET", url)), RequestRefused)
        await strict.aclose()
    assert seen == []


async def test_proxies_of_the_environment_are_not_used(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving() as (url, _):
        assert (await http.request(HttpRequest("GET", url))).body == b"hello"


async def test_cookies_are_not_kept(http: Http) -> None:
    async with serving({"/a": answer(b"", 200, "Set-Cookie: user=ann\r\n")}) as (url, seen):
        response = await http.request(HttpRequest("GET", f"{url}/a"))
        await http.request(HttpRequest("GET", f"{url}/b"))
    assert response.headers["set-cookie"] == "user=ann"
    assert "cookie" not in seen[1][1]


async def test_answer_over_the_limit_is_refused(http: Http) -> None:
    async with serving({"/a": answer(b"x" * 10_000), "/b": answer(b"x" * 10_001)}) as (url, _):
        assert len((await http.request(HttpRequest("GET", f"{url}/a"))).body) == 10_000
        error = await failed(http, HttpRequest("GET", f"{url}/b"))
    assert isinstance(error, ResourceError)
    assert error.code == "response_too_large"


@pytest.mark.parametrize(("method", "retryable"), [("GET", True), ("PUT", True), ("POST", False), ("PATCH", False)])
async def test_what_may_be_asked_twice_is_retryable(http: Http, method: str, retryable: bool) -> None:
    async with serving({"/broken": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "/odd": b"hi\r\n\r\n"}) as (
        url,
        _,
    ):
        late = await failed(http, HttpRequest(method, f"{url}/slow", timeout_s=0.1))
        broken = await failed(http, HttpRequest(method, f"{url}/broken"))
        odd = await failed(http, HttpRequest(method, f"{url}/odd"))
    gone = await failed(http, HttpRequest(method, url))
    assert [error.code for error in (late, broken, odd, gone)] == ["timeout_error", *["connection_error"] * 3]
    assert {error.retryable for error in (late, broken, odd, gone)} == {retryable}
    assert all(isinstance(error, ProviderError) and json.dumps(error.details) for error in (late, broken, odd, gone))


async def test_time_limit_is_for_all_of_it() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.02)
        writer.close()

    service = GuardedHttp(LOCAL)
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await failed(service, HttpRequest("GET", url, timeout_s=0.2))
    await service.aclose()
    assert error.code == "timeout_error"


async def test_a_post_whose_answer_nobody_reads_ends_with_its_head(http: GuardedHttp) -> None:
    head = b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Encoding: gzip\r\nContent-Length: 999999999\r\n\r\n"
    async with serving({"/a?k=1": head}) as (url, seen), asyncio.timeout(5):
        status, headers = await http.post_unread(f"{url}/a?k=1", b"body", {"X-Mine": "yes"}, timeout_s=3)
    assert (status, headers["retry-after"]) == (503, "7")
    first, sent, body = seen[0]
    assert (first, sent["x-mine"], body) == ("POST /a?k=1 HTTP/1.1", "yes", b"body")


async def test_such_a_post_follows_no_redirect_and_has_the_same_guard(http: GuardedHttp) -> None:
    async with serving({"/a": moved("/b", 307)}) as (url, seen):
        status, _ = await http.post_unread(f"{url}/a", b"", {}, timeout_s=3)
        assert (status, len(seen)) == (307, 1)
        strict = GuardedHttp(AddressPolicy())
        with pytest.raises(RequestRefused):
            await strict.post_unread(url, b"", {}, timeout_s=3)
        await strict.aclose()
    with pytest.raises(ProviderError):
        await http.post_unread(url, b"", {}, timeout_s=3)
    with pytest.raises(NodeInputError):
        await http.post_unread("http://me:pw@a.example", b"", {}, timeout_s=3)
