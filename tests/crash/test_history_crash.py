"""Runs that go through several Temporal histories, with segments between, while workers and everything are killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process import temporal_server
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.viewer import Viewer

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
PLUGINS = Path(__file__).parents[1] / "plugins"
PAIRS = 30
SUGGESTED_EVENTS = "60"


def graph(trace: Path) -> dict[str, Any]:
    """Activities and inline nodes by turns: each hands its text on."""
    nodes, edges = [], []
    for i in range(PAIRS):
        nodes += [
            {"id": f"a{i}", "fullType": "crash-nodes:Count", "inputs": {"file": str(trace), "seconds": 0.05}},
            {"id": f"i{i}", "fullType": "core:TextMerge", "inputs": {"separator": ""}},
        ]
        edges.append(edge(f"a{i}", "text", f"i{i}", "text_inputs__0"))
        if i:
            edges.append(edge(f"i{i - 1}", "merged_text", f"a{i}", "text"))
    mappings = {"all": {"sourceNodeId": f"i{PAIRS - 1}", "sourceSlotKey": "merged_text"}}
    return {"nodes": nodes, "edges": edges, "outputInterfaceMappings": mappings}


def edge(source: str, slot: str, target: str, into: str) -> dict[str, str]:
    return {"sourceNodeId": source, "sourceHandle": slot, "targetNodeId": target, "targetHandle": into}


@pytest.mark.slow
async def test_one_run_through_many_histories_survives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**temporal_server.DYNAMIC_CONFIG, "limit.historyCount.suggestContinueAsNew": SUGGESTED_EVENTS}
    monkeypatch.setattr(temporal_server, "DYNAMIC_CONFIG", config)
    trace, viewer, logged = tmp_path / "trace.txt", Viewer(), dict[str, int]()
    kills = {"a6": ("worker-1",), "i14": ("worker-1",), "a22": ("temporal", "gateway", "worker-1")}
    async with LocalStack(StackOptions(tmp_path / "data", plugins=(PLUGINS,))) as stack:
        async with GatewayClient(stack.url) as client:
            run = await client.submit(graph(trace))
            async with asyncio.timeout(120):
                async for event in client.events(run):
                    viewer.apply(event)
                    node = event["payload"].get("nodeId")
                    if event["type"] == "NODE_COMPLETE":
                        logged[node] = trace.read_text().count(f" {node} ")
                        for name in kills.pop(node, ()):
                            os.kill(stack.pids()[name], signal.SIGKILL)
            status = await client.status(run)
        temporal = await Client.connect(stack.temporal_address, namespace=temporal_server.NAMESPACE)
        described = await temporal.get_workflow_handle(run).describe()
    assert not kills
    assert status["status"] == "complete"
    assert status["outputs"] == {"all": "".join(f"[a{i}]" for i in range(PAIRS))}
    names = [f"{kind}{i}" for i in range(PAIRS) for kind in "ai"]
    assert {name: viewer.terminal[name] for name in names} == dict.fromkeys(names, 1)
    assert {name: trace.read_text().count(f" {name} ") for name in names if name[0] == "a"} == {
        name: logged[name] for name in names if name[0] == "a"
    }, "a logged node ran again"
    first = described.raw_description.workflow_execution_info.first_run_id
    assert first != described.run_id, "the run never changed its history, so that nothing was tried"
