"""How much of large values may be in the memory of a worker at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

SMALL_BYTES = 1_000_000
"""Who needs no more than this never waits."""


class MemoryBudget:
    """Bytes that are handed out first come, first served; who asks for more than there are gets all of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Hold room for `size` bytes, once there is as much."""
        size = min(size, self._total) if size > SMALL_BYTES else 0
        if size:
            await self._take(size)
        try:
            yield
        finally:
            self._left += size
            self._given_back.set()

    async def _take(self, size: int) -> None:
        async with self._turn:
            while self._left < size:
                self._given_back.clear()
                await self._given_back.wait()
            self._left -= size
