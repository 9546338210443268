"""STREAM edges through the real stack: every chunk once, in order, to everyone; what goes wrong has one outcome."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.viewer import Viewer
from tests.effort import LONG

PLUGINS = Path(__file__).parents[1] / "plugins"

Json = dict[str, Any]


@pytest.fixture
def stack(shared: tuple[LocalStack, Path]) -> LocalStack:
    return shared[0]


def node(id: str, type: str, **inputs: Any) -> Json:
    name = type if ":" in type else f"stream-nodes:{type}"
    return {"id": id, "fullType": name, "inputs": inputs}


def graph(nodes: list[Json], *edges: str, **more: Any) -> Json:
    wired = []
    for edge in edges:
        (source, slot), (target, into) = (end.split(".") for end in edge.split(" > "))
        ends = {"sourceNodeId": source, "sourceHandle": slot, "targetNodeId": target, "targetHandle": into}
        wired.append({"id": edge, **ends})
    return {"nodes": nodes, "edges": wired, **more}


def words(count: int) -> str:
    return "".join(f"w{index} " for index in range(count))


async def run(stack: LocalStack, document: Json, timeout_s: float = 60) -> tuple[Viewer, Json]:
    """Run to the end; gives what a viewer saw and the final status."""
    viewer = Viewer()
    async with GatewayClient(stack.url) as client, asyncio.timeout(timeout_s):
        id = await client.submit(document)
        async for event in client.events(id):
            viewer.apply(event)
        return viewer, await client.status(id)


def outcome(status: Json) -> Json:
    return {path: entry["status"] for path, entry in status["nodeStatus"].items()}


async def test_everyone_who_reads_a_stream_gets_all_of_it(stack: LocalStack) -> None:
    readers = [node(f"r{index}", "Take") for index in range(3)]
    interface = {"live": {"key": "live", "dataFlowType": "STRING", "isStream": True}}
    document = graph(
        [node("s", "Words", count=200, delay=0.002), *readers, node("j", "core:TextMerge", separator="")],
        *(f"s.out > r{index}.stream" for index in range(3)),
        "s.out > j.text_inputs__0",
        interfaceOutputs=interface,
        outputInterfaceMappings={"live": {"sourceNodeId": "s", "sourceSlotKey": "out"}},
    )
    viewer, status = await run(stack, document)
    assert status["status"] == "complete"
    assert [viewer.text(name) for name in ("s", "r0", "r1", "r2")] == [words(200)] * 4
    assert status["outputs"]["live"] == {"text": words(200), "chunks": 200}
    assert viewer.types.count("WORKFLOW_INTERFACE_YIELD") == 201


async def test_a_chain_of_relays_streams_while_its_producer_runs(stack: LocalStack) -> None:
    relays = [node(f"r{index}", "core:StreamSuffixRelay", suffix=str(index)) for index in range(3)]
    document = graph(
        [node("s", "Words", count=20, delay=0.05), *relays, node("a", "core:StreamAggregator")],
        "s.out > r0.inputStream",
        "r0.outputStream > r1.inputStream",
        "r1.outputStream > r2.inputStream",
        "r2.outputStream > a.input_stream",
    )
    viewer, status = await run(stack, document)
    expected = words(20).replace(" ", " 012")
    assert status["nodeStatus"]["a"]["output"]["aggregated_text"] == expected
    assert viewer.text("r2") == expected
    # The last relay spoke long before the producer had ended: that is what streaming is for.
    assert viewer.first_chunk["r2"] < viewer.ended["s"]


async def test_ten_thousand_chunks_arrive_in_order(stack: LocalStack) -> None:
    document = graph([node("s", "Words", count=10_000), node("r", "Take")], "s.out > r.stream")
    viewer, status = await run(stack, document)
    assert viewer.text("r") == words(10_000)
    assert status["status"] == "complete"


async def test_a_producer_that_starts_over_starts_its_readers_over(stack: LocalStack) -> None:
    document = graph(
        [node("s", "Words", count=30, delay=0.01, fail_at=20, failures=1), node("r", "Take"), node("q", "Take")],
        "s.out > r.stream",
        "r.out > q.stream",
    )
    viewer, status = await run(stack, document)
    assert status["status"] == "complete"
    assert status["nodeStatus"]["q"]["output"]["text"] == words(30)
    assert [viewer.text(name) for name in ("s", "r", "q")] == [words(30)] * 3
    assert "NODE_STREAM_RESET" in viewer.types


@pytest.mark.parametrize(
    ("broken", "code"), [({"error_at": 3}, "words_out"), ({"fail_at": 3, "failures": 99}, "node_failed")]
)
async def test_a_broken_stream_ends_its_readers_and_skips_the_rest(stack: LocalStack, broken: Json, code: str) -> None:
    document = graph(
        [
            node("s", "Words", delay=0.01, **broken),
            node("r", "Take"),
            node("j", "core:TextMerge"),
            node("k", "core:TextMerge"),
            node("free", "Words"),
        ],
        "s.out > r.stream",
        "r.text > j.text_inputs__0",
        "s.count > k.text_inputs__0",
    )
    viewer, status = await run(stack, document)
    assert status["status"] == "error"
    assert outcome(status) == {"s": "error", "r": "error", "j": "skipped", "k": "skipped", "free": "complete"}
    assert status["nodeStatus"]["s"]["error"]["code"] == code
    assert status["nodeStatus"]["r"]["error"]["code"] == "stream_failed"
    assert set(viewer.terminal.values()) == {1}


async def test_a_reader_that_stops_early_does_not_stop_the_others(stack: LocalStack) -> None:
    document = graph(
        [node("s", "Words", count=50, delay=0.005), node("few", "Take", count=3), node("all", "Take")],
        "s.out > few.stream",
        "s.out > all.stream",
    )
    _, status = await run(stack, document)
    assert status["status"] == "complete"
    assert status["nodeStatus"]["few"]["output"]["text"] == words(3)
    assert status["nodeStatus"]["all"]["output"]["text"] == words(50)


async def test_an_interrupted_run_stops_both_ends(stack: LocalStack) -> None:
    document = graph([node("s", "Words", count=10_000, delay=0.05), node("r", "Take")], "s.out > r.stream")
    viewer = Viewer()
    async with GatewayClient(stack.url) as client, asyncio.timeout(60):
        id = await client.submit(document)
        asked = 0.0
        async for event in client.events(id):
            viewer.apply(event)
            if len(viewer.chunks.get("r", ())) == 3 and not asked:
                asked = time.monotonic()
                await client.cancel(id)
        took = time.monotonic() - asked
        status = await client.status(id)
    assert status["status"] == "interrupted"
    assert outcome(status) == {"s": "interrupted", "r": "interrupted"}
    assert took < 30  # left alone it would go on for minutes


async def test_a_consumer_that_also_needs_its_producers_result_reads_the_log(stack: LocalStack) -> None:
    document = graph(
        [node("s", "Words", count=7), node("r", "Take")],
        "s.out > r.stream",
        "s.count > r.count",
    )
    _, status = await run(stack, document)
    assert status["nodeStatus"]["r"]["output"]["text"] == words(7)


async def test_more_waiting_consumers_than_slots_and_a_429_for_every_producer(stack: LocalStack) -> None:
    document = graph(
        [node("s", "Words", count=5, waits=1), *(node(f"r{index}", "Take") for index in range(3))],
        *(f"s.out > r{index}.stream" for index in range(3)),
    )
    async with GatewayClient(stack.url) as client, asyncio.timeout(100):
        ids = await asyncio.gather(*(client.submit(document) for _ in range(50 if LONG else 20)))
        results = await asyncio.gather(*(client.wait(id) for id in ids))
    assert {result["status"] for result in results} == {"complete"}
    assert {result["nodeStatus"]["r2"]["output"]["text"] for result in results} == {words(5)}


async def test_a_stream_whose_only_reader_is_not_wanted_runs_to_its_end(stack: LocalStack) -> None:
    branch = node("b", "core:Branch", condition=False)
    document = graph(
        [node("s", "Words", count=5_000), branch, node("r", "Take"), node("a", "core:StreamAggregator")],
        "s.out > r.stream",
        "b.true > r.count",
        "r.out > a.input_stream",
    )
    _, status = await run(stack, document)
    assert status["status"] == "complete"
    assert outcome(status) == {"s": "complete", "b": "complete", "r": "skipped", "a": "skipped"}


async def test_a_broken_stream_that_is_handled_does_not_fail_the_run(stack: LocalStack) -> None:
    document = graph(
        [node("s", "Words", count=30, error_at=3), node("r", "Take"), node("j", "core:TextMerge"),
         node("m", "core:Merge")],
        "s.out > r.stream",
        "r.text > j.text_inputs__0",
        "s.out > m.values",
        "s.$error > m.values",
    )  # fmt: skip
    _, status = await run(stack, document)
    assert outcome(status) == {"s": "error", "r": "error", "j": "skipped", "m": "complete"}
    assert status["status"] == "complete"
    assert status["nodeStatus"]["m"]["output"]["value"]["code"] == "words_out"
