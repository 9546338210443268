"""The processes of `deploy/compose/compose.scaled.yaml` one by one: a Temporal server behind TLS, a gateway, three
workers, with everything encrypted that Temporal is given. Whichever is killed, runs go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from innkeeper.gateway.client import GatewayAway, GatewayClient
from innkeeper.gateway.process.temporal_server import free_port, free_ports
from tests.e2e.own_temporal import make_certificates, server_command, tls_in_front
from tests.e2e.proxies import listens
from tests.e2e.test_control import edge, node
from tests.e2e.test_up import INNKEEPER, STORY, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOKEN = "token-of-the-scaled-set"
WORKERS = ("worker-1", "worker-2", "worker-3")


@dataclass
class Set:
    """Processes by name, each of which can be killed and started again."""

    folder: Path
    commands: Mapping[str, list[str]]
    env: Mapping[str, str]
    url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name], stdout=log, stderr=subprocess.STDOUT, env=dict(self.env)
            )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    async def ready(self) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers) as http, asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.2)


@pytest.fixture
async def scaled(tmp_path: Path) -> AsyncIterator[Set]:
    ports = free_ports(3)
    certificates = make_certificates(tmp_path)
    server = subprocess.Popen(server_command(tmp_path, ports), stdout=subprocess.DEVNULL)
    async with tls_in_front(f"127.0.0.1:{ports[0]}", certificates) as address:
        port, data = free_port(), str(tmp_path / "data")
        env = {
            **{name: value for name, value in environment().items() if not name.startswith("TEMPORAL_")},
            **certificates.environment(),
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "TEMPORAL_ADDRESS": address,
            "INNKEEPER_NAMESPACE": "inn",
            "INNKEEPER_ACCESS_TOKEN": TOKEN,
            "INNKEEPER_GATEWAY_URL": f"http://127.0.0.1:{port}",
        }
        commands = {
            "temporal": server_command(tmp_path, ports),
            "gateway": [*INNKEEPER, "gateway", "--port", str(port), "--data-dir", data],
            **{name: [*INNKEEPER, "worker", "--data-dir", data] for name in WORKERS},
        }
        made = Set(tmp_path, commands, env, f"http://127.0.0.1:{port}", {"temporal": server})
        while not listens(ports[0]):
            await asyncio.sleep(0.1)
        setup = [*INNKEEPER, "setup", "--data-dir", data]
        await asyncio.to_thread(subprocess.run, setup, check=True, capture_output=True, env=env)
        try:
            for name in ("gateway", *WORKERS):
                made.start(name)
                await asyncio.sleep(1)  # the gateway makes the keys that workers need
            await made.ready()
            yield made
        finally:
            for name in ("gateway", *WORKERS, "temporal"):
                made.kill(name)


async def ended(client: GatewayClient, run: str) -> dict[str, object]:
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(GatewayAway):
                if (found := await client.status(run))["status"] in ("complete", "error", "interrupted"):
                    return found
            await asyncio.sleep(0.2)


async def told(client: GatewayClient, run: str) -> str:
    """The text of the story as a viewer who reads its log from the start sees it."""
    text = ""
    async for event in client.events(run):
        if event["type"] == "WORKFLOW_INTERFACE_RESET":
            text = ""
        if event["type"] == "WORKFLOW_INTERFACE_YIELD":
            chunk = event["payload"]["yieldedContent"]
            text += chunk["content"] if chunk.get("type") == "text_chunk" else ""
    return text


async def test_runs_go_on_whichever_process_is_killed(scaled: Set) -> None:
    document = json.loads(STORY.read_text().replace('"demo-describer"', '"demo-describer@400"'))
    asks = {
        "nodes": [node("ask", "Approval", None, data="x"), node("join", "TextMerge")],
        "edges": [edge("ask.approved", "join.text_inputs__0")],
    }
    async with GatewayClient(scaled.url, TOKEN) as client:
        stories = [await client.submit(document) for _ in range(3)]
        waiting = await client.submit(asks)
        for name in ("worker-1", "gateway", "temporal", "worker-2", "worker-3"):
            await asyncio.sleep(1.5)
            scaled.kill(name)
            await asyncio.sleep(0.5)
            scaled.start(name)
        await scaled.ready()
        for run in stories:
            found = await ended(client, run)
            assert found["status"] == "complete", found
            story = await client.fetch(found["outputs"]["story"])  # type: ignore[index]
            assert await told(client, run) == story["text"]
        await client.approvals.answer(waiting, "ask", True)
        assert (await ended(client, waiting))["status"] == "complete"
