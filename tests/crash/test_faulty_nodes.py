"""Nodes that behave badly on the real stack: each fails by itself, and the stack serves on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
Json = dict[str, Any]


def faulty(id: str, kind: str, **fields: Any) -> Json:
    return {"id": id, "fullType": "crash-nodes:Faulty", "inputs": {"kind": kind}, **fields}


async def ended(stack: LocalStack, document: Json, timeout_s: float = 60) -> Json:
    """The status of a run of the document, once it has ended."""
    async with GatewayClient(stack.url) as client, asyncio.timeout(timeout_s):
        run = await client.submit(document)
        async for _ in client.events(run):
            pass
        return await client.status(run)


async def test_progress_of_nan_harms_nobody(stack: LocalStack) -> None:
    before = stack.pids()
    status = await ended(stack, {"nodes": [faulty("n", "nan")], "edges": []})
    assert status["status"] == "complete"
    assert stack.pids() == before


async def test_half_a_character_in_an_error_ends_the_run(stack: LocalStack) -> None:
    status = await ended(stack, {"nodes": [faulty("n", "half")], "edges": []})
    error = status["nodeStatus"]["n"]["error"]
    assert (error["message"], error["details"]["x"]) == ("bad \ufffd", "\ufffd")


async def test_exit_in_a_node_that_reads_a_stream_is_an_error_of_that_node(stack: LocalStack) -> None:
    before = stack.pids()
    nodes = [
        {"id": "w", "fullType": "crash-nodes:Words", "inputs": {"count": 3}},
        {"id": "l", "fullType": "crash-nodes:Leaver"},
    ]
    ends = {"sourceNodeId": "w", "sourceHandle": "stream", "targetNodeId": "l", "targetHandle": "stream"}
    status = await ended(stack, {"nodes": nodes, "edges": [{"id": "e", **ends}]})
    assert status["nodeStatus"]["w"]["status"] == "complete"
    assert status["nodeStatus"]["l"]["error"]["message"].startswith("the node called exit(3)")
    assert stack.pids() == before


async def test_a_node_that_is_tried_again_and_warns_is_seen_by_clients_and_in_the_result(stack: LocalStack) -> None:
    nodes = [faulty("n", "fail"), faulty("i", "fail", fullType="crash-nodes:FaultyInline")]
    async with GatewayClient(stack.url) as client, asyncio.timeout(60):
        run = await client.submit({"nodes": nodes, "edges": []})
        events = [event async for event in client.events(run)]
        status = await client.status(run)
    for path in "ni":
        told = [event["payload"] for event in events if event["payload"].get("nodeId") == path]
        (retry,) = [payload for payload in told if "retryAt" in payload]
        assert (retry["kind"], retry["code"], retry["message"]) == ("retry", "too_early", "not yet")
        entry = status["nodeStatus"][path]
        assert (entry["status"], entry["attempts"]) == ("complete", 2)
        assert entry["warnings"] == [{"code": "second", "message": "it took another attempt"}]
        assert not {"retryAt", "lastError"} & entry.keys()


async def test_a_node_that_kills_its_worker_fails_alone(stack: LocalStack) -> None:
    """It may do so twice as often as it may fail; a healthy node that ran beside it each time outlives that."""
    killer = {"nodes": [faulty("n", "kill", retry={"maximumAttempts": 2})], "edges": []}
    slow = faulty("n", "slow", retry={"maximumAttempts": 3})
    slow["inputs"]["seconds"] = 9.0
    bad, good = await asyncio.gather(ended(stack, killer, 150), ended(stack, {"nodes": [slow], "edges": []}, 150))
    error = bad["nodeStatus"]["n"]["error"]
    assert error["code"] == "worker_died"
    assert "4 times" in error["message"]
    assert good["status"] == "complete"
