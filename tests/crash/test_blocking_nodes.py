"""Nodes that block, on the real stack: they are named, they end alone, and nobody waits for them."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
Json = dict[str, Any]
PLUGINS = Path(__file__).parents[1] / "plugins"
LIMIT_S = 6
# One worker is the stricter case: no other one can take what waits.
WORKERS = [pytest.param(1, id="one worker"), pytest.param(2, id="two workers", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=WORKERS)
async def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[LocalStack]:
    folder = tmp_path_factory.mktemp("blocking")
    env = {"INNKEEPER_BLOCK_LIMIT_S": str(LIMIT_S)}
    async with LocalStack(StackOptions(folder, plugins=(PLUGINS,), workers=request.param, env=env)) as stack:
        yield stack


def blocks(type: str, kind: str, **fields: Any) -> Json:
    node = {"id": "n", "fullType": f"blocking-nodes:{type}", "inputs": {"kind": kind, "seconds": 60.0}, **fields}
    return {"nodes": [node], "edges": []}


async def ended(client: GatewayClient, document: Json, timeout_s: float = 60) -> Json:
    """The status of a run of the document, once it has ended."""
    async with asyncio.timeout(timeout_s):
        run = await client.submit(document)
        async for _ in client.events(run):
            pass
        return await client.status(run)


@pytest.mark.parametrize("type", ["Shared", "Inline", "Thread", "Process"])
async def test_a_node_that_never_returns_holds_up_no_other_run(stack: LocalStack, type: str) -> None:
    others = [
        {"nodes": [{"id": "a", "fullType": "core:CreateMessage", "inputs": {"content": "Hi"}}], "edges": []},
        blocks("Shared", ""),
    ]
    async with GatewayClient(stack.url) as client:
        culprit = await client.submit(blocks(type, "spin"))
        for _ in range(4):
            begun = time.monotonic()
            found = await asyncio.gather(*(ended(client, document) for document in others))
            assert [status["status"] for status in found] == ["complete"] * len(others)
            assert time.monotonic() - begun < 5
        # Without a bound: on a busy machine the start of a Python process alone takes seconds.
        assert (await ended(client, blocks("Process", "")))["status"] == "complete"
        begun = time.monotonic()
        await client.cancel(culprit)
        async with asyncio.timeout(20):
            async for _ in client.events(culprit):
                pass
        assert (await client.status(culprit))["status"] == "interrupted"
        assert time.monotonic() - begun < 5


async def test_a_node_that_blocks_is_named_with_its_line_within_five_seconds_and_only_it_has_failed(
    stack: LocalStack, caplog: pytest.LogCaptureFixture
) -> None:
    before = stack.pids()
    async with GatewayClient(stack.url) as client, asyncio.timeout(60):
        waits = await client.submit(blocks("Shared", "wait_long", retry={"maximumAttempts": 1}))
        begun = time.monotonic()
        culprit = await client.submit(blocks("Shared", "spin_once"))
        events = []
        async for event in client.events(culprit):
            events.append(event)
            if event["type"] == "NODE_WARNING":
                assert time.monotonic() - begun < 5
                assert re.search(r"at blocking-nodes/nodes/block\.py:\d+ in spin", event["payload"]["message"])
        await asyncio.sleep(1.2)  # the supervisor looks every second
        assert "block.py" in "\n".join(r.getMessage() for r in caplog.records if r.name == "innkeeper.supervisor")
        node = (await client.status(culprit))["nodeStatus"]["n"]
        assert (node["status"], node["attempts"]) == ("complete", 2)
        (retry,) = [event["payload"] for event in events if event["type"] == "NODE_RETRY"]
        assert (retry["kind"], retry["code"]) == ("retry", "node_blocked")
        # The node beside it began anew in a fresh thread, and its only attempt is not used up.
        assert (await client.status(waits))["nodeStatus"]["n"]["status"] == "running"
        await client.cancel(waits)
    assert stack.pids() == before


async def test_what_cannot_be_aborted_costs_the_process_which_is_replaced(
    stack: LocalStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with GatewayClient(stack.url) as client, asyncio.timeout(90):
        run = await client.submit(blocks("Plain", "sleep"))
        async for event in client.events(run):
            if event["type"] == "NODE_EXECUTING":
                await client.cancel(run)
        logs = list(stack.options.data_dir.glob("logs/worker-*.log"))
        while not any("this worker process is replaced: node 'n' of run" in log.read_text() for log in logs):
            await asyncio.sleep(0.2)
        assert (await ended(client, blocks("Shared", "")))["status"] == "complete"


async def test_a_fault_in_a_plugin_is_told_with_its_line_by_the_gateway(stack: LocalStack) -> None:
    async with GatewayClient(stack.url) as client:
        for type in ("Shared", "Inline", "Plain", "Process"):
            status = await ended(client, blocks(type, "fault"))
            error = status["nodeStatus"]["n"]["error"]
            assert error["message"] == "KeyError: 'missing'"
            assert re.fullmatch(r"blocking-nodes/nodes/block\.py:\d+ in act", error["details"]["where"])
            assert status["nodeStatus"]["n"]["attempts"] == 2
