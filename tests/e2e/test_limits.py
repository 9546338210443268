"""Limits that all workers share, on a real stack: four workers, a hundred nodes, a provider that counts what comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.settings import Settings
from tests.e2e.limited_provider import LimitedProvider, provider
from tests.gateway.usage.simulation import BucketServer, SlidingServer

pytestmark = pytest.mark.timeout(240)


def stack_options(folder: Path, url: str, workers: int, limits: str = "") -> StackOptions:
    folder.mkdir(exist_ok=True)
    (folder / "channels.yaml").write_text(f"channels:\n- {{id: c, baseUrl: '{url}', supportedModels: [m]{limits}}}\n")
    env = {"INNKEEPER_ALLOW_LOOPBACK": "1", "TEST_API_KEY": "k"}
    return StackOptions(folder, workers=workers, env=env)


def questions(count: int) -> dict[str, Any]:
    ask = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
    return {"nodes": [{"id": f"n{node}", "fullType": "core:GenericLlmRequest", "inputs": ask} for node in range(count)]}


async def statuses(stack: LocalStack, runs: list[str]) -> list[str]:
    async with GatewayClient(stack.url) as client:
        return [(await client.wait(run))["status"] for run in runs]


async def submit(stack: LocalStack, *counts: int) -> list[str]:
    async with GatewayClient(stack.url) as client:
        return [await client.submit(questions(count)) for count in counts]


def busiest_worker(stack: LocalStack, found: LimitedProvider) -> str:
    """The one with most requests under way."""
    port, workers = urlsplit(found.url).port, {name: pid for name, pid in stack.pids().items() if "worker" in name}

    def under_way(name: str) -> int:
        links = psutil.Process(workers[name]).net_connections()
        return sum(bool(link.raddr) and link.raddr.port == port and link.status == "ESTABLISHED" for link in links)

    return max(workers, key=under_way)


def let_go(folder: Path, runs: list[str]) -> list[float]:
    """When the gateway let the requests of these runs go.

    How late each comes to the provider is the affair of the machine: by seconds when it is busy.
    """
    with contextlib.closing(sqlite3.connect(Settings.load(data_dir=folder).store_path)) as db:
        marks = ",".join("?" * len(runs))
        rows = db.execute(f"SELECT started_at FROM model_calls WHERE run IN ({marks}) ORDER BY 1", runs)
        return [moment / 1000 for (moment,) in rows]


def most_over(taken: list[float], per_s: float) -> float:
    """By how many requests the busiest window went past what the rate brings in it."""
    return max(
        last - first + 1 - (taken[last] - taken[first]) * per_s
        for first in range(len(taken))
        for last in range(first, len(taken))
    )


@pytest.mark.slow
async def test_a_hundred_nodes_on_four_workers_use_the_limit_and_do_not_pass_it(tmp_path: Path) -> None:
    limits = ", limits: {requestsPerMinute: 300, burst: 10}"
    async with (
        provider(LimitedProvider()) as found,
        LocalStack(stack_options(tmp_path / "data", found.url, 4, limits)) as stack,
        asyncio.timeout(120),
    ):
        # A worker's first request takes a second before it is sent, in which others go past it.
        assert await statuses(stack, await submit(stack, 20)) == ["complete"]
        await asyncio.sleep(3)
        found.sent.clear()
        runs = await submit(stack, 95, 5)
        assert await statuses(stack, runs) == ["complete", "complete"]
    taken, begun = sorted(found.taken), let_go(tmp_path / "data", runs)
    print("seconds", taken[-1] - taken[0], "over", most_over(taken, 5), "of which let go", most_over(begun, 5))
    assert len(found.sent) == len(begun) == 100
    # It is noted some time after it was let go: by up to half a second here.
    assert most_over(begun, 5) <= 10 + 2.5
    assert taken[-1] - taken[0] <= 1.3 * (100 - 10) / 5


@pytest.mark.slow
@pytest.mark.parametrize("tells_wait", [True, False])
async def test_a_limit_that_nobody_wrote_down_is_learned(tmp_path: Path, tells_wait: bool) -> None:
    server = BucketServer(60, 60)
    async with (
        provider(LimitedProvider(server.ask, tells_wait)) as found,
        LocalStack(stack_options(tmp_path / "data", found.url, 4)) as stack,
        asyncio.timeout(200),
    ):
        runs = await submit(stack, 100)
        assert await statuses(stack, runs) == ["complete"]
    taken = sorted(found.taken)
    print("seconds", taken[-1] - taken[0], "requests", len(found.sent))
    assert len(taken) == 100
    assert len(found.sent) <= 120
    assert taken[-1] - taken[0] <= 1.3 * 40


@pytest.mark.slow
async def test_a_limit_by_windows_is_learned(tmp_path: Path) -> None:
    server = SlidingServer(60)
    async with (
        provider(LimitedProvider(server.ask)) as found,
        LocalStack(stack_options(tmp_path / "data", found.url, 2)) as stack,
        asyncio.timeout(200),
    ):
        runs = await submit(stack, 100)
        assert await statuses(stack, runs) == ["complete"]
    taken = sorted(found.taken)
    print("seconds", taken[-1] - taken[0], "requests", len(found.sent))
    assert len(found.sent) <= 120
    assert taken[-1] - taken[0] <= 1.3 * 60


@pytest.mark.slow
async def test_the_places_of_a_killed_worker_are_free_again(tmp_path: Path) -> None:
    """Eight nodes hang in their requests, three at once; a worker is killed, and the others go on with all places."""
    limits = ", limits: {concurrent: 3}"
    async with (
        provider(LimitedProvider(answer_s=2.0)) as found,
        LocalStack(stack_options(tmp_path / "data", found.url, 4, limits)) as stack,
        asyncio.timeout(150),
    ):
        runs = await submit(stack, 24)
        while found.under_way < 3:
            await asyncio.sleep(0.05)
        killed = time.monotonic()
        for name in ("worker-1", "worker-2", "worker-3"):
            os.kill(stack.pids()[name], signal.SIGKILL)
        assert await statuses(stack, runs) == ["complete"]
    print("seconds", time.monotonic() - killed, "requests", len(found.sent))
    assert found.most <= 3
    late = [at for at in found.taken if at > killed + 17]
    at_once = max((sum(at <= other < at + 2.0 for other in late) for at in late), default=0)
    assert at_once == 3, "a place of the killed workers is not free yet"


@pytest.mark.slow
async def test_a_killed_worker_leaves_the_rate_to_the_others(tmp_path: Path) -> None:
    """Its nodes ask again within the same limit: only those whose answer it did not live to see are asked twice."""
    limits = ", limits: {requestsPerMinute: 300, burst: 10}"
    async with (
        provider(LimitedProvider(answer_s=2.0)) as found,
        LocalStack(stack_options(tmp_path / "data", found.url, 4, limits)) as stack,
        asyncio.timeout(120),
    ):
        assert await statuses(stack, await submit(stack, 20)) == ["complete"]
        await asyncio.sleep(3)
        found.sent.clear()
        runs = await submit(stack, 95, 5)
        while len(found.sent) < 30:
            await asyncio.sleep(0.02)
        os.kill(stack.pids()[busiest_worker(stack, found)], signal.SIGKILL)
        assert await statuses(stack, runs) == ["complete", "complete"]
    taken, begun = sorted(found.taken), let_go(tmp_path / "data", runs)
    print("seconds", taken[-1] - taken[0], "requests", len(taken), "cut", found.cut, "of which let go", len(begun))
    print("over", most_over(taken, 5), "of which let go", most_over(begun, 5))
    # What it was about to send, and an answer that it had got, may have died with it, too.
    assert found.cut > 0
    assert 100 + found.cut <= len(taken) <= len(begun) <= 102 + found.cut
    assert most_over(begun, 5) <= 10 + 2.5
    assert taken[-1] - taken[0] <= 1.3 * (len(taken) - 10) / 5
