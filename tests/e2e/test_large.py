"""Large graphs through the whole stack. `LARGE_NODES=10000` is the long form, `LARGE_ACTIVITIES=20000` another."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.e2e.test_groups import Library
from tests.e2e.test_repeat_memory import Peak

NODES = int(os.environ.get("LARGE_NODES", "1000"))
ACTIVITIES = int(os.environ.get("LARGE_ACTIVITIES", "120"))
LANES = 40
GROUP_NODES = 5_000
WORKER_MB, GATEWAY_MB = 450, 400

pytestmark = [pytest.mark.timeout(120 + NODES // 20 + ACTIVITIES // 10), pytest.mark.slow]
Json = dict[str, Any]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("large"))) as started:
        yield started


def plus(id: str, a: Any = 0, b: Any = 1, **more: Any) -> Json:
    return {"id": id, "fullType": "core:MathOperation", "inputs": {"a": a, "b": b}, **more}


def edge(source: str, target: str) -> Json:
    node, slot = target.split(".")
    return {"sourceNodeId": source, "sourceHandle": "result", "targetNodeId": node, "targetHandle": slot}


def chain(count: int) -> tuple[Json, dict[str, float]]:
    nodes = [plus(f"n{i}") for i in range(count)]
    edges = [edge(f"n{i}", f"n{i + 1}.a") for i in range(count - 1)]
    return {"nodes": nodes, "edges": edges}, {f"n{i}": i + 1 for i in range(count)}


def fan_out(count: int) -> tuple[Json, dict[str, float]]:
    nodes = [plus("root", 1, 1), *(plus(f"n{i}", 0, i) for i in range(count - 1))]
    edges = [edge("root", f"n{i}.a") for i in range(count - 1)]
    return {"nodes": nodes, "edges": edges}, {"root": 2, **{f"n{i}": 2 + i for i in range(count - 1)}}


def at_random(count: int) -> tuple[Json, dict[str, float]]:
    """Each node adds two earlier ones; one in fifty is an activity of its own. Values are kept small by clamping."""
    chance = random.Random(count)
    nodes, edges, value = [], [], dict[str, float]()
    for i in range(count):
        alone: Json = {"retry": {"maximumAttempts": 2}} if i % 50 == 49 else {}
        nodes.append(plus(f"n{i}", 0.001, 0.001, **alone))
        nodes[-1]["inputs"]["clamp"] = True
        terms = [0.001, 0.001]
        for slot, key in enumerate("ab"):
            if i and chance.random() < 0.8:
                source = chance.randrange(max(0, i - 100), i)
                edges.append(edge(f"n{source}", f"n{i}.{key}"))
                terms[slot] = value[f"n{source}"]
        value[f"n{i}"] = min(1, sum(terms))
    return {"nodes": nodes, "edges": edges}, value


@pytest.mark.parametrize("shape", [chain, fan_out, at_random])
async def test_large_graph_runs_to_its_end_in_bounds(stack: LocalStack, shape: Any) -> None:
    document, expected = shape(NODES)
    worker, gateway = Peak(stack.pids()["worker-1"]), Peak(stack.pids()["gateway"])
    began = time.monotonic()
    async with GatewayClient(stack.url) as client, worker.watching(), gateway.watching():
        status = await client.wait(await client.submit(document))
    took = time.monotonic() - began
    print(f"{shape.__name__} of {NODES}: {took:.1f} s, worker {worker.mb:.0f} MB, gateway {gateway.mb:.0f} MB")
    assert status["status"] == "complete"
    found = {node: entry["output"]["result"] for node, entry in status["nodeStatus"].items()}
    assert found.keys() == expected.keys()
    wrong = [node for node, value in expected.items() if found[node] != pytest.approx(value)]
    assert not wrong
    assert worker.mb <= WORKER_MB
    assert gateway.mb <= GATEWAY_MB


async def test_one_run_of_many_activities_completes(stack: LocalStack) -> None:
    """Lanes of activities in a row; more than a group may hold well are spread over groups of one run."""
    groups = max(1, ACTIVITIES // GROUP_NODES)
    per, lanes = ACTIVITIES // groups, LANES // groups
    nodes = [plus(f"n{i}", 0, 1, retry={"maximumAttempts": 3}) for i in range(per)]
    lane = {"nodes": nodes, "edges": [edge(f"n{i}", f"n{i + lanes}.a") for i in range(per - lanes)]}
    document = lane
    if groups > 1:
        Library(stack, stack.options.data_dir).store("lanes", lane)
        of = {"configValues": {"referencedWorkflowId": "lanes"}}
        document = {
            "nodes": [{"id": f"g{i}", "fullType": "core:NodeGroup", "inputs": {}, **of} for i in range(groups)],
            "edges": [],
        }
    worker = Peak(stack.pids()["worker-1"])
    async with GatewayClient(stack.url) as client, worker.watching():
        began = time.monotonic()
        status = await client.wait(await client.submit(document))
    took = time.monotonic() - began
    ran = {path: entry for path, entry in status["nodeStatus"].items() if path.rpartition("/")[2][0] == "n"}
    print(f"{len(ran)} activities: {took:.1f} s, {took / len(ran) * 1000:.1f} ms each, worker {worker.mb:.0f} MB")
    assert status["status"] == "complete"
    assert len(ran) == per * groups
    assert max(entry["output"]["result"] for entry in ran.values()) == -(-per // lanes)
    assert all(entry["attempts"] == 1 for entry in ran.values())
    assert worker.mb <= WORKER_MB
