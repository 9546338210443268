"""Nodes of plugins in threads: when what they yield arrives, and what they may start."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest

from innkeeper.activities.placement.node_threads import NodeThreads


@pytest.fixture
async def threads() -> AsyncIterator[NodeThreads]:
    threads = NodeThreads()
    yield threads
    await threads.aclose()


def block(seconds: float) -> None:
    time.sleep(seconds)


async def arrivals(
    threads: NodeThreads, begin: Callable[[], AsyncGenerator[Any, None]], *, exclusive: bool
) -> list[float]:
    items = threads.generate(begin, name="node", warn=lambda code, message: None, exclusive=exclusive)
    return [time.monotonic() async for _ in items]


async def test_a_generator_that_never_lets_go_of_its_turn_streams(threads: NodeThreads) -> None:
    async def busy() -> AsyncGenerator[str, None]:
        for _ in range(5):
            yield "x"
            block(0.1)

    at = await arrivals(threads, busy, exclusive=False)
    assert at[-1] - at[0] > 0.3


async def test_chunks_before_a_plain_function_blocks_do_not_wait_for_its_end(threads: NodeThreads) -> None:
    async def plain() -> AsyncGenerator[str, None]:
        yield "a"
        yield "b"
        block(0.4)
        yield "c"

    first, second, third = await arrivals(threads, plain, exclusive=True)
    assert second - first < 0.2 < third - second


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_node_in_a_thread_can_start_a_program_and_learn_how_it_ends(
    threads: NodeThreads, exclusive: bool
) -> None:
    async def start() -> tuple[bytes, int | None]:
        pipe = asyncio.subprocess.PIPE
        program = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hi'); exit(3)", stdout=pipe)
        said, _ = await program.communicate()
        return said, program.returncode

    async with asyncio.timeout(30):
        works = [
            threads.run(start(), name="node", warn=lambda code, message: None, exclusive=exclusive) for _ in range(8)
        ]
        assert await asyncio.gather(*works) == [(b"hi\n", 3)] * 8
