"""Tells which node keeps the worker's event loop to itself, and ends the process when it goes on for too long.

While one does, no heartbeat leaves: after 5 s the server gives the nodes of all runs in this worker to others. Nodes of
plugins have a loop of their own (`placement.node_threads`); what is watched here are our own nodes, and ourselves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from innkeeper.activities.placement.loop_thread import place_in
from innkeeper.activities.placement.suspension import SuspensionDetector
from innkeeper.nodes.process.stall_note import write_stall_note

log = logging.getLogger("innkeeper.worker")

STANDSTILL_S = 2.0


class LoopWatchdog:
    """A thread that looks when the loop has last had a turn. Made on the loop it watches.

    What it names is the loop's current task, since nodes give their tasks their own names, and the line it is at.

    Args:
        limit_s: A standstill longer than this is told, once.
        replace_after_s: After a standstill of this length `replace` is called.
        replace: Ends this process, from the watchdog's thread.
    """

    def __init__(
        self,
        limit_s: float = STANDSTILL_S,
        *,
        replace_after_s: float = 30.0,
        replace: Callable[[], None] | None = None,
    ) -> None:
        self._limit_s = limit_s
        self._replace_after_s = replace_after_s
        self._replace = replace
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._stopped = threading.Event()
        self._suspension = SuspensionDetector(limit_s / 4)
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
            if self._suspension.look():
                self._turned_at = time.monotonic()
            stood_s = time.monotonic() - self._turned_at
            stands = stood_s > self._limit_s
            if stands and not is_told:
                self._tell()
            if stood_s > self._replace_after_s and self._replace is not None:
                self._replace()
                return
            is_told = stands

    def _tell(self) -> None:
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task is not None else "no task"
        place = place_in(self._thread_id)
        text = f"the event loop has stood still for more than {self._limit_s:g} s in: {name}"
        log.warning("%s%s", text, f": at {place}" if place else "", extra={"where": place or None})
        write_stall_note(f"{text}: at {place}")
