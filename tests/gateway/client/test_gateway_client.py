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

from innkeeper.gateway.client import GatewayAway, GatewayClient, GatewayRefused, InvalidAddress
from innkeeper.gateway.process.listening_socket import listen, url_of
from innkeeper.nodes.errors import InvalidWorkflow, RunNotActive, RunNotFound

Talk = Callable[[WebSocket, dict[str, Any]], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(*routes: Route | WebSocketRoute) -> AsyncIterator[str]:
    """A server for one test."""
    config = uvicorn.Config(
        Starlette(routes=list(routes)),
        log_config=None,
        ws="websockets-sansio",
        lifespan="off",
        timeout_graceful_shutdown=1,
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
    async with asyncio.timeout(30), GatewayClient(url, patience_s=1) as client:
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


async def test_events_that_come_in_arrays_are_given_one_by_one() -> None:
    async def arrays(websocket: WebSocket, subscription: dict[str, Any]) -> None:
        await websocket.send_text(json.dumps(subscribed("A")))
        await websocket.send_text(json.dumps([event(1), {"what": "ever"}, event(1), event(2)]))
        await websocket.send_text(json.dumps([event(3, promptId="another"), final(3)]))

    async with serving(talk(arrays)) as url:
        assert [seq for seq, _ in await seen(url)] == [1, 2, 3]


@pytest.mark.parametrize("code", [1011, 1012, 1013, 4408, 4429])
async def test_reader_that_is_sent_away_comes_back_where_it_was(code: int) -> None:
    first = says({"promptId": "r", "after": 0}, subscribed("A"), event(1), close=code)
    again = says({"promptId": "r", "after": 1, "logId": "A"}, subscribed("A"), final(2))
    async with serving(talk(first, again)) as url:
        assert [seq for seq, _ in await seen(url)] == [1, 2]


async def test_place_can_be_kept_and_gone_back_to() -> None:
    first = says({"promptId": "r", "after": 0}, subscribed("A"), event(1), event(2), event(3))
    again = says({"promptId": "r", "after": 2, "logId": "A"}, subscribed("A"), event(3), final(4))
    async with serving(talk(first, again)) as url, asyncio.timeout(30), GatewayClient(url) as client:
        events = client.events("r")
        assert [(await anext(events))["seq"], (await anext(events))["seq"]] == [1, 2]
        await events.aclose()
        assert (events.after, events.log_id) == (2, "A")
        later = client.events("r", events.after, log_id=events.log_id)
        assert [item["seq"] async for item in later] == [3, 4]


async def test_gateway_that_cannot_read_its_log_now_is_asked_again() -> None:
    error = {"seq": None, "type": "error", "payload": {"message": "disk full", "code": "event_log_unavailable"}}
    first, again = says({"promptId": "r", "after": 0}, error), says({"promptId": "r", "after": 0}, final(1))
    async with serving(talk(first, again)) as url:
        assert await seen(url) == [(1, "EXECUTION_STATUS_UPDATE")]


async def test_place_beyond_the_end_is_refused_with_its_code() -> None:
    error = {"seq": None, "type": "error", "payload": {"message": "it has 3 events", "code": "after_beyond_end"}}
    async with serving(talk(says({"promptId": "r", "after": 9}, error))) as url:
        with pytest.raises(GatewayRefused) as refused:
            await seen(url, after=9)
    assert refused.value.code == "after_beyond_end"


async def test_websocket_of_something_else_is_named() -> None:
    async def chatter(websocket: WebSocket, subscription: dict[str, Any]) -> None:
        await websocket.send_text("welcome to the chat")

    async with serving(talk(chatter)) as url:
        with pytest.raises(GatewayRefused, match="not as an Innkeeper gateway"):
            await seen(url)


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


async def test_wait_for_a_run_that_ended_asks_for_no_events() -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse({"status": "complete", "outputs": {"o": 1}})

    async with serving(Route("/api/prompt/{run}", answer)) as url, GatewayClient(url) as client:
        assert (await client.wait("r"))["outputs"] == {"o": 1}


async def test_warnings_come_with_the_run_id() -> None:
    async def prompt(request: Request) -> Response:
        warning = {"code": "unknown_slot", "message": "no such slot", "level": "warning", "node": "a", "new": "field"}
        return JSONResponse({"promptId": "x", "warnings": [warning]})

    async with serving(Route("/api/prompt", prompt, methods=["POST"])) as url, GatewayClient(url) as client:
        run, warnings = await client.submit_with_warnings({"nodes": []})
    assert run == "x"
    assert [(warning.code, warning.node) for warning in warnings] == [("unknown_slot", "a")]


async def test_value_stored_apart_is_fetched_from_this_gateway_only() -> None:
    async def whole(request: Request) -> Response:
        return JSONResponse("all of it")

    async with serving(Route("/api/prompt/r/outputs/a/text", whole)) as url, GatewayClient(url, "token") as client:
        reference = {"$blob": "f" * 64, "size": 9, "mime": "application/json", "preview": "all"}
        assert await client.fetch({**reference, "url": "/api/prompt/r/outputs/a/text"}) == "all of it"
        for value in ({**reference, "url": "http://127.0.0.1:9/api/prompt/"}, reference, "text", None):
            assert await client.fetch(value) == value


@pytest.mark.parametrize("run", ["", ".", "..", "a/b", "\udcff"])
async def test_what_cannot_be_a_run_id_is_no_run(run: str) -> None:
    async with GatewayClient("http://127.0.0.1:9") as client:
        for question in (client.status, client.cancel, client.wait):
            with pytest.raises(RunNotFound):
                await question(run)


def test_token_that_no_header_can_carry_is_refused() -> None:
    with pytest.raises(InvalidAddress, match="token"):
        GatewayClient("http://127.0.0.1:9", "secret\n")
