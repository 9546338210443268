"""Nodes that wait, while everything around them is killed: deadlines hold, questions stay asked, each once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.viewer import Viewer

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
Json = dict[str, Any]
FORM = [{"key": "text", "dataFlowType": "STRING"}]
LATE_S = 8.0
"""What a timer may be late after everything came back; one that began anew would take 9 s."""


def _node(id: str, type: str, inputs: Json | None = None, **config: Any) -> Json:
    return {"id": id, "fullType": f"core:{type}", "inputs": inputs or {}, "configValues": config}


def _edge(source: str, target: str) -> Json:
    (node, slot), (to, into) = source.split("."), target.split(".")
    ends = {"sourceNodeId": node, "sourceHandle": slot, "targetNodeId": to, "targetHandle": into}
    return {"id": f"{source}>{target}", **ends}


INNER = {
    "id": "asks",
    "name": "Asks",
    "nodes": [_node("ask", "Approval", {"data": {"text": "old"}}, form=FORM), _node("out", "GroupOutput")],
    "edges": [_edge("ask.approved", "out.line")],
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "WILDCARD"}},
    "outputInterfaceMappings": {"line": {"sourceNodeId": "ask", "sourceSlotKey": "approved"}},
}


def _graph() -> Json:
    nodes = [
        _node("short", "Delay", {"seconds": 2, "value": "short"}),
        _node("long", "Delay", {"seconds": 9, "value": "long"}),
        _node("ask", "Approval", {"data": "old"}, form=[{"key": "data", "dataFlowType": "STRING"}]),
        _node("event", "WaitForEvent", name="go"),
        _node("g", "NodeGroup", referencedWorkflowId="asks"),
        _node("no", "TextMerge", {"text_inputs": ["no"]}),
        _node("yes", "TextMerge", {"separator": "|"}),
    ]
    edges = [
        _edge("ask.approved", "yes.text_inputs__0"),
        _edge("short.value", "yes.text_inputs__1"),
        _edge("ask.rejected", "no.text_inputs__0"),
    ]
    return {"nodes": nodes, "edges": edges}


async def _watch(client: GatewayClient, run: str, viewer: Viewer, said: Counter[tuple[str, str]], until: int) -> None:
    """Apply what comes until so many nodes have been told to wait, or (0) to the end."""
    async with contextlib.aclosing(client.events(run, after=viewer.seq)) as events:
        async for event in events:
            viewer.apply(event)
            said[event["type"], event["payload"].get("nodeId", "")] += 1
            waits = sum(count for (kind, _), count in said.items() if kind in ("NODE_WAITING", "APPROVAL_REQUIRED"))
            if until and waits >= until:
                return


async def test_waits_outlive_everything(tmp_path: Path) -> None:
    options = StackOptions(tmp_path / "data")
    library = tmp_path / "data/shared/library/workflows"
    library.mkdir(parents=True)
    (library / "asks.json").write_text(json.dumps(INNER))
    viewer, said = Viewer(), Counter[tuple[str, str]]()
    async with LocalStack(options) as stack:
        async with GatewayClient(stack.url) as client, asyncio.timeout(60):
            run = await client.submit(_graph())
            await _watch(client, run, viewer, said, 5)
            # Another worker takes over, replays and tells everything again: nobody hears it twice.
            os.kill(stack.pids()["worker-1"], signal.SIGKILL)
        supervisor = stack._supervisor
        assert supervisor is not None
        for child in supervisor.children.values():
            child.kill()
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client, asyncio.timeout(60):
        back = datetime.now(UTC)
        await client.post_event("go", {"n": 1}, run_id=run)
        assert (await client.approvals.answer(run, "g/ask", True, values={"text": "new"}))["approved"]
        watching = asyncio.create_task(_watch(client, run, viewer, said, 0))
        await client.approvals.answer(run, "ask", True, values={"data": "new"})
        await watching
        status = await client.status(run)
    nodes = status["nodeStatus"]
    assert status["status"] == "complete", status
    assert nodes["yes"]["output"]["merged_text"] == "new|short"
    assert nodes["no"]["status"] == "skipped"
    assert nodes["g"]["output"] == {"line": {"text": "new"}}
    assert nodes["event"]["output"] == {"data": {"n": 1}}
    begun, ended = (datetime.fromisoformat(nodes["long"][key]) for key in ("startedAt", "endedAt"))
    due = begun + timedelta(seconds=9)
    assert due <= ended < max(due, back) + timedelta(seconds=LATE_S)
    assert max(said[key] for key in said if key[0] in ("NODE_WAITING", "APPROVAL_REQUIRED", "APPROVAL_ANSWERED")) == 1
    assert set(viewer.terminal.values()) == {1}
