"""More streams than the machine can carry at full speed, or another busy process beside them: slower, never still."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.benchmarks.streams_sides import HERE, SLOTS, Flow, Ours

PACE_S = 0.02
CHUNKS = 400
STALL_S = 2.0
READY_S = 120.0


@dataclass
class Watched:
    """What clients saw: chunks, those that were not the next one, and the longest time without one of a stream."""

    received: int = 0
    misplaced: int = 0
    longest_s: float = 0.0


@contextlib.asynccontextmanager
async def stack(folder: Path) -> AsyncIterator[Ours]:
    slots = {"INNKEEPER_MAX_ACTIVITIES": str(SLOTS)}  # each stream holds one
    options = StackOptions(folder / "data", plugins=(HERE / "plugins",), env=slots)
    async with LocalStack(options) as whole, httpx.AsyncClient(base_url=whole.url, trust_env=False, timeout=60) as http:
        yield Ours(whole.url, http, whole.pids())


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Each takes as much of a core as it gets."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def watch(side: Ours, run: str, seen: Watched, ready: asyncio.Semaphore) -> None:
    expected, last = 0, 0.0
    async for content in side.follow(run, Flow(CHUNKS, PACE_S, batch=True)):
        if content == "ready":
            ready.release()
            continue
        now = time.monotonic()
        seen.longest_s = max(seen.longest_s, now - last if last else 0.0)
        seen.received += 1
        seen.misplaced += int(content.partition(" ")[0]) != expected
        expected, last = expected + 1, now


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("streams", "busy"), [(300, 0), (200, 1)])
async def test_no_stream_stands_still(tmp_path: Path, streams: int, busy: int) -> None:
    flow, seen, ready, go = Flow(CHUNKS, PACE_S, batch=True), Watched(), asyncio.Semaphore(0), tmp_path / "go"
    async with stack(tmp_path) as side, asyncio.timeout(READY_S + 10 * CHUNKS * PACE_S):
        runs = await asyncio.gather(*(side.start(flow, str(go)) for _ in range(streams)))
        clients = [asyncio.create_task(watch(side, run, seen, ready)) for run in runs]
        for _ in runs:
            await ready.acquire()
        with busy_processes(busy):
            draft = tmp_path / "draft"
            draft.write_text(str(time.monotonic() + 0.5))
            draft.rename(go)
            await asyncio.gather(*clients)
    assert (seen.received, seen.misplaced) == (streams * CHUNKS, 0)
    assert seen.longest_s <= STALL_S
