"""A new socket that has not spoken hears how runs end that were submitted over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.realtime.subscriptions import ends_in
from tests.gateway.asking import submit, until_started
from tests.gateway.conftest import until_ready
from tests.gateway.realtime.talking import Json, hear, hear_run, is_final, say, socket_to

ENDS = ["NODE_COMPLETE", "NODE_COMPLETE", "EXECUTION_STATUS_UPDATE"]


def hold(gate: Path) -> Json:
    """A stream that ends at once, and a node that ends when there is a file."""
    nodes = [
        {"id": "n", "fullType": "toys:Hold", "inputs": {"gate": str(gate)}},
        {"id": "c", "fullType": "toys:Count", "inputs": {}},
    ]
    return {"nodes": nodes, "edges": []}


async def submit_and_leave(url: str, body: Json) -> str:
    """Submit over a socket that goes when the first node has ended."""
    async with socket_to(url) as socket:
        await say(socket, "PROMPT_REQUEST", **body)
        run = str((await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"])
        assert (await hear(socket, "NODE_COMPLETE"))["payload"]["nodeId"] == "c"
    return run


async def hear_unasked(socket: ClientConnection, run: str) -> list[Json]:
    """What a socket that has not spoken hears of a run up to its final status."""
    events: list[Json] = []
    async with asyncio.timeout(30):
        while not events or not is_final(events[-1]):
            frame = json.loads(await socket.recv())
            if frame["payload"].get("promptId") == run:
                events.append(frame)
    assert {event["seq"] for event in events} == {None}, "a number would count as a place in the log"
    return events


async def hears_nothing_of(run: str, socket: ClientConnection, seconds: float = 0.5) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while json.loads(await socket.recv())["payload"].get("promptId") != run:
                pass
        return False
    return True


async def test_new_socket_hears_what_ends_from_then_on_and_no_chunks(shared: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = await submit_and_leave(shared.ws_url, hold(gate))
    async with socket_to(shared.ws_url) as socket:
        assert await hears_nothing_of(run, socket)
        gate.touch()
        events = await hear_unasked(socket, run)
    assert [event["type"] for event in events] == ENDS
    assert [event["payload"].get("nodeId") for event in events[:2]] == ["n", "__WORKFLOW_INTERFACE_OUTPUTS__"]
    assert events[-1]["payload"]["status"] == "complete"


async def test_run_of_a_gateway_that_restarts_is_told_to_its_end(stack: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            run = await submit_and_leave(stack.ws_url, hold(gate))
            silent = await submit(http, {"nodes": [{"id": "n", "fullType": "toys:Hold"}], "edges": []})
        async with stack.gateway():
            await until_ready(http)
            async with socket_to(stack.ws_url) as socket:
                gate.touch()
                events = await hear_unasked(socket, run)
                await http.delete(f"/api/interrupt/{silent}")
                assert await hears_nothing_of(silent, socket), "it was submitted over HTTP"
    assert [event["type"] for event in events] == ENDS


async def test_run_that_ended_while_the_client_was_away_is_told_to_be_over(stack: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            run = await submit_and_leave(stack.ws_url, hold(gate))
            await until_started(stack.temporal, run)
        gate.touch()
        await stack.temporal.get_workflow_handle(run).result()
        async with stack.gateway():
            await until_ready(http)
            async with asyncio.timeout(30):
                while (await http.get(f"/api/prompt/{run}")).json()["status"] != "complete":
                    await asyncio.sleep(0.02)
            async with socket_to(stack.ws_url) as socket:
                (only,) = await hear_unasked(socket, run)
    assert only["payload"]["status"] == "complete"


async def test_socket_that_subscribes_hears_only_what_it_asks_for(
    shared: Any, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    held = await submit_and_leave(shared.ws_url, hold(gate))
    other = await submit(http, {"nodes": [{"id": "n", "fullType": "toys:Say"}], "edges": []})
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId=other)
        await hear_run(socket, other)
        gate.touch()
        assert await hears_nothing_of(held, socket)


async def test_socket_that_submits_hears_only_of_its_own_run(shared: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    held = await submit_and_leave(shared.ws_url, hold(gate))
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "PROMPT_REQUEST", nodes=[{"id": "n", "fullType": "toys:Say"}], edges=[])
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        await hear_run(socket, run)
        gate.touch()
        assert await hears_nothing_of(held, socket)


async def test_reader_that_comes_with_a_subscription_misses_nothing(shared: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = await submit_and_leave(shared.ws_url, hold(gate))
    async with socket_to(shared.ws_url) as slow, GatewayClient(shared.url) as client:
        gate.touch()
        await hear_unasked(slow, run)
        await say(slow, "SUBSCRIBE", promptId=run)
        events = await hear_run(slow, run)
        read = [event["seq"] async for event in client.events(run)]
    assert [event["seq"] for event in events] == read == list(range(1, len(events) + 1))


def test_of_what_came_before_the_socket_only_the_end_of_the_run_is_told() -> None:
    def frame(seq: int, kind: str, **payload: Any) -> tuple[int, bytes]:
        return seq, json.dumps({"seq": seq, "ts": 1, "type": kind, "payload": payload}, separators=(",", ":")).encode()

    page = [
        frame(1, "NODE_COMPLETE", nodeId="old"),
        frame(2, "NODE_YIELD", yieldedContent={"type": "NODE_COMPLETE"}),
        frame(3, "NODE_ERROR", nodeId="new"),
        frame(4, "EXECUTION_STATUS_UPDATE", status="paused"),
        frame(5, "EXECUTION_STATUS_UPDATE", status="interrupted"),
    ]
    node = {"seq": None, "ts": 1, "type": "NODE_ERROR", "payload": {"nodeId": "new"}}
    end = {"seq": None, "ts": 1, "type": "EXECUTION_STATUS_UPDATE", "payload": {"status": "interrupted"}}
    assert [json.loads(told) for told in ends_in(page, 1)] == [node, end]
    assert [json.loads(told) for told in ends_in(page, 5)] == [end]
