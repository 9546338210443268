"""Tells in the log which node keeps the worker's event loop to itself.

While one does, no heartbeat leaves: after 5 s the server gives the nodes of all runs in this worker to others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time

log = logging.getLogger("innkeeper.worker")

STANDSTILL_S = 2.0


class LoopWatchdog:
    """A thread that looks when the loop has last had a turn. Made on the loop it watches.

    What it names is the loop's current task: nodes give their tasks their own names.

    Args:
        limit_s: A standstill longer than this is told, once.
    """

    def __init__(self, limit_s: float = STANDSTILL_S) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._turn()
        threading.Thread(target=self._watch, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._timer.cancel()

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        self._timer = self._loop.call_later(self._limit_s / 4, self._turn)

    def _watch(self) -> None:
        is_told = False
        while not self._stopped.wait(self._limit_s / 4):
            stands = time.monotonic() - self._turned_at > self._limit_s
            if stands and not is_told:
                task = asyncio.current_task(self._loop)
                name = task.get_name() if task is not None else "no task"
                log.warning("the event loop has stood still for more than %g s in: %s", self._limit_s, name)
            is_told = stands
