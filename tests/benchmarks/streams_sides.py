"""The two ways of a chunk that are compared: through the product, logged first, and by hand, without a log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
from temporalio.client import Client
from temporalio.service import GrpcCompression
from websockets.asyncio.client import connect

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.supervisor import ChildSpec
from innkeeper.gateway.process.temporal_server import NAMESPACE, free_port
from tests.benchmarks import streams_hand
from tests.benchmarks.stack import children, pids_of, polled

HERE = Path(__file__).resolve().parent
CLIENT = "client"
READY_S = 60.0
SLOTS = 500
"""Nodes that the worker runs at once, as many as that by hand: a stream holds one, and there are rows of 300."""
Job = dict[str, Any]


@dataclass(frozen=True)
class Flow:
    """What streams: `count` chunks, `pause` seconds apart (0: none), through a relay or straight to the client."""

    count: int
    pause: float
    relay: bool = False
    batch: bool = False


class Side(Protocol):
    """One way. `pids` are the processes that take part, by name."""

    pids: dict[str, int]

    async def start(self, flow: Flow, go: str) -> str:
        """Start one stream; it begins when the file `go` says so."""

    def follow(self, run: str, flow: Flow) -> AsyncIterator[str]:
        """What each chunk says, as a client gets it, to the end. Raises RuntimeError when the run failed."""

    async def burst_s(self, flow: Flow) -> float:
        """Seconds that a stream takes through its relay, from the producer's beginning to the relay's end."""

    async def settle(self) -> None:
        """Wait until nothing that was run causes more work."""


class Ours:
    """The whole product: a run per stream, submitted over HTTP, each chunk committed before a client gets it."""

    def __init__(self, url: str, http: httpx.AsyncClient, pids: dict[str, int]) -> None:
        self.pids = {**pids, CLIENT: os.getpid()}
        self._socket = f"{url.replace('http', 'ws', 1)}/ws"
        self._http = http

    async def start(self, flow: Flow, go: str) -> str:
        values = {"count": flow.count, "pause": flow.pause, "go": go}
        nodes = [{"id": "say", "fullType": "bench:Ticks", "inputs": values}]
        edges = []
        if flow.relay:
            nodes.append({"id": "relay", "fullType": "core:StreamSuffixRelay", "inputs": {"suffix": ""}})
            ends = {"sourceNodeId": "say", "sourceHandle": "stream", "targetNodeId": "relay"}
            edges.append({"id": "e", **ends, "targetHandle": "inputStream"})
        answer = await self._http.post("/api/prompt", content=orjson.dumps({"nodes": nodes, "edges": edges}))
        if answer.status_code != 200:
            raise RuntimeError(f"POST /api/prompt was answered with {answer.status_code}: {answer.text[:500]}")
        return str(answer.json()["promptId"])

    async def follow(self, run: str, flow: Flow) -> AsyncIterator[str]:
        node = "relay" if flow.relay else "say"
        async with connect(self._socket, compression=None, proxy=None, max_size=None, open_timeout=30) as socket:
            subscription = {"promptId": run, "after": 0, "batch": flow.batch}
            await socket.send(orjson.dumps({"type": "SUBSCRIBE", "payload": subscription}).decode())
            async for text in socket:
                frames = orjson.loads(text)
                for frame in frames if isinstance(frames, list) else (frames,):
                    payload = frame["payload"]
                    if frame["type"] == "NODE_YIELD" and payload["sourceNodeId"] == node and "index" in payload:
                        yield payload["yieldedContent"]["content"]
                    elif frame["type"] == "EXECUTION_STATUS_UPDATE" and payload["status"] in ("complete", "error"):
                        _check(payload["status"] == "complete", run)
                        return
                    elif frame["type"] == "error":
                        raise RuntimeError(f"run {run!r} cannot be followed: {payload}")

    async def burst_s(self, flow: Flow) -> float:
        run = await self.start(flow, "")
        while True:
            status = (await self._http.get(f"/api/prompt/{run}")).json()
            if status["status"] not in ("queued", "running"):
                break
            await asyncio.sleep(0.1)
        _check(status["status"] == "complete", run)
        nodes = status["nodeStatus"]
        times = [datetime.fromisoformat(text) for text in (nodes["say"]["startedAt"], nodes["relay"]["endedAt"])]
        return (times[1] - times[0]).total_seconds()

    async def settle(self) -> None:
        while (await self._http.get("/api/executions")).json()["running"]:
            await asyncio.sleep(0.05)


class ByHand:
    """A Temporal activity sends each chunk over a WebSocket to a process that passes it on, or commits it before."""

    def __init__(self, client: Client, port: int, queue: str, pids: dict[str, int]) -> None:
        self.pids = {**pids, CLIENT: os.getpid()}
        self._client = client
        self._port = port
        self._queue = queue
        self._results: dict[str, Any] = {}

    async def start(self, flow: Flow, go: str) -> str:
        run = secrets.token_hex(10)
        job = {"run": run, "count": flow.count, "pause": flow.pause, "relay": flow.relay, "go": go}
        self._results[run] = await self._client.start_workflow(
            streams_hand.STREAM, job, id=run, task_queue=self._queue, result_type=float
        )
        return run

    async def follow(self, run: str, flow: Flow) -> AsyncIterator[str]:
        name = streams_hand.relayed(run) if flow.relay else run
        address = f"ws://127.0.0.1:{self._port}/out/{name}"
        async with connect(address, compression=None, proxy=None, max_size=None, open_timeout=30) as socket:
            async for text in socket:
                content = orjson.loads(text)["content"]
                if content is None:
                    return
                yield content

    async def burst_s(self, flow: Flow) -> float:
        return float(await self._results[await self.start(flow, "")].result())

    async def settle(self) -> None:
        await asyncio.gather(*(handle.result() for handle in self._results.values()))
        self._results.clear()


def _check(as_expected: bool, run: str) -> None:
    if not as_expected:
        raise RuntimeError(f"run {run!r} failed; the figures would mean nothing")


@dataclass(frozen=True)
class Tracing:
    """What our processes are started with beside the nodes: a folder of plugins, and further environment."""

    plugins: Path
    env: Mapping[str, str]


@contextlib.asynccontextmanager
async def stream_sides(folder: Path, tracing: Tracing | None = None) -> AsyncIterator[dict[str, Side]]:
    """Start everything below `folder`. Gives the sides `ours`, `hand` and, with a switch that commits, `recorded`."""
    async with contextlib.AsyncExitStack() as stack:
        plugins = (HERE / "plugins", *(() if tracing is None else (tracing.plugins,)))
        env = {"INNKEEPER_MAX_ACTIVITIES": str(SLOTS), **({} if tracing is None else tracing.env)}
        options = StackOptions(folder / "data", plugins=plugins, env=env)
        whole = await stack.enter_async_context(LocalStack(options))
        client = await Client.connect(
            whole.temporal_address, namespace=NAMESPACE, grpc_compression=GrpcCompression.NONE
        )
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=whole.url, trust_env=False, timeout=60))
        pids = whole.pids()
        found: dict[str, Side] = {"ours": Ours(whole.url, http, pids)}
        for name, queue in (("hand", streams_hand.TASK_QUEUE), ("recorded", streams_hand.RECORDED_QUEUE)):
            port, file = free_port(), [str(folder / "frames.db")] if name == "recorded" else []
            specs = _children(whole.temporal_address, port, queue, file)
            running = await stack.enter_async_context(children(folder, {spec.name: spec for spec in specs}))
            own = {spec.name.partition("-")[0]: pids_of(running)[spec.name] for spec in specs}
            async with asyncio.timeout(READY_S):
                await polled(client, queue)
            found[name] = ByHand(client, port, queue, {"temporal": pids["temporal"], **own})
        yield found


def _children(address: str, port: int, queue: str, file: Sequence[str]) -> list[ChildSpec]:
    python = (sys.executable, "-m", "tests.benchmarks.streams_hand")
    return [
        ChildSpec(f"switch-{queue}", (*python, "switch", str(port), *file)),
        ChildSpec(f"worker-{queue}", (*python, "worker", address, NAMESPACE, str(port), queue)),
    ]
