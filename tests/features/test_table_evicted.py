"""The table of control shapes on the real server, all at once, by a worker that keeps one workflow in its cache.

Nearly every workflow task then replays its run from the beginning. How nodes end must not depend on it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.plan import PlannedNode, RunPlan
from tests.features.test_control_table import SHAPES, Shape
from tests.workflows.engine.control_toys import TYPES, compiled
from tests.workflows.toys import Toys, toy_worker

Json = dict[str, Any]


async def play(inputs: Json, context: NodeContext) -> Json:
    """Do as the node's own settings say: fail, or give what is written there."""
    if "fails" in context.config_values:
        raise NodeError("as told", retryable=False)
    return dict(context.config_values.get("gives", {}))


def catalogue() -> Toys:
    toys = Toys()
    toys.definitions |= {item.full_type: replace(item, execute=play) for item in TYPES if item.namespace == "toy"}
    return toys


def played(shape: Shape) -> RunPlan:
    """The plan of a shape whose nodes carry what they do."""
    plan = compiled(list(shape.nodes), *shape.edges)
    return replace(plan, nodes=tuple(_with_part(node, shape) for node in plan.nodes))


def _with_part(node: PlannedNode, shape: Shape) -> PlannedNode:
    if not node.type.startswith("toy:"):
        return node
    gives = shape.silent.get(node.id, dict.fromkeys(node.outputs, node.id))
    part = {"fails": True} if node.id in shape.fails.split() else {"gives": gives}
    return replace(node, config={**node.config, **part})


def is_playable(shape: Shape) -> bool:
    """Streams need an event log, the toys cannot make a control node fail, and only approvals are answered."""
    streams = any(item["fullType"] in ("toy:Emit", "toy:Relay") for item in shape.nodes)
    fails = shape.fails.split()
    answers = set(shape.waits) <= {item["id"] for item in shape.nodes if item["fullType"] == "core:Approval"}
    return (
        answers and not streams and not any(item["id"] in fails and "core:" in item["fullType"] for item in shape.nodes)
    )


async def answered(handle: WorkflowHandle[Any, Json], shape: Shape) -> Json:
    for approval in shape.waits:
        async with asyncio.timeout(30):
            while (await handle.query("status"))["counts"].get("waiting", 0) == 0:
                await asyncio.sleep(0.05)
        await handle.execute_update("answer", args=[approval, {"approved": True}])
    return await handle.result()


def ends_of(result: Json) -> dict[str, str]:
    return {
        path: f"skipped {entry['reason']}" if entry["status"] == "skipped" else entry["status"]
        for path, entry in result["nodes"].items()
    }


async def test_shapes_end_alike_when_every_run_is_evicted_all_the_time(temporal: Client, tmp_path: Path) -> None:
    shapes = [shape for shape in SHAPES if is_playable(shape)]
    async with toy_worker(temporal, catalogue(), tmp_path, cached=1) as worker, asyncio.timeout(100):
        handles = [await worker.start(*played(shape).nodes) for shape in shapes]
        results = await asyncio.gather(*map(answered, handles, shapes))
    for shape, result in zip(shapes, results, strict=True):
        wanted = {item["id"]: shape.ends.get(item["id"], "complete") for item in shape.nodes}
        assert (shape.name, ends_of(result)) == (shape.name, wanted)
        assert (shape.name, result["status"]) == (shape.name, shape.status)
