"""Sockets that never subscribe get values whole; what is too large, binary or gone stays a reference."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from innkeeper.gateway.realtime import whole_values
from innkeeper.gateway.realtime.whole_values import MAX_VALUE_BYTES, WholeValues, refers_to_values
from innkeeper.nodes.services.blobs import FolderBlobs
from tests.gateway.realtime.talking import Json, hear, hear_run, say, socket_to

OUTPUTS = "__WORKFLOW_INTERFACE_OUTPUTS__"


def loud(times: int) -> Json:
    """A text of so many characters, as the output of a node and of the run."""
    return {
        "nodes": [{"id": "n", "fullType": "toys:Shout", "inputs": {"text": "a", "times": times}}],
        "edges": [],
        "interfaceOutputs": {"out": {"key": "out", "dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"out": {"sourceNodeId": "n", "sourceSlotKey": "text"}},
    }


def outputs_in(events: list[Json]) -> dict[str, Json]:
    return {event["payload"]["nodeId"]: event["payload"]["output"] for event in events if "output" in event["payload"]}


async def run_over(socket: Any, graph: Json) -> tuple[str, dict[str, Json]]:
    await say(socket, "PROMPT_REQUEST", **graph)
    run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
    return run, outputs_in(await hear_run(socket, run))


async def test_socket_that_never_subscribed_gets_values_whole_and_one_that_did_gets_addresses(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        run, whole = await run_over(socket, loud(8_000))
        await say(socket, "SUBSCRIBE", promptId=run)
        await hear(socket, "SUBSCRIBED")
        referred = outputs_in(await hear_run(socket, run))
    assert whole["n"]["text"] == whole[OUTPUTS]["out"] == "A" * 8_000
    assert referred["n"]["text"]["url"] == f"/api/prompt/{run}/outputs/n/text"
    assert "$blob" in referred[OUTPUTS]["out"]


async def test_value_above_the_limit_stays_a_reference(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        _, below = await run_over(socket, loud(MAX_VALUE_BYTES - 100))
        _, above = await run_over(socket, loud(MAX_VALUE_BYTES + 100))
    assert below["n"]["text"] == below[OUTPUTS]["out"] == "A" * (MAX_VALUE_BYTES - 100)
    assert above["n"]["text"]["size"] == MAX_VALUE_BYTES + 102
    assert "$blob" in above[OUTPUTS]["out"]


async def test_text_of_a_stream_is_whole_and_a_picture_stays_a_reference(shared: Any) -> None:
    nodes = [
        {"id": "s", "fullType": "toys:Count", "inputs": {"upto": 30, "pad": 1000}},
        {"id": "p", "fullType": "toys:Picture"},
    ]
    async with socket_to(shared.ws_url) as socket:
        _, found = await run_over(socket, {"nodes": nodes, "edges": []})
    assert (len(found["s"]["stream"]["text"]), found["s"]["stream"]["chunks"]) == (30_000, 30)
    assert "url" in found["p"]["image"]


async def reference(blobs: FolderBlobs, value: Any) -> Json:
    data = orjson.dumps(value)
    return {"$blob": await blobs.put(data), "size": len(data), "mime": "application/json", "preview": "", "url": "/x"}


def complete(**output: Any) -> bytes:
    payload = {"promptId": "r", "nodeId": "n", "output": output}
    return orjson.dumps({"seq": 1, "ts": 1, "type": "NODE_COMPLETE", "payload": payload})


async def put_in(values: WholeValues, frame: bytes) -> Json:
    async with values.put_in(frame) as whole:
        output: Json = orjson.loads(whole)["payload"]["output"]
        return output


async def test_missing_damaged_and_false_references_stay_as_they_are(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    here = await reference(blobs, {"a": [1]})
    gone = {**here, "$blob": "0" * 64}
    large = await reference(blobs, "x" * MAX_VALUE_BYTES)
    false = {**large, "size": 10}
    no_json = {**here, "$blob": await blobs.put(b"\xff"), "size": 1}
    odd: list[Any] = [gone, false, no_json, {"$blob": 1}, {"$blob": "../x", "size": 1, "mime": "application/json"}]
    frame = complete(here=here, **{str(index): value for index, value in enumerate(odd)})
    found = await put_in(WholeValues(blobs), frame)
    assert found.pop("here") == {"a": [1]}
    assert list(found.values()) == odd


async def test_values_of_one_event_are_bounded_together(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    slots = {f"s{index}": await reference(blobs, f"{index}" * 900_000) for index in range(6)}
    found = await put_in(WholeValues(blobs), complete(**slots))
    assert [isinstance(value, str) for value in found.values()] == [True] * 4 + [False] * 2


async def test_event_goes_with_references_while_clients_that_take_nothing_hold_all_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_values, "MAX_FRAMES", 1)
    monkeypatch.setattr(whole_values, "PATIENCE_S", 0.05)
    blobs = FolderBlobs(tmp_path)
    values, there = WholeValues(blobs), await reference(blobs, "text")
    async with values.put_in(complete(a=there)) as first:
        assert b"$blob" not in first
        assert await put_in(values, complete(a=there)) == {"a": there}
    assert await put_in(values, complete(a=there)) == {"a": "text"}
    task = asyncio.create_task(put_in(values, complete(a=there)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await put_in(values, complete(a=there)) == {"a": "text"}


def test_only_ends_of_nodes_are_looked_into() -> None:
    assert refers_to_values(complete(a={"$blob": "x"}))
    assert not refers_to_values(complete(a="x"))
    chunk = {"promptId": "r", "yieldedContent": {"type": "NODE_COMPLETE", "content": {"$blob": "x"}}}
    assert not refers_to_values(orjson.dumps({"seq": 1, "ts": 1, "type": "NODE_YIELD", "payload": chunk}))
