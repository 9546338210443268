"""What a long core:ForEach takes of its worker's memory; `FOR_EACH_ITEMS` are more or fewer items than 5,000."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.e2e.test_groups import Library
from tests.e2e.test_repeat import repeated, store_join
from tests.e2e.test_streams import graph

ITEMS = int(os.environ.get("FOR_EACH_ITEMS", "5000"))
LIMIT_MB = 200

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Peak:
    """The largest resident size of a process, in MB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.mb = 0.0

    async def watch(self) -> None:
        while True:
            self.mb = max(self.mb, self._process.memory_info().rss / 1e6)
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch())
        try:
            yield
        finally:
            task.cancel()


async def test_worker_stays_small_under_thousands_of_items(tmp_path: Path) -> None:
    async with LocalStack(StackOptions(tmp_path)) as stack, GatewayClient(stack.url) as client:
        store_join(Library(stack, tmp_path))
        items = [f"item {index}" for index in range(ITEMS)]
        peak = Peak(stack.pids()["worker-1"])
        began = time.monotonic()
        async with peak.watching():
            run = await client.submit(graph([repeated("ForEach", "each", "join", {"items": items}, concurrency=20)]))
            status = await client.wait(run)
        print(f"{ITEMS} items: {time.monotonic() - began:.1f} s, worker at most {peak.mb:.0f} MB")
        assert status["status"] == "complete"
        results = await client.fetch(status["nodeStatus"]["each"]["output"]["results"])
        assert [result["text"] for result in results] == items
        assert peak.mb <= LIMIT_MB
