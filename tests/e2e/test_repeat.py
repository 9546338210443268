"""core:ForEach and core:Loop through the real stack: their events, paths, statuses, and what waits inside them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.viewer import Viewer
from tests.e2e.test_groups import GATE, SINK, Library
from tests.e2e.test_streams import Json, graph, node

ANY = {"dataFlowType": "WILDCARD"}


@pytest.fixture
def library(shared: tuple[LocalStack, Path]) -> Library:
    return Library(*shared)


def repeated(kind: str, id: str, workflow: str, inputs: Json, **config: object) -> Json:
    return {**node(id, f"core:{kind}", **inputs), "configValues": {"referencedWorkflowId": workflow, **config}}


async def watched(library: Library, document: Json) -> tuple[list[Json], Json]:
    """All events of a run to its end, and the final status."""
    async with GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        run = await client.submit(document)
        return [event async for event in client.events(run)], await client.status(run)


def of(events: list[Json], type: str, path: str) -> list[Json]:
    return [e["payload"] for e in events if e["type"] == type and e["payload"].get("nodeId") == path]


def store_join(library: Library) -> None:
    merge = node("m", "core:TextMerge", separator="")
    inner = graph([GATE, merge, SINK], "in.item > m.text_inputs__0", "m.merged_text > go.text")
    library.store("join", inner, {"item": ANY}, {"text": ANY})


async def test_items_are_seen_one_by_one_and_progress_rises(library: Library) -> None:
    store_join(library)
    outer = repeated("ForEach", "each", "join", {"items": [str(index) for index in range(250)]}, concurrency=50)
    events, status = await watched(library, graph([outer]))
    assert status["status"] == "complete"
    values = [payload["value"] for payload in of(events, "NODE_PROGRESS", "each")]
    assert values == sorted(set(values))
    assert values[-1] == 250
    assert len(values) <= 100
    assert len(of(events, "NODE_COMPLETE", "each/17/m")) == len(of(events, "NODE_EXECUTING", "each/17/m")) == 1
    assert status["nodeStatus"]["each/249/m"]["status"] == "complete"
    assert len(of(events, "NODE_COMPLETE", "each")) == 1


async def test_failed_item_is_seen_where_it_failed(library: Library) -> None:
    words = {**node("w", "Words", count=2, delay=0.0, failures=9), "retry": {"maximumAttempts": 1}}
    inner = graph([GATE, words, SINK], "in.item > w.fail_at", "w.out > go.text")
    library.store("words", inner, {"item": ANY}, {"text": {"dataFlowType": "STRING", "isStream": True}})
    outer = repeated("ForEach", "each", "words", {"items": [-1, 1, -1]}, onError="collect")
    events, status = await watched(library, graph([outer]))
    assert len(of(events, "NODE_ERROR", "each/1/w")) == 1
    output = status["nodeStatus"]["each"]["output"]
    assert output["results"] == [{"text": "w0 w1 "}, None, {"text": "w0 w1 "}]  # a stream that is over is its text
    assert [error["index"] for error in output["errors"]] == [1]


async def test_delays_and_approvals_wait_in_items(library: Library) -> None:
    ask = {**node("a", "core:Approval"), "configValues": {"timeoutSeconds": 60}}
    inner = graph([GATE, node("d", "core:Delay", seconds=0.1), ask, SINK], "in.item > d.value", "d.value > a.data",
                  "a.approved > go.out")  # fmt: skip
    library.store("ask", inner, {"item": ANY}, {"out": ANY})
    viewer = Viewer()
    async with GatewayClient(library.stack.url) as gateway, asyncio.timeout(60):
        run = await gateway.submit(graph([repeated("ForEach", "each", "ask", {"items": ["a", "b"]})]))
        async for event in gateway.events(run):
            viewer.apply(event)
            if event["type"] == "APPROVAL_REQUIRED":
                await gateway.approvals.answer(run, event["payload"]["approvalId"], True)
        status = await gateway.status(run)
    assert status["nodeStatus"]["each"]["output"]["results"] == [{"out": "a"}, {"out": "b"}]


async def test_loop_tells_its_rounds(library: Library) -> None:
    store_join(library)
    outer = repeated("Loop", "loop", "join", {"state": {"item": "go"}}, conditionKey="text", maxIterations=5,
                     onLimit="stop")  # fmt: skip
    events, status = await watched(library, graph([outer]))
    assert status["nodeStatus"]["loop"]["output"] == {"state": {"item": "go", "text": "go"}, "iterations": 5}
    assert [payload["value"] for payload in of(events, "NODE_PROGRESS", "loop")] == [1, 2, 3, 4, 5]
    assert len(of(events, "NODE_COMPLETE", "loop/4/m")) == 1
