"""Runs survive: restarts of the gateway, a queue, an engine that is away or that ends a run in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from innkeeper.activities.link.gateway_link import NullLink
from innkeeper.gateway.process import uvicorn_config
from innkeeper.gateway.runs import completion_watch
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import NewRun, RunStore
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document
from tests.gateway.asking import submit, until

Json = dict[str, Any]


def single(type: str, **inputs: Any) -> Json:
    return {"nodes": [{"id": "n", "fullType": f"toys:{type}", "inputs": inputs}], "edges": []}


def with_settings(stack: Any, **changes: Any) -> None:
    stack.settings = stack.settings.changed(**changes)


async def until_executing(http: httpx.AsyncClient, run: str) -> None:
    async with asyncio.timeout(30):
        while "n" not in (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"]:
            await asyncio.sleep(0.02)


async def events_of(http: httpx.AsyncClient, run: str) -> list[Json]:
    text = (await http.get(f"/api/prompt/{run}/events")).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def kinds(events: list[Json]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "NODE_YIELD"]


COMPLETE_RUN = [
    "EXECUTION_STATUS_UPDATE",
    "NODE_EXECUTING",
    "NODE_COMPLETE",
    "NODE_COMPLETE",
    "EXECUTION_STATUS_UPDATE",
]


async def test_run_goes_on_through_a_restart_of_the_gateway(stack: Any) -> None:
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            run = await submit(http, single("Count", upto=30, pause=0.03))
            await until_executing(http, run)
        await asyncio.sleep(0.3)
        async with stack.gateway():
            result = await until(http, run, "complete")
            events = await events_of(http, run)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert kinds(events) == COMPLETE_RUN
    chunks = [event["payload"] for event in events if event["type"] == "NODE_YIELD"]
    assert [chunk["index"] for chunk in chunks[:-1]] == list(range(30))
    assert result["nodeStatus"]["n"]["attempts"] == 1
    assert "differs" not in result


async def test_run_that_ended_while_the_gateway_was_away_is_closed_after_it(stack: Any, tmp_path: Path) -> None:
    gate = tmp_path / "the gateway is away"
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            run = await submit(http, single("Hold", gate=str(gate)))
            await until_executing(http, run)
        gate.touch()
        await stack.temporal.get_workflow_handle(run).result()
        async with stack.gateway():
            result = await until(http, run, "complete")
            events = await events_of(http, run)
    assert kinds(events) == COMPLETE_RUN
    assert result["nodeStatus"]["n"]["output"] == {"text": "held"}


async def test_run_written_down_but_not_started_is_started_at_boot(stack: Any) -> None:
    """The gateway was killed between its store and Temporal."""
    document = parse_document(single("Say", text="late"))
    compiled = compile_document(document, load_catalogue(stack.settings.plugins), secret_id=str)
    engine = open_engine(sqlite_url(stack.settings.store_path))
    await ensure_schema(engine)
    for status in ("running", "queued"):
        await RunStore(engine).add(NewRun(f"run-{status}", "default_user", compiled.encoded, status=status))
    await engine.dispose()
    async with stack.up() as http:
        for status in ("running", "queued"):
            result = await until(http, f"run-{status}", "complete")
            assert result["nodeStatus"]["n"]["output"] == {"text": "late"}


async def test_runs_beyond_the_limit_wait_in_order_and_can_leave_the_queue(stack: Any) -> None:
    with_settings(stack, max_concurrent_runs=1)
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            first = await submit(http, single("Hold", seconds=60))
            waiting = [await submit(http, single("Say", text=str(index))) for index in range(3)]
            stats = (await http.get("/api/system_stats")).json()
            del stats["version"]
            assert stats == {"maxConcurrentWorkflows": 1, "runningExecutions": 1, "pendingExecutions": 3}
            pending = (await http.get("/api/executions")).json()["pending"]
            assert [item["promptId"] for item in pending] == waiting
            assert (await http.delete(f"/api/interrupt/{waiting[1]}")).json()["success"] is True
            left = await until(http, waiting[1], "interrupted")
            assert left["nodeStatus"] == {}
        async with stack.gateway():
            assert (await until(http, waiting[0], "queued"))["status"] == "queued"
            await http.delete(f"/api/interrupt/{first}")
            ended = [await until(http, run, "complete") for run in (waiting[0], waiting[2])]
            events = await events_of(http, waiting[0])
    assert ended[0]["completedAt"] <= ended[1]["completedAt"]
    updates = [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]
    assert updates == ["queued", "running", "complete"]


async def test_run_terminated_in_temporal_ends_as_error(stack: Any) -> None:
    async with stack.up() as http:
        run = await submit(http, single("Hold", seconds=60))
        await until_executing(http, run)
        await stack.temporal.get_workflow_handle(run).terminate(reason="by hand")
        result = await until(http, run, "error")
        events = await events_of(http, run)
    assert result["errorInfo"]["code"] == "terminated"
    assert "by hand" in result["errorInfo"]["message"]
    assert result["nodeStatus"]["n"]["status"] == "interrupted"
    assert kinds(events)[-1] == "EXECUTION_STATUS_UPDATE"


async def test_events_that_died_with_their_worker_are_completed_from_the_engine(stack: Any) -> None:
    async with stack.gateway(), stack.http() as http:
        async with stack.worker(NullLink()):
            run = await submit(http, single("Say", text="unseen"))
            await stack.temporal.get_workflow_handle(run).result()
        result = await until(http, run, "complete")
        events = await events_of(http, run)
    assert result["nodeStatus"]["n"]["output"] == {"text": "unseen"}
    assert kinds(events).count("NODE_COMPLETE") == 2


async def test_large_node_table_is_read_from_its_blob(stack: Any) -> None:
    nodes = [{"id": f"n{index}", "fullType": "toys:Say", "inputs": {"text": "x"}} for index in range(210)]
    async with stack.up() as http:
        answer = await http.post("/api/prompt", json={"nodes": nodes, "edges": [], "wait": 30})
    result = answer.json()
    assert result["status"] == "complete"
    assert len(result["nodeStatus"]) == 210


@pytest.mark.parametrize("ahead_s", [0, 86_400, 31_536_000])
async def test_more_runs_than_long_polls_are_all_closed(
    stack: Any, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    """Also when the clock of the gateway is ahead of the one that dates the ends of runs."""
    monkeypatch.setattr(completion_watch, "VISIBILITY_OVERLAP_S", 60 - ahead_s)
    monkeypatch.setattr(completion_watch, "MAX_WATCHED", 1)
    monkeypatch.setattr(completion_watch, "VISIBILITY_S", 0.1)
    async with stack.up() as http:
        long = await submit(http, single("Hold", seconds=60))
        short = [await submit(http, single("Say")) for _ in range(4)]
        # The long run holds the only long poll all the time.
        for run in short:
            await until(http, run, "complete")
        await http.delete(f"/api/interrupt/{long}")
        await until(http, long, "interrupted")


async def test_run_that_ended_before_any_query_looks_is_closed_without_a_free_long_poll(
    stack: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(completion_watch, "MAX_WATCHED", 1)
    monkeypatch.setattr(completion_watch, "VISIBILITY_OVERLAP_S", -3600.0)  # no query finds what has ended
    gate = tmp_path / "the gateway is away"
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            long = await submit(http, single("Hold", seconds=60))
            short = [await submit(http, single("Hold", gate=str(gate))) for _ in range(3)]
            for run in (long, *short):
                await until_executing(http, run)
        gate.touch()
        for run in short:
            await stack.temporal.get_workflow_handle(run).result()
        async with stack.gateway():
            for run in short:
                await until(http, run, "complete")
            await http.delete(f"/api/interrupt/{long}")
            await until(http, long, "interrupted")


async def test_runs_that_end_while_others_are_noted_as_sealed_are_noted_too(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they could not be deleted, and no stored value would be collected any more."""
    noted: list[tuple[str, ...]] = []
    free = asyncio.Event()
    mark_sealed = RunStore.mark_sealed

    async def slow(self: RunStore, *runs: str) -> None:
        noted.append(runs)
        if len(noted) == 1:
            await free.wait()
            raise OSError("the disk is full")  # once
        await mark_sealed(self, *runs)

    monkeypatch.setattr(RunStore, "mark_sealed", slow)
    async with stack.up() as http, asyncio.timeout(30):
        first = await submit(http, single("Say"))
        await until(http, first, "complete")
        while not noted:
            await asyncio.sleep(0.02)
        second = await submit(http, single("Say"))
        await until(http, second, "complete")
        free.set()
        for run in (first, second):
            while (await http.delete(f"/api/history/{run}")).status_code != 204:
                await asyncio.sleep(0.05)


