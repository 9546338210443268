"""Ctrl-C, SIGTERM and a closed terminal, for commands that have children to stop first."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """The first stop signal cancels the main task, so that everything is closed in order; another ends us at once.

    Ending at once leaves no orphan either: our children are tied to us (`process/die_with_parent.py`).

    Attributes:
        signal: The signal that came.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._main: asyncio.Task[Any] | None = None
        self._on_interrupt: Callable[[], None] | None = None

    def run(self, work: Coroutine[Any, Any, int]) -> int:
        """Run `work` and give its exit code; 128 + signal when a signal ended it."""
        try:
            return asyncio.run(self._guarded(work))
        except asyncio.CancelledError:
            return 128 + (self.signal or signal.SIGINT)

    @contextmanager
    def interrupts(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within this block Ctrl-C calls `callback` and stops nothing."""
        self._on_interrupt = callback
        try:
            yield
        finally:
            self._on_interrupt = None

    async def _guarded(self, work: Coroutine[Any, Any, int]) -> int:
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._came, number)
        return await work

    def _came(self, number: int) -> None:
        if number == signal.SIGINT and self._on_interrupt is not None:
            self._on_interrupt()
            return
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        if self._main is not None:
            self._main.cancel()
