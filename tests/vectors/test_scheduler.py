"""The recorded scheduler run: a limit of five runs at a time, first come first served.

Only the set of messages and the results are compared, as the recording asks. All its times are stretched by STRETCH:
its engine has no latency of its own, ours has some tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from gateway.local import LocalStack, StackOptions

FOLDER = Path(os.environ.get("VECTORS_DIR") or Path(__file__).parent / "data")
FILES = [file for file in sorted(FOLDER.glob("scheduler_*.json")) if "interrupt" not in file.stem]
PLUGINS = Path(__file__).parents[1] / "plugins"
STRETCH = 15


class Player:
    """Submits the recorded steps over one WebSocket, as the recording did, and keeps what comes back."""

    def __init__(self, socket: Any, http: httpx.AsyncClient) -> None:
        self._socket, self._http = socket, http
        self.names: dict[str, str] = {}
        self.statuses: dict[str, list[str]] = {}
        self.queue: list[tuple[int, int]] = []
        self.results: list[Any] = []
        self._due = asyncio.get_running_loop().time()

    async def listen(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame)
            payload = message["payload"]
            if message["type"] == "PROMPT_ACCEPTED_RESPONSE":
                self.names[payload["promptId"]] = f"p{len(self.names) + 1}"
            elif message["type"] == "EXECUTION_STATUS_UPDATE":
                self.statuses.setdefault(payload["promptId"], []).append(payload["status"])
            elif message["type"] == "SYSTEM_QUEUE_UPDATE":
                self.queue.append((payload["runningExecutions"], payload["pendingExecutions"]))

    async def play(self, step: dict[str, Any]) -> None:
        # From the first submission on: the recorded ones took no time.
        self._due += step.get("wait", 0) * STRETCH / 1000
        await asyncio.sleep(max(0.0, self._due - asyncio.get_running_loop().time()))
        if "submit" in step:
            payload = json.loads(json.dumps(step["submit"]))
            for node in payload["nodes"]:
                node["inputs"]["ms"] *= STRETCH
            known = len(self.names)
            await self._socket.send(json.dumps({"type": "PROMPT_REQUEST", "payload": payload}))
            async with asyncio.timeout(5):
                while len(self.names) == known:
                    await asyncio.sleep(0.005)
        if step.get("query"):
            found = (await self._http.get("/api/executions")).json()
            self.results.append({kind: sorted(self.names[run["promptId"]] for run in found[kind]) for kind in found})


@asynccontextmanager
async def player(folder: Path) -> AsyncIterator[Player]:
    options = StackOptions(folder, plugins=(PLUGINS,), env={"INNKEEPER_MAX_CONCURRENT_RUNS": "5"})
    async with (
        LocalStack(options) as stack,
        httpx.AsyncClient(base_url=stack.url) as http,
        connect(stack.url.replace("http", "ws") + "/ws", proxy=None) as socket,
    ):
        playing = Player(socket, http)
        listening = asyncio.create_task(playing.listen())
        yield playing
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_recorded_schedule(tmp_path: Path, file: Path) -> None:
    vector = json.loads(file.read_text())
    messages = vector["expected"]["messages"]
    async with player(tmp_path) as playing:
        for step in vector["steps"]:
            await playing.play(step)
        async with asyncio.timeout(20):
            while len(playing.queue) < len(playing.names):
                await asyncio.sleep(0.02)
    said = {playing.names[run]: statuses for run, statuses in playing.statuses.items()}
    expected: dict[str, list[str]] = {}
    for kind, run, status, _ in (message for message in messages if message[0] == "status"):
        assert kind == "status"
        expected.setdefault(run, []).append(status)
    assert said == expected
    counts = [message[2] for message in messages if message[0] == "broadcast"]
    assert sorted(playing.queue) == sorted((item["runningExecutions"], item["pendingExecutions"]) for item in counts)
    states = [result[1] for result in vector["expected"]["results"] if result[0] == "state"]
    for got, state in zip(playing.results, states, strict=True):
        assert got["running"] == sorted(run for run, _ in state["running"])
        assert got["pending"] == sorted(run for run, _ in state["waiting"])
