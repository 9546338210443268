"""The recorded scheduler run: a limit of five runs at a time, first come first served.

Only the set of messages and the results are compared, as the recording asks. What ends when is not left to the clock:
the runs end in the recorded order, each when the one before it has been heard of.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

FOLDER = Path(os.environ.get("VECTORS_DIR") or Path(__file__).parent / "data")
FILES = [file for file in sorted(FOLDER.glob("scheduler_*.json")) if "interrupt" not in file.stem]
PLUGINS = Path(__file__).parents[1] / "plugins"


class Player:
    """Submits the recorded steps over one WebSocket, as the recording did, and keeps what comes back."""

    def __init__(self, socket: Any, http: httpx.AsyncClient, folder: Path) -> None:
        self._socket, self._http, self._folder = socket, http, folder
        self.names: dict[str, str] = {}
        self.statuses: dict[str, list[str]] = {}
        self.queue: list[tuple[int, int]] = []
        self.results: list[Any] = []

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

    async def submit(self, payload: dict[str, Any]) -> None:
        payload, known = json.loads(json.dumps(payload)), len(self.names)
        for node in payload["nodes"]:
            node["inputs"]["gate"] = str(self._gate(f"p{known + 1}"))
        await self._socket.send(json.dumps({"type": "PROMPT_REQUEST", "payload": payload}))
        await until(lambda: len(self.names) > known)

    async def end(self, name: str, next_one: str | None) -> None:
        """Let a run end, and wait until that and the start of the next one in the queue have been told."""
        told = len(self.queue)
        self._gate(name).touch()
        await until(lambda: self._last(name) == "complete" and len(self.queue) > told)
        await until(lambda: next_one is None or self._last(next_one) != "queued")

    async def query(self) -> None:
        found = (await self._http.get("/api/executions")).json()
        self.results.append({kind: sorted(self.names[run["promptId"]] for run in found[kind]) for kind in found})

    def _gate(self, name: str) -> Path:
        return self._folder / f"{name} may end"

    def _last(self, name: str) -> str:
        return next((said[-1] for run, said in self.statuses.items() if self.names.get(run) == name), "")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def player(folder: Path) -> AsyncIterator[Player]:
    options = StackOptions(folder, plugins=(PLUGINS,), env={"INNKEEPER_MAX_CONCURRENT_RUNS": "5"})
    async with (
        LocalStack(options) as stack,
        httpx.AsyncClient(base_url=stack.url) as http,
        connect(stack.url.replace("http", "ws") + "/ws", proxy=None) as socket,
    ):
        playing = Player(socket, http, folder)
        listening = asyncio.create_task(playing.listen())
        yield playing
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def cases() -> list[Any]:
    """The recording that waits for free places takes long."""
    slow = {"scheduler_limit_and_fifo"}
    return [pytest.param(file, id=file.stem, marks=[pytest.mark.slow] if file.stem in slow else []) for file in FILES]


@pytest.mark.parametrize("file", cases())
async def test_recorded_schedule(tmp_path: Path, file: Path) -> None:
    vector = json.loads(file.read_text())
    messages = vector["expected"]["messages"]
    states = [result[1] for result in vector["expected"]["results"] if result[0] == "state"]
    ending = [message[1] for message in messages if message[0] == "NODE_COMPLETE"]
    queued = [message[1] for message in messages if message[0] == "status" and message[2] == "queued"]
    async with player(tmp_path) as playing:
        due = iter(states)
        for step in vector["steps"]:
            if "submit" in step:
                await playing.submit(step["submit"])
            if step.get("query"):
                state = next(due)
                left = {run for run, _ in (*state["running"], *state["waiting"])}
                while ending and ending[0] not in left:
                    await playing.end(ending.pop(0), queued.pop(0) if queued else None)
                await playing.query()
    said = {playing.names[run]: statuses for run, statuses in playing.statuses.items()}
    expected: dict[str, list[str]] = {}
    for kind, run, status, _ in (message for message in messages if message[0] == "status"):
        assert kind == "status"
        expected.setdefault(run, []).append(status)
    assert said == expected
    counts = [message[2] for message in messages if message[0] == "broadcast"]
    assert sorted(playing.queue) == sorted((item["runningExecutions"], item["pendingExecutions"]) for item in counts)
    for got, state in zip(playing.results, states, strict=True):
        assert got["running"] == sorted(run for run, _ in state["running"])
        assert got["pending"] == sorted(run for run, _ in state["waiting"])
