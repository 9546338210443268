"""What is too large for one message arrives in pieces, or fails its node: never a run that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from temporalio.client import Client

from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.engine import node_errors
from innkeeper.workflows.plan import Feed, InterfaceOutput, PlannedInput, PlannedNode, PlannedOutput, RunPlan
from tests.histories.shapes import after, control
from tests.workflows.toys import Toys, ToyWorker, node, toy_worker

Json = dict[str, Any]
MANY = 10_000


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture
async def worker(temporal: Client, toys: Toys, tmp_path: Path) -> AsyncIterator[ToyWorker]:
    async def gives(inputs: Json, context: NodeContext) -> Json:
        return {"out": "x" * 5_000}

    async def measures(inputs: Json, context: NodeContext) -> Json:
        return {"out": [len(inputs["in"]), sum(map(len, inputs["in"]))]}

    async def small(inputs: Json, context: NodeContext) -> Json:
        return {"out": "x" * 4_000}

    toys.add("gives", gives)
    toys.add("small", small)
    toys.add("measures", measures)
    async with toy_worker(temporal, toys, tmp_path) as started:
        yield started


def fed(id: str, source: str, count: int, **fields: Any) -> PlannedNode:
    feeds = tuple(Feed(source, "out") for _ in range(count))  # type: ignore[arg-type]
    return node(id, "measures", inputs={"in": PlannedInput(feeds, multi=True)}, after=(source,), **fields)


async def played(worker: ToyWorker, *nodes: PlannedNode, **plan: Any) -> Json:
    async with asyncio.timeout(60):
        return await (await worker.start(*nodes, **plan)).result()


@pytest.mark.parametrize("placement", ["activity", "inline"])
async def test_a_slot_with_thousands_of_large_values_gets_them_all(worker: ToyWorker, placement: str) -> None:
    result = await played(worker, node("s", "gives"), fed("m", "s", MANY, placement=placement))
    assert result["nodes"]["m"].get("output") == {"out": [MANY, MANY * 5_000]}, result["nodes"]["m"]


@pytest.mark.parametrize("placement", ["activity", "inline"])
async def test_settings_that_are_too_large_fail_their_node_with_size_and_limit(
    worker: ToyWorker, placement: str
) -> None:
    result = await played(worker, node("big", config={"text": "y" * 3_000_000}, placement=placement), node("free"))
    error = result["nodes"]["big"]["error"]
    assert error["code"] == "value_too_large"
    assert "takes 30001" in error["message"]
    assert "the limit is 1900000" in error["message"]
    assert result["nodes"]["free"]["status"] == "complete"


async def test_inputs_of_a_group_that_are_too_large_fail_it(worker: ToyWorker) -> None:
    gate = control("in", "GroupInput", outputs={"item": PlannedOutput()}, interface_values=True)
    outputs = {"out": InterfaceOutput("in", "item")}  # type: ignore[arg-type]
    inner = RunPlan((gate,), interface_outputs=outputs, interface_keys=("item",)).pack()
    feeds = tuple(Feed("s", "out") for _ in range(MANY))  # type: ignore[arg-type]
    group = control("g", "NodeGroup", after=("s",), group="inner")
    group = PlannedNode(**{**group.__dict__, "inputs": {"item": PlannedInput(feeds, multi=True)}})
    result = await played(worker, node("s", "gives"), group, groups={"inner": inner})
    assert result["nodes"]["g"]["error"]["code"] == "value_too_large"


def many_outputs(count: int, placement: str) -> tuple[list[PlannedNode], Json]:
    """Nodes that each give a small value, and each value as an output."""
    nodes = [node(f"n{index}", "small", placement=placement) for index in range(count)]
    return nodes, {f"o{index}": InterfaceOutput(f"n{index}", "out") for index in range(count)}  # type: ignore[arg-type]


@pytest.mark.parametrize("placement", [pytest.param("activity", marks=pytest.mark.slow), "inline"])
async def test_many_small_outputs_that_are_too_large_together_all_arrive(worker: ToyWorker, placement: str) -> None:
    nodes, outputs = many_outputs(600, placement)
    result = await played(worker, *nodes, interface_outputs=outputs)
    assert result["status"] == "complete"
    whole = [await worker.values.resolve(value) for value in result["outputs"].values()]
    assert whole == ["x" * 4_000] * 600


async def test_many_outputs_of_a_group_reach_who_reads_them(worker: ToyWorker) -> None:
    nodes, outputs = many_outputs(600, "inline")
    inner = RunPlan(nodes, interface_outputs=outputs).pack()
    group = control("g", "NodeGroup", group="inner")
    feeds = tuple(Feed("g", key) for key in outputs)  # type: ignore[arg-type]
    reader = node("m", "measures", inputs={"in": PlannedInput(feeds, multi=True)}, after=("g",))
    result = await played(worker, group, reader, groups={"inner": inner})
    assert result["counts"] == {"complete": 602}
    table = result["nodes"] or await worker.values.resolve(result["nodes_ref"])
    assert table["m"]["output"] == {"out": [600, 600 * 4_000]}


DETAILS: dict[str, Any] = {
    "large": {"y": "z" * 1_800_000},
    "many": {f"k{index}": "z" * 900 for index in range(100)},
    "half a character": {"x": "\ud83d", "y": ["\ude00"]},
    "great number": {"x": 10**40},
}


@pytest.mark.parametrize("kind", DETAILS)
@pytest.mark.parametrize("placement", ["activity", "inline"])
@pytest.mark.parametrize("catches", [True, False], ids=["handled", "not handled"])
async def test_an_error_of_any_size_and_kind_ends_its_node(
    worker: ToyWorker, toys: Toys, kind: str, placement: str, catches: bool
) -> None:
    async def fails(inputs: Json, context: NodeContext) -> Json:
        raise NodeError("bad", retryable=False, details=DETAILS[kind])

    toys.add("fails", fails)
    failing = node("f", "fails", placement=placement, catches=catches)
    if catches:
        result = await played(worker, failing, after("h", "f", "$error"))
        assert result["counts"] == {"error": 1, "complete": 1}
        assert result["status"] == "complete"
        error = result["nodes"]["f"]["error"]
    else:
        group = control("g", "NodeGroup", group="inner")
        result = await played(worker, group, groups={"inner": RunPlan((failing,)).pack()})
        assert result["status"] == "error"
        assert result["nodes"]["g"]["error"]["message"].startswith("node 'g/f': bad")
        error = result["nodes"]["g/f"]["error"]
    assert error["message"] == "bad"
    assert len(orjson.dumps(error["details"])) <= node_errors.MAX_DETAILS_BYTES
