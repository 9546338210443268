"""Gateway and worker are killed between every two steps of a start: each run is started once, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.dying import dying_at_moments
from tests.gateway.asking import single, until_ready

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

Json = dict[str, Any]
SAY = single("core:TextMerge", text_inputs=["x"])
DYING = """
starts = sys.modules.get("innkeeper.gateway.events.worker_starts")
launcher = sys.modules.get("innkeeper.gateway.runs.launcher")
starter = sys.modules.get("innkeeper.activities.run_starter")


def before(function, moment):
    def call(*args):
        dies(moment)
        return function(*args)

    return call


if launcher is not None:  # in a gateway
    launcher.RunLauncher.start = around(launcher.RunLauncher.start, "recorded", "answered to the client")
    starts.WorkerStarts.start = around(starts.WorkerStarts.start, "about to ask", "told that it is started")
    starts.StartsOfWorker.receive = before(starts.StartsOfWorker.receive, "the answer is on its way")
elif starter is not None:  # in a worker
    starter.RunStarter.start = around(starter.RunStarter.start, "asked", "started")
definitions = []
"""
"""A plugin is loaded by gateway and worker, so it can kill each at the worst moment, once for each that is armed."""
OF_GATEWAY = (
    "recorded",
    "answered to the client",
    "about to ask",
    "the answer is on its way",
    "told that it is started",
)
OF_WORKER = ("asked", "started")


@dataclass(frozen=True)
class Bench:
    """A stack, and the folder of files that arm its plugin."""

    stack: LocalStack
    folder: Path

    async def submit(self, key: str) -> str:
        """Submit one run as soon as a worker is there, again when the gateway dies meanwhile, until it is taken."""
        headers = {"Idempotency-Key": key}
        async with httpx.AsyncClient(base_url=self.stack.url, trust_env=False, timeout=10) as http, asyncio.timeout(60):
            await until_ready(http)
            (self.folder / key).touch()
            while True:
                try:
                    answer = await http.post("/api/prompt", json=SAY, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status_code == 200:
                    return str(answer.json()["promptId"])
                await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    tmp_path = tmp_path_factory.mktemp("starts")
    folder = tmp_path / "armed"
    folder.mkdir()
    plugins = dying_at_moments(tmp_path / "plugins", folder, DYING)
    async with LocalStack(StackOptions(tmp_path / "data", plugins=(plugins,))) as stack:
        yield Bench(stack, folder)


@pytest.mark.parametrize("moment", [*OF_GATEWAY, *OF_WORKER])
async def test_run_is_started_once_and_ends_whoever_dies(bench: Bench, moment: str) -> None:
    async with asyncio.timeout(120):
        run = await bench.submit(moment)
        async with GatewayClient(bench.stack.url) as client:
            status = await client.wait(run)
            events = [event async for event in client.events(run)]
    assert not (bench.folder / moment).exists(), "the moment to kill never came"
    assert status["status"] == "complete"
    told = [event["payload"].get("status") for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]
    assert told == ["running", "complete"]
    temporal = await Client.connect(bench.stack.temporal_address, namespace="innkeeper")
    started = [found.id async for found in temporal.list_workflows(f"WorkflowId = '{run}'")]
    assert started == [run]