async def test_gateway_serves_while_temporal_is_away(stack: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with_settings(stack, temporal_address=address)
    async with stack.gateway(), stack.http() as http:
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["temporal"]) == (503, "Temporal does not answer")
        assert len((await http.get("/api/nodes")).json()) > 5
        refused = await http.post("/api/prompt", json=single("Say"))
        assert (refused.status_code, refused.json()["code"]) == (503, "engine_unavailable")
        assert (await http.get("/api/history")).json()["history"] == []


async def test_slow_client_is_sent_away_and_can_come_back(stack: Any) -> None:
    with_settings(stack, send_timeout_s=0.3)
    async with stack.up() as http, asyncio.timeout(30):
        run = await submit(http, {"nodes": long_streams(), "edges": []})
        await until(http, run, "complete")
        # It reads until its small buffer is full, and then no more: the kernel's buffers hold less than 18 MB.
        async with connect(stack.ws_url, compression=None, proxy=None, max_queue=1, close_timeout=0.1) as slow:
            await slow.send(json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run}}))
            await until_metric(http, "innkeeper_clients_connected 0.0")
            code = await close_code(slow)
        async with connect(stack.ws_url, compression=None, proxy=None, close_timeout=0.1) as again:
            await again.send(json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run, "after": 500}}))
            frames = [json.loads(await again.recv()) for _ in range(3)]
    assert code == 4408
    assert [frame["seq"] for frame in frames] == [None, 501, 502]


