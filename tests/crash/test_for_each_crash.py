"""A core:ForEach survives what kills the processes that run it: finished items stay finished."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.caches import CACHE
from tests.e2e.test_groups import GATE, SINK, Library
from tests.e2e.test_streams import graph, node
from tests.effort import LONG

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
PLUGINS = Path(__file__).parents[1] / "plugins"
ITEMS, AT_ONCE, KILL_AT = (200, 8, 90) if LONG else (80, 8, 30)

Json = dict[str, Any]


def options(folder: Path) -> StackOptions:
    return StackOptions(folder / "data", plugins=(PLUGINS,))


def each(stack: LocalStack, folder: Path) -> Json:
    """A run of `work` for each item; `work` leaves a line in a file of the folder each time it runs."""
    count = node("w", "crash-nodes:Count", file=str(folder / "trace.txt"), seconds=0.05)
    slot = {"dataFlowType": "STRING"}
    inner = graph([GATE, count, SINK], "in.item > w.text", "w.text > go.text")
    Library(stack, stack.options.data_dir).store("work", inner, {"item": slot}, {"text": slot})
    outer = node("each", "core:ForEach", items=[f"i{index}" for index in range(ITEMS)])
    outer["configValues"] = {"referencedWorkflowId": "work", "concurrency": AT_ONCE, "resultKey": "text"}
    mapped = {"all": {"sourceNodeId": "each", "sourceSlotKey": "results"}}
    return graph([outer], outputInterfaceMappings=mapped)


async def until_item(client: GatewayClient, run: str) -> set[str]:
    """Wait until many items are done; gives those whose end is logged."""
    done: set[str] = set()
    async with asyncio.timeout(60):
        async for event in client.events(run):
            path = event["payload"].get("nodeId", "")
            if event["type"] == "NODE_COMPLETE" and path.endswith("/w"):
                done.add(path)
                if len(done) == KILL_AT:
                    return done
    raise AssertionError("the run ended before its time")


async def check(client: GatewayClient, run: str, folder: Path, done: set[str]) -> None:
    async with asyncio.timeout(90):
        progress = [e["payload"]["value"] async for e in client.events(run) if e["type"] == "NODE_PROGRESS"]
    status = await client.status(run)
    assert status["status"] == "complete"
    assert await client.fetch(status["outputs"]["all"]) == [f"i{index}[each/{index}/w]" for index in range(ITEMS)]
    begun = Counter(line.split()[1] for line in (folder / "trace.txt").read_text().splitlines())
    assert len(begun) == ITEMS
    assert {path for path in done if begun[path] > 1} == set(), "a finished item was run again"
    assert sum(count - 1 for count in begun.values()) <= AT_ONCE
    assert progress == sorted(set(progress))
    assert progress[-1] == ITEMS
    assert len(progress) <= 100


async def test_killed_worker_runs_no_finished_item_again(stack: LocalStack, tmp_path: Path) -> None:
    async with GatewayClient(stack.url) as client:
        run = await client.submit(each(stack, tmp_path))
        done = await until_item(client, run)
        os.kill(stack.pids()["worker-1"], signal.SIGKILL)
        await check(client, run, tmp_path, done)


@pytest.mark.slow  # test_whole_stack.py tries evicted runs at each change
async def test_two_runs_that_push_each_other_out_of_memory_survive_a_kill(tmp_path: Path) -> None:
    """The worker keeps one run, so that nearly every workflow task replays its own."""
    evicting = StackOptions(tmp_path / "data", plugins=(PLUGINS,), env={CACHE: "1"})
    folders = [tmp_path / name for name in "ab"]
    async with LocalStack(evicting) as stack, GatewayClient(stack.url) as client:
        runs = []
        for folder in folders:
            folder.mkdir()
            runs.append(await client.submit(each(stack, folder)))
        done = await asyncio.gather(*(until_item(client, run) for run in runs))
        os.kill(stack.pids()["worker-1"], signal.SIGKILL)
        for run, folder, finished in zip(runs, folders, done, strict=True):
            await check(client, run, folder, finished)


@pytest.mark.slow  # waits and streams are tried this way at each change
async def test_stack_started_again_goes_on_with_the_items_left(tmp_path: Path) -> None:
    async with LocalStack(options(tmp_path)) as stack, GatewayClient(stack.url) as client:
        run = await client.submit(each(stack, tmp_path))
        done = await until_item(client, run)
        supervisor = stack._supervisor
        assert supervisor is not None
        for child in supervisor.children.values():
            child.kill()
    async with LocalStack(options(tmp_path)) as stack, GatewayClient(stack.url) as client:
        await check(client, run, tmp_path, done)
