"""Deleting runs, and collecting their values, through the real stack: what others still need is never touched."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayClient, GatewayRefused
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.storage.garbage_collector import CLOCK_S
from innkeeper.nodes.errors import RunNotFound
from tests.e2e.sealed import until_sealed
from tests.e2e.test_control import until
from tests.e2e.test_streams import PLUGINS, Json, graph, node

TIMES = 4000
ENV = {"INNKEEPER_BLOB_GRACE_S": "0", "INNKEEPER_COLLECT_EVERY_S": "0"}


@dataclass
class Bench:
    stack: LocalStack
    data: Path
    client: GatewayClient

    def big(self, id: str, text: str, type: str = "Plain") -> Json:
        """A node that gives `big_text(text)`."""
        return node(id, f"rerun-nodes:{type}", file=str(self.data / "executed"), text=text, times=TIMES)

    async def run(self, document: Json) -> Json:
        async with asyncio.timeout(40):
            status = await self.client.wait(await self.client.submit(document))
        assert status["status"] == "complete", status
        return status

    async def collect(self) -> Json:
        await self.until_old()
        return await self.client.collect()

    async def until_old(self) -> None:
        """Wait until no value is as young as those that stay: clocks of file systems lag behind."""
        newest = max(path.stat().st_mtime for path in (self.data / "blobs").glob("*/*"))
        while time.time() - newest <= CLOCK_S:
            await asyncio.sleep(0.02)

    async def quiet(self) -> None:
        """Wait until no run is open: values that came after its submission stay."""
        await until_sealed(self.data)

    def has(self, value: Any) -> bool:
        sha = hashlib.sha256(json.dumps(value).encode()).hexdigest()
        return (self.data / "blobs" / sha[:2] / sha).is_file()


def big_text(text: str) -> str:
    return f"{text}." * TIMES


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    data = tmp_path_factory.mktemp("collection")
    options = StackOptions(data, plugins=(PLUGINS,), env=ENV)
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client:
        yield Bench(stack, data, client)


async def innkeeper(bench: Bench, *arguments: str) -> str:
    command = (sys.executable, "-m", "innkeeper.gateway.cli.commands", *arguments, "--data-dir", str(bench.data))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_deleting_a_run_frees_what_it_has_alone(bench: Bench) -> None:
    one = await bench.run(graph([bench.big("a", "alone"), bench.big("b", "shared")]))
    other = await bench.run(graph([bench.big("b", "shared")]))
    await bench.quiet()
    await bench.collect()
    assert bench.has(big_text("alone"))
    assert bench.has(big_text("shared"))
    await innkeeper(bench, "delete", one["promptId"])
    with pytest.raises(RunNotFound):
        await bench.client.status(one["promptId"])
    with pytest.raises(RunNotFound):
        await anext(bench.client.events(one["promptId"]))
    assert one["promptId"] not in {run["promptId"] for run in await bench.client.history()}
    await bench.until_old()
    # Its value, its plan and the document that was submitted.
    assert "would delete 3 values" in await innkeeper(bench, "gc", "--dry-run")
    assert bench.has(big_text("alone"))
    assert "deleted 3 values" in await innkeeper(bench, "gc")
    assert not bench.has(big_text("alone"))
    assert await bench.client.fetch(other["nodeStatus"]["b"]["output"]["text"]) == big_text("shared")


async def test_run_that_waits_keeps_what_it_goes_on_with(bench: Bench) -> None:
    literal = {"said": "before " * 1000}
    ask, after = node("ask", "core:Approval"), node("join", "core:TextMerge", separator="")
    nodes = [bench.big("a", "waits"), ask, node("typed", "core:Approval", data=literal), after]
    document = graph(nodes, "a.text > ask.data", "ask.approved > join.text_inputs__0", "a.text > join.text_inputs__1")
    client = bench.client
    run = await client.submit(document)
    async with asyncio.timeout(20):
        while len(await client.approvals.find(run)) < 2:
            await asyncio.sleep(0.05)
    with pytest.raises(GatewayRefused, match="has not ended") as caught:
        await client.delete_run(run)
    assert caught.value.code == "run_still_active"
    for _ in range(2):
        await bench.collect()
    await client.approvals.answer(run, "typed", True)
    await client.approvals.answer(run, "ask", True)
    status = await until(client, run, "complete", "error")
    assert status["status"] == "complete", status
    assert await client.fetch(status["nodeStatus"]["join"]["output"]["merged_text"]) == big_text("waits") * 2
    assert await client.fetch(status["nodeStatus"]["typed"]["output"]["approved"]) == literal


async def test_cached_result_keeps_its_value_when_its_run_is_deleted(bench: Bench) -> None:
    document = graph([bench.big("a", "cached", "Sure")])
    first = await bench.run(document)
    await bench.client.delete_run(first["promptId"])
    await bench.quiet()
    await bench.collect()
    second = await bench.run(document)
    assert second["nodeStatus"]["a"]["cached"] is True
    assert await bench.client.fetch(second["nodeStatus"]["a"]["output"]["text"]) == big_text("cached")
    shutil.rmtree(bench.data / "results")
    await bench.client.delete_run(second["promptId"])
    await bench.quiet()
    await bench.collect()
    assert not bench.has(big_text("cached"))
    third = await bench.run(document)
    assert "cached" not in third["nodeStatus"]["a"]
    assert await bench.client.fetch(third["nodeStatus"]["a"]["output"]["text"]) == big_text("cached")


async def test_rerun_outlives_the_run_it_came_from(bench: Bench) -> None:
    typed = node("typed", "core:TextMerge", text_inputs=["typed " * 2000])
    document = graph([bench.big("a", "base"), typed, node("j", "core:TextMerge")], "a.text > j.text_inputs__0")
    base = await bench.run(document)
    again = await bench.run({"baseRun": base["promptId"], "fromNode": ["j"]})
    assert again["nodeStatus"]["a"]["reused"] is True
    await bench.client.delete_run(base["promptId"])
    await bench.quiet()
    await bench.collect()
    with pytest.raises(RunNotFound):
        await bench.client.submit({"baseRun": base["promptId"]})
    third = await bench.run({"baseRun": again["promptId"], "fromNode": ["j", "typed"]})
    assert third["nodeStatus"]["a"]["reused"] is True
    assert await bench.client.fetch(third["nodeStatus"]["j"]["output"]["merged_text"]) == big_text("base")


@pytest.mark.slow
async def test_killed_in_the_middle_of_a_collection(bench: Bench) -> None:
    client, blobs = bench.client, bench.data / "blobs"
    ended = await bench.run(graph([bench.big("a", "ended")]))
    await bench.quiet()
    loose = []
    for number in range(4000):
        sha = hashlib.sha256(f"loose {number}".encode()).hexdigest()
        loose.append(blobs / sha[:2] / sha)
        loose[-1].parent.mkdir(exist_ok=True)
        loose[-1].write_text(f"loose {number}")
        os.utime(loose[-1], (1e9, 1e9))
    run = await client.submit(graph([bench.big("b", "goes on"), node("ask", "core:Approval")], "b.text > ask.data"))
    await until(client, run, "waiting")
    broken_off = asyncio.create_task(client.collect())
    async with asyncio.timeout(20):
        while sum(path.exists() for path in loose) > 3800:
            await asyncio.sleep(0)
    os.kill(bench.stack.pids()["gateway"], signal.SIGKILL)
    left = sum(path.exists() for path in loose)
    assert 0 < left < 4000
    # The client asks again as soon as there is a gateway again.
    await asyncio.wait_for(broken_off, 40)
    assert not any(path.exists() for path in loose)
    assert await client.fetch(ended["nodeStatus"]["a"]["output"]["text"]) == big_text("ended")
    await client.approvals.answer(run, "ask", True)
    status = await until(client, run, "complete", "error")
    assert status["status"] == "complete"
    assert await client.fetch(status["nodeStatus"]["ask"]["output"]["approved"]) == big_text("goes on")


async def test_metrics_tell_what_was_collected(bench: Bench) -> None:
    await bench.quiet()
    run = await bench.run(graph([bench.big("a", "counted")]))
    await bench.client.delete_run(run["promptId"])
    await bench.quiet()
    found = await bench.collect()
    async with httpx.AsyncClient(base_url=bench.client.url) as http:
        text = (await http.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert found["deleted"] >= 1
    assert float(lines["innkeeper_collection_blobs_deleted_total"]) >= found["deleted"]
    assert float(lines["innkeeper_collection_bytes_deleted_total"]) >= found["deletedBytes"] > TIMES
    assert float(lines["innkeeper_blobs_kept"]) == found["kept"]
