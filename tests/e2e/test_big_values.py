"""Large values through the real stack, and the memory of the processes they go through.

`BIG_VALUES_MB=1000` moves that much in the long form (`make test-long`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.e2e.test_repeat_memory import Peak
from tests.e2e.test_streams import Json, graph, node

TOTAL_MB = int(os.environ.get("BIG_VALUES_MB", "100"))
VALUE_MB = 10
PLUGINS = Path(__file__).parents[1] / "plugins"
WORKER_MB = 400
GATEWAY_MB = 300

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("big"), plugins=(PLUGINS,))) as stack:
        yield stack


def big(id: str, type: str, **inputs: float) -> Json:
    return node(id, f"big-nodes:{type}", **inputs)


async def measured(stack: LocalStack, what: str, document: Json) -> tuple[Json, float, float]:
    """Run a document; gives its status and the largest size of worker and gateway on the way, in MB."""
    pids = stack.pids()
    worker, gateway = Peak(pids["worker-1"]), Peak(pids["gateway"])
    began = time.monotonic()
    async with worker.watching(), gateway.watching(), GatewayClient(stack.url) as client, asyncio.timeout(600):
        status = await client.wait(await client.submit(document))
    print(f"{what}: {time.monotonic() - began:.1f} s, worker at most {worker.mb:.0f} MB, gateway {gateway.mb:.0f} MB")
    assert stack.pids()["worker-1"] == pids["worker-1"], "the worker was replaced"
    return status, worker.mb, gateway.mb


@pytest.mark.parametrize("kind", ["Text", "Rows"])
async def test_values_of_10_mb_go_through_a_chain_of_nodes(stack: LocalStack, kind: str) -> None:
    ids = [f"n{number}" for number in range(TOTAL_MB // VALUE_MB)]
    nodes = [big(id, "Pass") if index else big(id, kind, mb=VALUE_MB) for index, id in enumerate(ids)]
    edges = [f"{a}.value > {b}.value" for a, b in itertools.pairwise(ids)]
    status, worker, gateway = await measured(stack, f"{TOTAL_MB} MB, {kind}", graph(nodes, *edges))
    assert status["status"] == "complete", status["errorInfo"]
    async with GatewayClient(stack.url) as client:
        last = await client.fetch(status["nodeStatus"][ids[-1]]["output"]["value"])
    if kind == "Text":
        assert last == f"{ids[-1]:>20}" + "x" * (VALUE_MB * 1_000_000 - 20)
    else:
        assert (len(last), last[0]["seen"], last[-1]["n"]) == (VALUE_MB * 1_000_000 // 130, ids[-1], len(last) - 1)
    assert worker <= WORKER_MB
    assert gateway <= GATEWAY_MB


async def test_many_nodes_with_large_values_at_once(stack: LocalStack) -> None:
    """Ready at the same moment, they take turns."""
    readers = [big(f"r{number}", "Pass") for number in range(TOTAL_MB // VALUE_MB)]
    edges = [f"source.value > {reader['id']}.value" for reader in readers]
    document = graph([big("source", "Text", mb=VALUE_MB), *readers], *edges)
    status, worker, _ = await measured(stack, f"{len(readers)} readers at once", document)
    assert status["status"] == "complete", status["errorInfo"]
    assert worker <= WORKER_MB


async def test_node_whose_inputs_are_too_large_together_fails_and_says_so(stack: LocalStack) -> None:
    count = 100
    sources = [big(f"s{number}", "Text", mb=VALUE_MB) for number in range(3)]
    edges = [f"s{number % 3}.value > all.values__{number}" for number in range(count)]
    fits = [f"s{number}.value > some.values__{number}" for number in range(3)]
    document = graph([*sources, big("all", "Measure"), big("some", "Measure")], *edges, *fits)
    status, worker, _ = await measured(stack, f"{count} inputs", document)
    error = status["nodeStatus"]["all"]["error"]
    assert error["code"] == "value_too_large", error
    assert "1000000200 bytes" in error["message"], error
    assert "268435456" in error["message"], error
    assert status["nodeStatus"]["all"]["attempts"] == 1
    assert status["nodeStatus"]["some"]["output"] == {"count": 3 * VALUE_MB * 1_000_000}
    assert worker <= WORKER_MB


async def test_value_over_the_limit_fails_its_node_and_says_so(stack: LocalStack) -> None:
    document = graph([big("huge", "Text", mb=269), big("other", "Text", mb=1)])
    status, _, gateway = await measured(stack, "269 MB", document)
    error = status["nodeStatus"]["huge"]["error"]
    assert error["code"] == "value_too_large", error
    assert "269000000 characters" in error["message"], error
    assert "268435456" in error["message"], error
    assert status["nodeStatus"]["other"]["status"] == "complete"
    assert gateway <= GATEWAY_MB
