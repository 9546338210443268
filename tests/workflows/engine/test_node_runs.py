"""What is too large for one message arrives in pieces, or fails its node: never a run that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.plan import Feed, InterfaceOutput, PlannedInput, PlannedNode, PlannedOutput, RunPlan
from tests.histories.shapes import control
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

    toys.add("gives", gives)
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
