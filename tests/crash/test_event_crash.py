"""Gateway and worker are killed while an event of a node, or the end of a run, starts a run: one run comes of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.deliveries.book import TriggerBook
from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.triggers import TriggerStore
from innkeeper.gateway.store.write_batcher import WriteBatcher
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key
from tests.crash.dying import dying_at_moments

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(240)]

Json = dict[str, Any]
DYING = """
intake = sys.modules.get("innkeeper.gateway.deliveries.intake")
chains = sys.modules.get("innkeeper.gateway.deliveries.chains")
door = sys.modules.get("innkeeper.activities.link.gateway_door")


if chains is not None:  # in a gateway
    chains.Chains.run_ended = around(chains.Chains.run_ended, "before the chain", "after the chain")
    intake.Intake.take = around(intake.Intake.take, "before a trigger", "after a trigger")
elif door is not None:  # in a worker
    door.GatewayEvents.emit = around(door.GatewayEvents.emit, "before the emission", "after the emission")
definitions = []
"""
"""A plugin is loaded by gateway and worker, so it can kill each at the worst moment, once for each that is armed."""
TRIGGERS: list[Json] = [
    # Neither knows its deliveries by their ids: what is done twice would be seen.
    {"name": "a", "kind": "event", "event": {"name": "made"}, "workflow": {"id": "say"}, "dedupe": "none"},
    {"name": "b", "kind": "event", "event": {"name": "made"}, "workflow": {"id": "say"}, "dedupe": "none"},
    {"name": "c", "kind": "run", "run": {"workflow": {"id": "chained"}, "statuses": ["complete"]},
     "workflow": {"id": "say"}, "dedupe": "none"},
    {"name": "d", "kind": "event", "event": {"name": "frozen"}, "workflow": {"id": "say"}},
]  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A stack with triggers, and the folder of files that arm its plugin."""

    stack: LocalStack
    folder: Path


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("events")
    data = folder / "data"
    await write_triggers(data)
    async with LocalStack(StackOptions(data, plugins=(dying_at_moments(folder / "plugins", folder, DYING),))) as stack:
        async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http:
            for id in ("say", "chained"):
                merge = {"id": "n", "type": "core:TextMerge", "inputValues": {"text_inputs": [id]}}
                saved = await http.post("/api/workflows", json={"id": id, "name": id, "nodes": [merge], "edges": []})
                assert saved.status_code == 201, saved.text
        yield Bench(stack, folder)


async def write_triggers(data: Path) -> None:
    root = DataDir.open(data).root
    engine = open_engine(sqlite_url(Settings(data_dir=data).store_path))
    await ensure_schema(engine)
    writes = WriteBatcher(engine)
    book = TriggerBook(TriggerStore(engine, writes), SecretStore(root / "secrets", load_or_create_key(root, {})))
    for definition in TRIGGERS:
        await book.create("default_user", read_trigger(definition))
    await writes.settled()
    await engine.dispose()


async def started(http: httpx.AsyncClient) -> dict[str, int]:
    """How many runs each trigger has started; none of them fails."""
    history = (await http.get("/api/history", params={"limit": 500})).json()["history"]
    names = [run["trigger"]["name"] for run in history if "trigger" in run]
    assert all(run["status"] == "complete" for run in history), history
    return {trigger["name"]: names.count(trigger["name"]) for trigger in TRIGGERS}


async def until_started(stack: LocalStack, expected: dict[str, int]) -> None:
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http, asyncio.timeout(60):
        while True:
            try:
                if (found := await started(http)) == expected:
                    break
            except (httpx.TransportError, KeyError):  # it is starting again
                found = {}
            await asyncio.sleep(0.2)
        # What is done a second time would be done within moments.
        await asyncio.sleep(3)
        assert (found := await started(http)) == expected, found


EMISSIONS = ("before the emission", "after the emission", "before a trigger", "after a trigger")


@pytest.mark.parametrize("moment", EMISSIONS)
async def test_node_emits_once_whatever_dies(bench: Bench, moment: str) -> None:
    emit = {"id": "e", "fullType": "core:EmitEvent", "inputs": {"name": "made", "data": {"n": 1}}}
    async with httpx.AsyncClient(base_url=bench.stack.url, trust_env=False) as http:
        before = await started(http)
    (bench.folder / moment).touch()
    async with GatewayClient(bench.stack.url) as client, asyncio.timeout(120):
        status = await client.wait(await client.submit({"nodes": [emit], "edges": []}))
    assert not (bench.folder / moment).exists(), "the moment to kill never came"
    output = status["nodeStatus"]["e"]["output"]
    assert (status["status"], output["started"]) == ("complete", 2)
    await until_started(bench.stack, {**before, "a": before["a"] + 1, "b": before["b"] + 1})


@pytest.mark.parametrize("moment", ["before the chain", "after the chain"])
async def test_end_of_a_run_starts_the_next_once_whatever_dies(bench: Bench, moment: str) -> None:
    async with httpx.AsyncClient(base_url=bench.stack.url, trust_env=False) as http:
        before = await started(http)
    (bench.folder / moment).touch()
    async with GatewayClient(bench.stack.url) as client, asyncio.timeout(120):
        status = await client.wait(await client.submit({"workflowId": "chained"}))
    assert status["status"] == "complete"
    await until_started(bench.stack, {**before, "c": before["c"] + 1})
    assert not (bench.folder / moment).exists(), "the moment to kill never came"


@pytest.mark.parametrize("dies", [False, True], ids=["Temporal stands still", "and the gateway dies"])
async def test_answered_event_reaches_who_waits_though_temporal_is_away(bench: Bench, dies: bool) -> None:
    waits = {"id": "w", "fullType": "core:WaitForEvent", "configValues": {"name": "frozen"}}
    event = {"name": "frozen", "data": {"n": dies}}
    async with httpx.AsyncClient(base_url=bench.stack.url, timeout=30, trust_env=False) as http:
        before = await started(http)
        async with GatewayClient(bench.stack.url) as client, asyncio.timeout(120):
            run = await client.submit({"nodes": [waits], "edges": []})
            while (await client.status(run))["status"] != "waiting":
                await asyncio.sleep(0.1)
            pids = bench.stack.pids()
            os.kill(pids["temporal"], signal.SIGSTOP)
            try:
                answer = await http.post("/api/events", json=event)
                if dies:
                    os.kill(pids["gateway"], signal.SIGKILL)
            finally:
                os.kill(pids["temporal"], signal.SIGCONT)
            told = answer.json()
            assert (answer.status_code, told["success"], told["runs"], told["pending"]) == (200, True, 0, [run])
            status = await client.wait(run)
    assert status["nodeStatus"]["w"]["output"] == {"data": {"n": dies}}
    await until_started(bench.stack, {**before, "d": before["d"] + 1})
