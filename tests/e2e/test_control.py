"""Pausing and answering through the real stack, while its processes are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from innkeeper.nodes.errors import InnkeeperError

Json = dict[str, Any]
ASK = {"id": "asks", "name": "Asks", "edges": [], "nodes": [{"id": "ask", "type": "core:Approval"}]}


@pytest.fixture
def stack(shared: tuple[LocalStack, Path]) -> LocalStack:
    stack, data = shared
    library = data / "shared" / "library" / "workflows"
    library.mkdir(parents=True, exist_ok=True)
    (library / "asks.json").write_text(json.dumps(ASK))
    return stack


def node(id: str, type: str, config: Json | None = None, **inputs: Any) -> Json:
    return {"id": id, "fullType": f"core:{type}", "inputs": inputs, "configValues": config or {}}


def edge(source: str, target: str) -> Json:
    (node, slot), (to, into) = source.split("."), target.split(".")
    ends = {"sourceNodeId": node, "sourceHandle": slot, "targetNodeId": to, "targetHandle": into}
    return {"id": f"{source}>{target}", **ends}


async def until(client: GatewayClient, run: str, *statuses: str) -> Json:
    async with asyncio.timeout(40):
        while (found := await client.status(run))["status"] not in statuses:
            await asyncio.sleep(0.05)
    return found


async def killed(stack: LocalStack, *names: str) -> None:
    """Kill processes and wait until others have taken their places."""
    before = stack.pids()
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    async with asyncio.timeout(30):
        while any(stack.pids().get(name) in (None, before[name]) for name in names):
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_pause_survives_the_death_of_worker_and_gateway(stack: LocalStack) -> None:
    nodes = [node("wait", "Delay", seconds=2.0), node("join", "TextMerge")]
    async with GatewayClient(stack.url) as client:
        run = await client.submit({"nodes": nodes, "edges": [edge("wait.value", "join.text_inputs__0")]})
        await until(client, run, "waiting")
        assert (await client.pause(run))["status"] == "paused"
        await killed(stack, "worker-1", "gateway")
        async with asyncio.timeout(40):
            while (found := await client.status(run))["nodeStatus"]["wait"]["status"] != "complete":
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        found = await client.status(run)
        assert found["status"] == "paused"
        assert "join" not in found["nodeStatus"]
        await client.resume(run)
        await until(client, run, "complete")
        said = [event["payload"]["status"] async for event in client.events(run) if _is_status(event)]
    assert said == ["running", "paused", "running", "complete"]


def _is_status(event: Json) -> bool:
    return bool(event["type"] == "EXECUTION_STATUS_UPDATE")


async def test_approvals_outlive_a_worker_and_are_answered_once_wherever_they_are(stack: LocalStack) -> None:
    asks = {"referencedWorkflowId": "asks"}
    nodes = [node("here", "Approval", data={"n": 1}), node("g", "NodeGroup", asks), node("h", "NodeGroup", asks)]
    async with GatewayClient(stack.url) as one, GatewayClient(stack.url) as other:
        run = await one.submit({"nodes": nodes, "edges": []})
        async with asyncio.timeout(60):
            while len(await one.approvals.find(run)) < 3:
                await asyncio.sleep(0.05)
        await until(one, run, "waiting")
        await killed(stack, "worker-1")
        for approval in ("here", "g/ask", "h/ask"):
            both = (
                client.approvals.answer(run, approval, True, by=name) for client, name in ((one, "a"), (other, "b"))
            )
            results = await asyncio.gather(*both, return_exceptions=True)
            (won,) = [result for result in results if isinstance(result, dict)]
            (lost,) = [result for result in results if isinstance(result, InnkeeperError)]
            assert won["approved"] is True
            assert lost.code in ("approval_answered", "run_not_active")
        status = await until(one, run, "complete", "error")
    assert status["status"] == "complete"
    assert status["nodeStatus"]["here"]["output"]["approved"] == {"n": 1}


async def test_event_for_all_ends_every_wait(stack: LocalStack) -> None:
    document = {"nodes": [node("w", "WaitForEvent", {"name": "dawn"})], "edges": []}
    async with GatewayClient(stack.url) as client:
        runs = [await client.submit(document) for _ in range(3)]
        for run in runs:
            await until(client, run, "waiting")
        assert (await client.post_event("dawn", {"sun": True}))["runs"] == 3
        for run in runs:
            status = await until(client, run, "complete")
            assert status["nodeStatus"]["w"]["output"]["data"] == {"sun": True}
