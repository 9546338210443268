"""The memory budget for large values: handed out in order, never more than there is, and always given back."""

from __future__ import annotations

import asyncio
import random

import pytest

from innkeeper.activities.execution.memory_budget import SMALL_BYTES, MemoryBudget

MB = 1_000_000


class Taker:
    """Takes memory again and again, and knows how much is taken by all."""

    def __init__(self, memory_budget: MemoryBudget) -> None:
        self.memory_budget = memory_budget
        self.now = 0
        self.most = 0
        self.order: list[int] = []

    async def take(self, size: int, seconds: float = 0.0) -> None:
        async with self.memory_budget.taken(size):
            self.order.append(size)
            self.now += size
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.now -= size


async def test_never_more_than_there_is_and_nobody_is_forgotten() -> None:
    taker = Taker(MemoryBudget(10 * MB))
    sizes = [random.Random(number).randint(2 * MB, 9 * MB) for number in range(200)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(taker.take(size, 0.001) for size in sizes))
    assert taker.most <= 10 * MB
    assert taker.order == sizes  # first come, first served: a large one is not passed by for ever


async def test_who_needs_more_than_all_goes_alone() -> None:
    taker = Taker(MemoryBudget(10 * MB))
    async with asyncio.timeout(5):
        await asyncio.gather(taker.take(50 * MB, 0.01), taker.take(2 * MB), taker.take(70 * MB))
    assert taker.most == 70 * MB


async def test_small_ones_never_wait() -> None:
    taker = Taker(MemoryBudget(2 * MB))
    async with asyncio.timeout(5), taker.memory_budget.taken(5 * MB):
        waiting = asyncio.create_task(taker.take(2 * MB))
        await asyncio.sleep(0)
        await taker.take(SMALL_BYTES)
        assert not waiting.done()
        waiting.cancel()


async def test_room_of_who_gave_up_is_free() -> None:
    taker = Taker(MemoryBudget(4 * MB))
    async with asyncio.timeout(5):
        holder = asyncio.create_task(taker.take(4 * MB, 60))
        await asyncio.sleep(0.01)
        waiter = asyncio.create_task(taker.take(3 * MB))
        await asyncio.sleep(0.01)
        waiter.cancel()
        holder.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        await taker.take(4 * MB)
        with pytest.raises(ZeroDivisionError):
            async with taker.memory_budget.taken(4 * MB):
                raise ZeroDivisionError
        await taker.take(4 * MB)
