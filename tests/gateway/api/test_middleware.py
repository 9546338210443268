"""Who may talk to the gateway, how much, and what errors look like. No run is needed for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from innkeeper.gateway.api import error_handlers
from innkeeper.gateway.api.error_handlers import Shield
from innkeeper.gateway.api.middleware import FOREIGN_ORIGIN, AccessToken, BodyLimit, HostGuard
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.process.logging import JsonFormatter
from innkeeper.nodes.process.redaction import Redactor

LIMIT = 1000


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await json_response({"size": size})(scope, receive, send)


def guarded(**options: Any) -> ASGIApp:
    return HostGuard(echo_length, settings=Settings(**options))


async def status(app: ASGIApp, path: str = "/", **headers: str) -> int:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8090") as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.get(path, headers=named)).status_code


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8090", 200),
        ("127.0.0.1", 200),
        ("[::1]:99", 200),
        ("flows.example.org", 200),
        ("evil.example.com", 403),
        ("localhost.evil.com", 403),
        ("127.0.0.1.evil.com", 403),
        ("evil@localhost", 403),
        ("localhost:80:80", 403),
        ("", 403),
    ],
)
async def test_only_our_hosts_are_served(host: str, expected: int) -> None:
    assert await status(guarded(allowed_hosts=("flows.example.org",)), host=host) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:3000", 403),
        ("https://app.example.org", 200),
        ("https://evil.example.com", 403),
        ("http://localhost.evil.com", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
async def test_only_our_origins_may_call(origin: str, expected: int) -> None:
    assert await status(guarded(allowed_origins=("https://app.example.org",)), origin=origin) == expected


async def test_token_is_asked_for_everywhere_but_healthz_and_the_console() -> None:
    app = AccessToken(echo_length, token="right", demo_token=lambda: "demo")
    assert await status(app, "/api/nodes") == 401
    assert await status(app, "/api/nodes", authorization="Bearer wrong") == 401
    assert await status(app, "/api/nodes", authorization="Bearer right") == 200
    for path in ("/healthz", "/", "/console/main.js"):
        assert await status(app, path) == 200
    assert await status(app, "/consoles") == 401
    assert await status(app, "/api/nodes?token=right") == 401
    assert await status(app, "/api/prompt/x/events?token=right") == 200


async def test_webhooks_ask_for_no_token_and_no_origin_of_ours_and_nothing_else_does() -> None:
    """Their proof is checked where they arrive; the Host still counts."""
    app = HostGuard(AccessToken(echo_length, token="right", demo_token=lambda: "demo"), settings=Settings())
    foreign = {"host": "localhost:8090", "origin": "https://evil.example.com"}
    assert await status(app, "/hooks/x", **foreign) == 200
    assert await status(app, "/hooks/x") == 200
    assert await status(app, "/hooks/x", host="evil.example.com") == 403
    for path in ("/hooks", "/hooksome/x", "/api/hooks/x", "/api/triggers"):
        assert await status(app, path) == 401, path
        assert await status(app, path, **foreign) == 403, path


async def test_a_webhook_is_told_of_a_foreign_origin() -> None:
    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        await json_response({"foreign": scope.get(FOREIGN_ORIGIN, False)})(scope, receive, send)

    transport = httpx.ASGITransport(HostGuard(tell, settings=Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8090") as client:
        for origin, is_foreign in ((None, False), ("http://localhost:8090", False), ("null", True)):
            headers = {} if origin is None else {"Origin": origin}
            assert (await client.get("/hooks/x", headers=headers)).json() == {"foreign": is_foreign}


async def test_bodies_of_webhooks_have_a_limit_of_their_own() -> None:
    for limit, allowed in ((20_000_000, 5_000_000), (LIMIT, LIMIT)):
        transport = httpx.ASGITransport(BodyLimit(echo_length, limit=limit))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.post("/hooks/x", content=b"x" * allowed)).status_code == 200
            answer = await client.post("/hooks/x", content=b"x" * (allowed + 1))
            assert (answer.status_code, answer.json()["details"]["limit"]) == (413, allowed)


async def test_the_token_of_the_demo_model_opens_that_alone() -> None:
    app = AccessToken(echo_length, token="right", demo_token=lambda: "demo")
    assert await status(app, "/demo/v1/models", authorization="Bearer demo") == 200
    assert await status(app, "/demo/v1/models", authorization="Bearer right") == 200
    assert await status(app, "/demo/v1/models") == 401
    for path in ("/api/nodes", "/demo", "/api/prompt/x/events?token=demo", "/demonstration"):
        assert await status(app, path, authorization="Bearer demo") == 401, path


async def test_body_over_the_limit_is_refused_also_without_a_length() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(BodyLimit(echo_length, limit=LIMIT)), base_url="http://localhost"
    ) as client:
        assert (await client.post("/", content=b"x" * LIMIT)).json() == {"size": LIMIT}
        for content in (b"x" * (LIMIT + 1), pieces()):
            answer = await client.post("/", content=content)
            assert answer.status_code == 413
            assert answer.json()["details"] == {"limit": LIMIT, "unit": "bytes"}


async def test_unexpected_error_tells_a_reference_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("/srv/secret/path and sk-canary123456")

    transport = httpx.ASGITransport(Shield(broken))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    record = next(record for record in caplog.records if record.name == "innkeeper.gateway")
    line = JsonFormatter(Redactor()).format(record)
    assert orjson.loads(line)["reference"] == body["details"]["reference"]
    assert "ValueError" in line
    assert "canary" not in line


async def test_bug_in_a_route_is_told_like_any_other_error() -> None:
    app = FastAPI()
    error_handlers.install(app)

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("/srv/secret")

    transport = httpx.ASGITransport(Shield(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


async def test_client_that_leaves_in_the_middle_of_its_request_is_no_error(
    shared: Any, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", shared.settings.port)
    writer.write(b"POST /api/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
    await writer.drain()
    await http.get("/healthz")
    writer.close()
    await writer.wait_closed()
    for _ in range(5):
        await http.get("/healthz")
    assert [record.message for record in caplog.records if record.name == "innkeeper.gateway"] == []


async def test_real_gateway_refuses_strangers_in_our_words(shared: Any, http: httpx.AsyncClient) -> None:
    refused = await http.get("/api/nodes", headers={"Origin": "https://evil.example.com"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    missing = await http.get("/no/such/page")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "'/no/such/page'" in missing.json()["error"]
    refused = await http.put("/api/prompt")
    assert (refused.status_code, refused.json()["code"], refused.headers["allow"]) == (
        405,
        "method_not_allowed",
        "POST",
    )
    # Two routes of one path: the answer names the methods of both.
    several = await http.put("/api/history/x")
    assert several.headers["allow"] == "GET, DELETE"
    assert several.json()["error"].startswith("Method not allowed for '/api/history/x'; allowed: GET, DELETE; ")
    with pytest.raises(ConnectionClosed) as closed:
        async with connect(shared.ws_url, proxy=None, origin="https://evil.example.com") as socket:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
