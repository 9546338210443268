"""Segments whose worker, or everything, is killed while they run: equal results, one end of each node, for everyone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.viewer import Viewer

pytestmark = [pytest.mark.crash, pytest.mark.timeout(150)]
NODES = 12


def graph(trace: Path, *, beside: bool) -> dict[str, Any]:
    """Inline nodes in a row, each 0.1 s. `beside`: with a branch at their side they run by the server."""
    inputs = {"file": str(trace), "seconds": 0.1}
    nodes = [{"id": f"n{i}", "fullType": "crash-nodes:Lot", "inputs": inputs} for i in range(NODES)]
    edges = [
        {"sourceNodeId": f"n{i}", "sourceHandle": "text", "targetNodeId": f"n{i + 1}", "targetHandle": "text"}
        for i in range(NODES - 1)
    ]
    if beside:
        nodes.append({"id": "beside", "fullType": "crash-nodes:Count", "inputs": {"file": f"{trace}.b", "seconds": 3}})
    mappings = {"all": {"sourceNodeId": f"n{NODES - 1}", "sourceSlotKey": "text"}}
    return {"nodes": nodes, "edges": edges, "outputInterfaceMappings": mappings}


def drawn(trace: Path, run: str) -> dict[str, set[str]]:
    """What each node of a run gave, as often as it ran."""
    found = defaultdict(set)
    for line in trace.read_text().splitlines():
        if line.startswith(run):
            _, node, text = line.split(" ", 2)
            found[node].add(text)
    return found


async def until_begun(trace: Path, node: str) -> None:
    async with asyncio.timeout(60):
        while not trace.exists() or f" {node} " not in trace.read_text():
            await asyncio.sleep(0.01)


async def check(client: GatewayClient, run: str, trace: Path) -> None:
    viewer = Viewer()
    async with asyncio.timeout(90):
        async for event in client.events(run):
            viewer.apply(event)
    status = await client.status(run)
    found = drawn(trace, run)
    assert status["status"] == "complete"
    assert {f"n{i}": viewer.terminal[f"n{i}"] for i in range(NODES)} == {f"n{i}": 1 for i in range(NODES)}
    assert all(len(texts) == 1 for texts in found.values()), found
    assert status["outputs"] == {"all": found[f"n{NODES - 1}"].pop()}
    lines = [line for line in trace.read_text().splitlines() if line.startswith(run)]
    assert len(lines) > NODES, "nothing ran twice, so that nothing was tried"


@pytest.mark.parametrize(
    ("beside", "at"),
    [
        pytest.param(False, "n1", id="in_the_workflow_task"),
        pytest.param(True, "n5", id="by_the_server", marks=pytest.mark.slow),  # that is how everything dies below
    ],
)
@pytest.mark.slow
async def test_segment_of_a_killed_worker_is_repeated_with_equal_results(
    stack: LocalStack, tmp_path: Path, beside: bool, at: str
) -> None:
    trace = tmp_path / "trace.txt"
    async with GatewayClient(stack.url) as client:
        run = await client.submit(graph(trace, beside=beside))
        await until_begun(trace, at)
        os.kill(stack.pids()["worker-1"], signal.SIGKILL)
        await check(client, run, trace)


@pytest.mark.slow
async def test_segment_outlives_the_death_of_everything(stack: LocalStack, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    async with GatewayClient(stack.url) as client:
        run = await client.submit(graph(trace, beside=True))
        await until_begun(trace, "n3")
        for pid in stack.pids().values():
            os.kill(pid, signal.SIGKILL)
        await check(client, run, trace)
