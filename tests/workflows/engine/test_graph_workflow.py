"""The interpreter against the real server, with real activities and toy nodes; events are off here."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client

from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import Chunk, NodeContext, Outputs
from innkeeper.workflows.engine import activation, event_sink, node_runs
from innkeeper.workflows.engine import scheduler as plans
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow
from innkeeper.workflows.plan import BypassSource, Feed, InterfaceOutput, PlannedInput, PlannedOutput
from tests.workflows.toys import CACHES, Toys, ToyWorker, node, toy_worker, until_called


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture(params=CACHES)
async def worker(
    temporal: Client, toys: Toys, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[ToyWorker]:
    async with toy_worker(temporal, toys, tmp_path, cached=request.param) as toy:
        yield toy


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {path: entry["status"] for path, entry in result["nodes"].items()}


async def test_chain_gives_outputs_and_table(worker: ToyWorker) -> None:
    handle = await worker.start(
        node("a"),
        node("b", "echo", "a"),
        interface_outputs={"last": InterfaceOutput("b", "out")},  # type: ignore[arg-type]
    )
    result = await handle.result()
    assert result["status"] == "complete"
    assert result["outputs"] == {"last": "b"}
    assert statuses(result) == {"a": "complete", "b": "complete"}
    assert result["nodes"]["b"]["attempts"] == 1


async def test_error_skips_descendants_while_independent_branches_go_on(worker: ToyWorker, toys: Toys) -> None:
    handle = await worker.start(
        node("bad", "fail"), node("child", "echo", "bad"), node("grand", "echo", "child"), node("free")
    )
    result = await handle.result()
    assert result["status"] == "error"
    assert statuses(result) == {"bad": "error", "child": "skipped", "grand": "skipped", "free": "complete"}
    assert result["nodes"]["grand"]["cause"] == "bad"
    assert result["nodes"]["bad"]["error"]["message"] == "no luck"
    assert sorted(toys.calls) == ["bad", "free"]


async def test_continue_on_error_feeds_descendants_and_run_is_complete(worker: ToyWorker) -> None:
    handle = await worker.start(node("bad", "fail", continue_on_error=True), node("child", "echo", "bad"))
    result = await handle.result()
    assert result["status"] == "complete"
    assert statuses(result) == {"bad": "error", "child": "complete"}


async def test_bypassed_node_is_not_run_and_passes_its_input(worker: ToyWorker, toys: Toys) -> None:
    bypass = {"out": BypassSource(("in",))}
    handle = await worker.start(
        node("a"),
        node("by", "fail", "a", bypass=bypass),
        interface_outputs={"x": InterfaceOutput("by", "out")},  # type: ignore[arg-type]
    )
    result = await handle.result()
    assert result["outputs"] == {"x": ["a"]}
    assert statuses(result)["by"] == "bypassed"
    assert toys.calls == ["a"]


async def test_required_input_missing_at_run_time_fails_that_node_only(worker: ToyWorker, toys: Toys) -> None:
    needs = {"must": PlannedInput((Feed("a", "nothing"),), required=True)}  # type: ignore[arg-type]
    handle = await worker.start(node("a"), replace(node("b", inputs=needs), after=("a",)))  # type: ignore[arg-type]
    result = await handle.result()
    assert result["nodes"]["b"]["error"]["code"] == "missing_input"
    assert "'must'" in result["nodes"]["b"]["error"]["message"]
    assert toys.calls == ["a"]


async def test_interrupt_stops_running_nodes_and_marks_the_rest(worker: ToyWorker, toys: Toys) -> None:
    handle = await worker.start(node("first"), node("long", "sleep", "first"), node("after", "echo", "long"))
    await until_called(toys, "long")
    await handle.cancel()
    result = await handle.result()
    assert result["status"] == "interrupted"
    assert statuses(result) == {"first": "complete", "long": "interrupted", "after": "interrupted"}


async def test_failures_are_retried_and_counted_apart_from_waits(worker: ToyWorker, toys: Toys) -> None:
    tries: list[int] = []

    async def moody(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        tries.append(context.attempt)
        if len(tries) in (1, 2, 4):
            raise NodeMustWait("busy", delay_s=0.05)
        if len(tries) == 3:
            raise NodeError("try again", retryable=True)
        return {"out": "done"}

    toys.add("moody", moody)
    # Two failures are allowed; three waits must not use them up.
    result = await (await worker.start(node("m", "moody", max_attempts=2, initial_s=0.05))).result()
    assert result["nodes"]["m"]["status"] == "complete"
    assert tries == [1, 2, 3, 4, 5]


async def test_last_allowed_failure_is_reported_with_its_own_error(worker: ToyWorker, toys: Toys) -> None:
    async def flaky(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        toys.calls.append(context.node_id)
        raise NodeError(f"failure {context.attempt}", retryable=True)

    toys.add("flaky", flaky)
    result = await (await worker.start(node("f", "flaky", max_attempts=3, initial_s=0.05))).result()
    assert result["nodes"]["f"]["error"]["message"] == "failure 3"
    assert toys.calls == ["f"] * 3


async def test_large_values_travel_by_reference_and_arrive_whole(worker: ToyWorker, toys: Toys) -> None:
    seen: list[Any] = []

    async def big(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": "x" * 100_000}

    async def look(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        seen.extend(inputs["in"])
        return {"out": len(inputs["in"][0])}

    toys.add("big", big)
    toys.add("look", look)
    handle = await worker.start(node("b", "big"), node("l", "look", "b"))
    result = await handle.result()
    assert result["nodes"]["b"]["output"]["out"]["size"] == 100_002
    assert seen == ["x" * 100_000]
    history = await handle.fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 20_000


async def test_inputs_that_are_large_together_are_stored_first(worker: ToyWorker, toys: Toys) -> None:
    async def medium(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": context.node_id + "y" * 4_000}

    async def count(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        return {"out": [len(inputs["in"]), inputs["in"][7][:2]]}

    toys.add("medium", medium)
    toys.add("count", count)
    names = [f"m{index}" for index in range(80)]
    handle = await worker.start(*(node(name, "medium") for name in names), node("c", "count", *names))
    result = await handle.result()
    table = await worker.values.resolve(result["nodes_ref"])
    assert table["c"]["output"]["out"] == [80, "m7"]


async def test_stream_node_delivers_batch_outputs_and_collected_text(worker: ToyWorker, toys: Toys) -> None:
    async def talk(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        for word in ("a ", "b"):
            yield Chunk("text_chunk", word)
        yield Outputs({"out": 7})

    toys.add("talk", talk)  # type: ignore[arg-type]
    outputs = {"live": PlannedOutput(stream=True), "out": PlannedOutput()}
    result = await (await worker.start(replace(node("t", "talk"), outputs=outputs))).result()  # type: ignore[type-var]
    assert result["nodes"]["t"]["output"] == {"out": 7, "live": {"text": "a b", "chunks": 2}}


async def test_more_nodes_than_one_activation_may_start_all_run(worker: ToyWorker, toys: Toys) -> None:
    result = await (await worker.start(*(node(f"n{index}") for index in range(230)))).result()
    assert result["status"] == "complete"
    assert result["counts"] == {"complete": 230}
    assert result["nodes"] is None  # over 200 nodes the table is a blob
    table = await worker.values.resolve(result["nodes_ref"])
    assert len(table) == 230


async def test_continue_as_new_carries_the_run_on(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 40)
    names = [f"c{index}" for index in range(20)]
    chain = [node(names[0])] + [node(name, "echo", before) for before, name in pairwise(names)]
    handle = await worker.start(*chain)
    result = await handle.result()
    assert result["counts"] == {"complete": 20}
    assert toys.calls == names  # each once, in order, across the histories
    first = await handle.describe()
    assert first.run_id != handle.first_execution_run_id


async def test_queue_without_worker_fails_the_node_with_that_reason(
    worker: ToyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_runs, "UNPOLLED_QUEUE_S", 0.2)
    result = await (await worker.start(node("g", "echo", queue=f"gpu-{uuid.uuid4()}"), node("free"))).result()
    assert result["nodes"]["g"]["error"]["code"] == "no_worker"
    assert result["nodes"]["free"]["status"] == "complete"


async def test_an_interruption_while_the_queue_is_looked_at_waits_for_the_node(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    ended = asyncio.Event()

    async def never(*_: Any) -> None:
        asked.set()
        await asyncio.sleep(60)

    async def slow_to_end(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            ended.set()
        return {}

    toys.add("slow_to_end", slow_to_end)
    monkeypatch.setattr(node_runs, "UNPOLLED_QUEUE_S", 0.2)
    monkeypatch.setattr(worker.client.workflow_service, "describe_task_queue", never)
    handle = await worker.start(node("s", "slow_to_end", queue=worker.queue))
    async with asyncio.timeout(30):
        await asked.wait()
        await handle.cancel()
        result = await handle.result()
    assert result["status"] == "interrupted"
    assert ended.is_set()


async def test_status_query_pages_the_table(worker: ToyWorker, toys: Toys) -> None:
    handle = await worker.start(node("a"), node("long", "sleep", "a"))
    await until_called(toys, "long")
    page = await handle.query("status", args=[0, 1])
    assert page["total"] == 2
    assert page["nodes"]["a"]["status"] == "complete"
    assert page["counts"] == {"complete": 1, "running": 1}
    await handle.cancel()
    await handle.result()


async def test_facts_reach_the_sink(worker: ToyWorker) -> None:
    heard: list[tuple[str, str]] = []

    class Listening:
        def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
            heard.append((path, type))

    event_sink.install_event_sink(Listening())
    with contextlib.ExitStack() as stack:
        stack.callback(event_sink.install_event_sink, None)
        await (await worker.start(node("bad", "fail"), node("child", "echo", "bad"))).result()
    assert ("bad", "NODE_ERROR") in heard
    assert ("child", "NODE_SKIPPED") in heard


def test_budget_stops_at_each_of_its_bounds() -> None:
    assert plans.budget([1] * 200, in_flight=0, started=0, spent=0) == plans.MAX_NEW
    assert plans.budget([1] * 10, in_flight=plans.MAX_IN_FLIGHT - 3, started=0, spent=0) == 3
    assert plans.budget([600_000, 600_000], in_flight=0, started=0, spent=0) == 1
    assert plans.budget([3_000_000], in_flight=0, started=0, spent=0) == 1


def test_workflow_is_unsandboxed_on_purpose() -> None:
    assert workflow._Definition.must_from_class(GraphWorkflow).sandboxed is False