async def close_code(connection: ClientConnection) -> int | None:
    """Read to the end; why it ended."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()
    return connection.close_code


async def test_connection_of_a_client_that_never_reads_is_thrown_away(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_config, "ABORT_S", 0.3)
    with_settings(stack, send_timeout_s=0.2)
    async with stack.up() as http, asyncio.timeout(30):
        run = await submit(http, {"nodes": long_streams(), "edges": []})
        await until(http, run, "complete")
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        payload = json.dumps({"type": "SUBSCRIBE", "payload": {"promptId": run}}).encode()
        readers = [
            await deaf(stack, f"GET /ws HTTP/1.1\r\n{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\n"),
            await deaf(stack, f"GET /api/prompt/{run}/events HTTP/1.1\r\n"),
        ]
        loop = asyncio.get_running_loop()
        assert b" 101 " in await loop.sock_recv(readers[0], 300)
        await loop.sock_sendall(readers[0], bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload)
        await asyncio.sleep(1.5)
        await until_metric(http, "innkeeper_clients_connected 0.0")
        rest = [await everything(reader) for reader in readers]
        for reader in readers:
            reader.close()
    # Neither the close frame with its 4408 nor the end of a chunked answer was waited for any longer.
    assert not rest[0].endswith(b"after")
    assert not rest[1].endswith(b"0\r\n\r\n")


def long_streams() -> list[dict[str, Any]]:
    inputs = {"upto": 150, "pad": 20_000}
    return [{"id": f"n{index}", "fullType": "toys:Count", "inputs": inputs} for index in range(6)]


async def deaf(stack: Any, head: str) -> socket.socket:
    """A connection that asked for something large and reads nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", stack.settings.port))
    await loop.sock_sendall(sock, f"{head}Host: localhost\r\n\r\n".encode())
    return sock


async def everything(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
            data = (data + more)[-100:]
    return data


async def until_metric(http: httpx.AsyncClient, line: str) -> str:
    async with asyncio.timeout(30):
        while True:
            text = (await http.get("/metrics")).text
            if line in text.splitlines():
                return text
            await asyncio.sleep(0.05)


async def stack_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
