"""A stack dies whole and is started again on its data: streams go on, deadlines hold, each question is asked once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.caches import CACHE, CACHES
from tests.crash.slow_model import slow_model
from tests.crash.test_crash import EXPECTED, PLUGINS, Bench, check, in_stream
from tests.crash.viewer import Viewer
from tests.graphs import ASKING_GROUP, edge, node

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
Json = dict[str, Any]
LATE_S = 8.0
"""What a timer may be late after everything came back; one that began anew would take 9 s."""


def _graph() -> Json:
    nodes = [
        node("short", "Delay", {"seconds": 2, "value": "short"}),
        node("long", "Delay", {"seconds": 9, "value": "long"}),
        node("ask", "Approval", {"data": "old"}, form=[{"key": "data", "dataFlowType": "STRING"}]),
        node("event", "WaitForEvent", name="go"),
        node("g", "NodeGroup", referencedWorkflowId="asks"),
        node("no", "TextMerge", {"text_inputs": ["no"]}),
        node("yes", "TextMerge", {"separator": "|"}),
    ]
    edges = [
        edge("ask.approved", "yes.text_inputs__0"),
        edge("short.value", "yes.text_inputs__1"),
        edge("ask.rejected", "no.text_inputs__0"),
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


def _kill_whole(stack: LocalStack) -> None:
    supervisor = stack._supervisor
    assert supervisor is not None
    for child in supervisor.children.values():
        child.kill()


@pytest.mark.slow
@pytest.mark.parametrize("cached", CACHES)
async def test_runs_go_on_when_the_stack_that_died_whole_is_started_again(tmp_path: Path, cached: str) -> None:
    """One streams and one waits. Everything dies at once and stays dead for a moment, the supervisor included."""
    options = StackOptions(tmp_path / "data", plugins=(PLUGINS,), env={CACHE: cached})
    library = tmp_path / "data/shared/library/workflows"
    library.mkdir(parents=True)
    (library / "asks.json").write_text(json.dumps(ASKING_GROUP))
    waits, streams, said = Viewer(), Viewer(), Counter[tuple[str, str]]()
    async with slow_model() as model:
        async with LocalStack(options) as stack:
            bench = Bench(stack, model, tmp_path / "trace.txt")
            async with GatewayClient(stack.url) as client, asyncio.timeout(60):
                waiting = await client.submit(_graph())
                await _watch(client, waiting, waits, said, 5)
                streaming = await client.submit(bench.graph())
                await _until_in_stream(client, streaming, streams)
            logged = set(streams.terminal)
            _kill_whole(stack)
        async with LocalStack(options) as stack, GatewayClient(stack.url) as client, asyncio.timeout(90):
            await _check_waits(client, waiting, waits, said)
            await _check_stream(client, streaming, streams)
            late = Viewer()
            async for event in client.events(streaming):
                late.apply(event)
            check(bench, streaming, streams, late, logged)


async def _until_in_stream(client: GatewayClient, run: str, viewer: Viewer) -> None:
    async with contextlib.aclosing(client.events(run)) as events:
        async for event in events:
            viewer.apply(event)
            if in_stream(event, viewer):
                return


async def _check_stream(client: GatewayClient, run: str, viewer: Viewer) -> None:
    async for event in client.events(run, after=viewer.seq):
        viewer.apply(event)
    assert (await client.status(run))["outputs"] == {"all": EXPECTED}


async def _check_waits(client: GatewayClient, run: str, viewer: Viewer, said: Counter[tuple[str, str]]) -> None:
    """End every wait. The worker that was started again told each of them anew: nobody hears it twice."""
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
