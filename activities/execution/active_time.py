"""How long a node has worked, without what it waited for others, and the limit on that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LEAST_SLEEP_S = 0.05
"""A node that waits uses up nothing of its limit: without this its watch would spin."""


class ActiveTime:
    """The clock of one attempt. Starts when it is made.

    Attributes:
        limit_s: What the node may take; 0: no limit.

    Args:
        on_limit: Called once, when the node has worked for so long.
    """

    def __init__(self, limit_s: float, on_limit: Callable[[], None]) -> None:
        self.limit_s = limit_s
        self._on_limit = on_limit
        self._began = time.monotonic()
        self._waited_s = 0.0
        self._waits = 0
        self._waits_since = 0.0
        self._is_watching = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def active_s(self) -> float:
        """How long the node has worked, without what it waited, or waits right now, for others."""
        now = time.monotonic()
        waits_since = self._waits_since if self._waits else now
        return now - self._began - self._waited_s - (now - waits_since)

    @property
    def is_waiting(self) -> bool:
        """Does the node wait for others right now?"""
        return self._waits > 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here is not the node's own: it waits for its input, or for room. Overlapping waits count once."""
        if not self._waits:
            self._waits_since = time.monotonic()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._waited_s += time.monotonic() - self._waits_since

    def restart(self, limit_s: float) -> None:
        """Count from now on, up to this limit. Cheap: it is called for every chunk of a stream."""
        self._began, self._waited_s = time.monotonic(), 0.0
        if self._waits:
            self._waits_since = self._began
        if limit_s != self.limit_s:
            self.limit_s = limit_s
            if self._is_watching:
                self.stop()
                self.watch()

    def watch(self) -> None:
        """Hold the node to its limit, from now on."""
        self._is_watching = True
        if self.limit_s <= 0:
            return
        left_s = self.limit_s - self.active_s
        if left_s <= 0:
            self._is_watching = False
            self._on_limit()
        else:
            self._watch = asyncio.get_running_loop().call_later(max(left_s, _LEAST_SLEEP_S), self.watch)

    def stop(self) -> None:
        self._is_watching = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
