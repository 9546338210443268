"""The client against a small stand-in gateway on a real port, which misbehaves as told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from gateway.client import GatewayAway, GatewayClient, GatewayRefused
from gateway.listen import listen, url_of
from nodes.errors import InvalidWorkflow, RunNotActive, RunNotFound

Talk = Callable[[WebSocket, dict[str, Any]], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(*routes: Route | WebSocketRoute) -> AsyncIterator[str]:
    """A server for one test."""
    config = uvicorn.Config(
        Starlette(routes=list(routes)), log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield url_of(sock)
        finally:
            server.should_exit = True
            await task


def event(seq: int, kind: str = "NODE_EXECUTING", **payload: Any) -> dict[str, Any]:
    return {"seq": seq, "ts": 1, "type": kind, "payload": {"promptId": "r", **payload}}


def final(seq: int) -> dict[str, Any]:
    return event(seq, "EXECUTION_STATUS_UPDATE", status="complete")


def talk(*talks: Talk) -> WebSocketRoute:
    """A `/ws` whose first connection goes as the first talk says, and so on."""
    left = iter(talks)

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        subscription = json.loads(await websocket.receive_text())
        assert subscription["type"] == "SUBSCRIBE"
        await next(left)(websocket, subscription["payload"])

    return WebSocketRoute("/ws", endpoint)


def says(expected: dict[str, Any], *frames: dict[str, Any], close: int | None = None) -> Talk:
    async def one(websocket: WebSocket, subscription: dict[str, Any]) -> None:
        assert subscription == {**expected, "batch": True}
        for frame in frames:
            await websocket.send_text(json.dumps(frame))
        if close:
            await websocket.close(close, "because")

    return one


def subscribed(log_id: str) -> dict[str, Any]:
    return {"seq": None, "type": "SUBSCRIBED", "payload": {"promptId": "r", "logId": log_id}}


async def seen(url: str, after: int = 0) -> list[tuple[int | None, str]]:
    async with asyncio.timeout(10), GatewayClient(url, patience_s=1) as client:
        return [(item.get("seq"), item["type"]) async for item in client.events("r", after)]


async def test_events_go_on_where_a_lost_connection_ended() -> None:
    first = says({"promptId": "r", "after": 0}, subscribed("A"), event(1), event(2), close=1012)
    again = says({"promptId": "r", "after": 2, "logId": "A"}, subscribed("A"), event(2), event(3), final(4))
    async with serving(talk(first, again)) as url:
        assert [seq for seq, _ in await seen(url)] == [1, 2, 3, 4]


async def test_events_after_some_seq_leave_out_what_was_seen() -> None:
    one = says({"promptId": "r", "after": 5}, subscribed("A"), event(6), final(7))
    async with serving(talk(one)) as url:
        assert [seq for seq, _ in await seen(url, after=5)] == [6, 7]


async def test_events_of_a_log_begun_anew_start_again_and_say_so() -> None:
    first = says({"promptId": "r", "after": 0}, subscribed("A"), event(1), event(2), close=1012)
    again = says({"promptId": "r", "after": 2, "logId": "A"}, subscribed("B"), event(1), final(2))
    async with serving(talk(first, again)) as url:
        assert await seen(url) == [
            (1, "NODE_EXECUTING"),
            (2, "NODE_EXECUTING"),
            (None, "LOG_RESTARTED"),
            (1, "NODE_EXECUTING"),
            (2, "EXECUTION_STATUS_UPDATE"),
        ]


async def test_events_of_an_unknown_run_are_an_error() -> None:
    error = {"seq": None, "type": "error", "payload": {"message": "there is no run", "code": "run_not_found"}}
    async with serving(talk(says({"promptId": "r", "after": 0}, error))) as url:
        with pytest.raises(RunNotFound, match="there is no run"):
            await seen(url)


async def test_events_refused_for_good_are_not_tried_again() -> None:
    async with serving(talk(says({"promptId": "r", "after": 0}, close=4401))) as url:
        with pytest.raises(GatewayRefused, match="because"):
            await seen(url)


async def test_calls_give_up_on_a_gateway_that_stays_away() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with GatewayClient(url, patience_s=0.1) as client:
            with pytest.raises(GatewayAway, match="innkeeper up"):
                await client.status("r")
            with pytest.raises(GatewayAway, match="innkeeper up"):
                [_ async for _ in client.events("r")]


async def test_submit_repeated_after_an_outage_keeps_its_key() -> None:
    keys = []

    async def prompt(request: Request) -> Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            return JSONResponse({"error": "Temporal does not answer", "code": "engine_unavailable"}, 503)
        return JSONResponse({"promptId": (await request.json())["id"]})

    async with serving(Route("/api/prompt", prompt, methods=["POST"])) as url, GatewayClient(url) as client:
        assert await client.submit({"id": "x", "nodes": []}) == "x"
    assert len(keys) == 2
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"error": "no such run", "code": "run_not_found"}, RunNotFound),
        (409, {"error": "it has ended", "code": "run_not_active"}, RunNotActive),
        (401, {"error": "a token is needed", "code": "unauthorized"}, GatewayRefused),
        (422, {"error": "bad", "problems": [{"code": "cycle", "message": "a cycle"}]}, InvalidWorkflow),
    ],
)
async def test_answers_become_errors(status: int, body: dict[str, Any], kind: type[Exception]) -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse(body, status)

    async with serving(Route("/api/prompt/{run}", answer)) as url, GatewayClient(url) as client:
        with pytest.raises(kind):
            await client.status("r")


async def test_another_server_at_the_address_is_named() -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse("hello")

    async with serving(Route("/api/prompt/{run}", answer)) as url, GatewayClient(url) as client:
        with pytest.raises(GatewayRefused, match="not as an Innkeeper gateway"):
            await client.status("r")
