"""Which open runs have something to do, and when each was last heard of: derived from the events that are committed.

A run that only waits, or is paused and has nothing under way, holds no place of the limit on concurrent runs. A run of
which too little is known counts as working: new starts wait a moment longer, and the limit is kept. Events may be lost,
so what Temporal says of a quiet run counts more (`found_without_work`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from innkeeper.gateway.events.fence import INTERRUPTING, PAUSED, Event, RunLogState

IDLE_WAITS = frozenset({"approval", "budget", "event", "delay", "until", "parked"})
"""Waits that need nothing of this system. A node whose provider takes requests again in a moment holds its place."""


@dataclass
class _OpenRun:
    heard: float
    is_started: bool = False
    is_closing: bool = False


def is_idle(state: RunLogState) -> bool:
    """Has a run nothing to do until somebody or some moment wakes it?"""
    activity = state.activity
    if state.closed or state.status == INTERRUPTING or activity.working:
        return False
    if any(kind not in IDLE_WAITS for kind, _ in activity.waiting.values()):
        return False
    return bool(activity.waiting) or state.status == PAUSED


class OpenRuns:
    """Follows the events of open runs.

    Args:
        state_of: The log's state of a run that is in memory, else None.
        on_idle: Called when a run that worked has nothing to do any more.
    """

    def __init__(self, state_of: Callable[[str], RunLogState | None], on_idle: Callable[[], None]) -> None:
        self._state_of = state_of
        self._on_idle = on_idle
        self._runs: dict[str, _OpenRun] = {}
        self._idle: set[str] = set()
        self._untold: set[str] = set()  # idle, but the log does not say so

    @property
    def idle(self) -> int:
        """How many started runs hold no place."""
        return len(self._idle)

    def observe(self, events: Sequence[Event]) -> None:
        """Follow the events of one run in one commit."""
        run = events[0]["payload"]["promptId"]
        state = self._state_of(run)
        self._untold.discard(run)
        if state is None or state.closed:
            self._idle.discard(run)
            self._runs.pop(run, None)
            return
        self._runs.setdefault(run, _OpenRun(0.0)).heard = time.monotonic()
        self._set_idle(run, is_idle(state))

    def started(self, run: str, state: RunLogState | None) -> None:
        """Temporal has the run, now or since an earlier process. Before, it has no place to give back: not even one
        that is paused in the queue.

        Args:
            state: What the log says of it, unless more is in memory. None: not known, it counts as working.
        """
        state = self._state_of(run) or state
        if state is not None and state.closed:
            return
        self._runs.setdefault(run, _OpenRun(time.monotonic())).is_started = True
        self._set_idle(run, state is not None and is_idle(state))

    def found_without_work(self, run: str) -> None:
        """Temporal knows of nothing to do for this run, whatever the log says: the end of its work was not told (yet).

        Holds until the next event of the run.
        """
        if run not in self._idle:
            self._set_idle(run, True)
            self._untold |= {run} & self._idle

    def closing(self, run: str) -> None:
        """The run is about to end: from now on it is not idle, so that none counts twice while the index is written."""
        self._idle.discard(run)
        self._untold.discard(run)
        if (found := self._runs.get(run)) is not None:
            found.is_closing = True

    def is_idle(self, run: str) -> bool:
        """Is this run known to have nothing to do?"""
        return run in self._idle

    def is_told_idle(self, run: str) -> bool:
        """Does the log say that this run has nothing to do?"""
        return run in self._idle and run not in self._untold

    def quiet_s(self, run: str) -> float:
        """Seconds since the last event of a run; 0 for one that is not known yet."""
        found = self._runs.get(run)
        return time.monotonic() - found.heard if found is not None else 0.0

    def is_started(self, run: str) -> bool:
        """Is it known that Temporal has this run?"""
        found = self._runs.get(run)
        return found is not None and found.is_started

    def known(self) -> list[str]:
        """All runs that are known to be started and open."""
        return [run for run, found in self._runs.items() if found.is_started]

    def _set_idle(self, run: str, is_idle: bool) -> None:
        found = self._runs.get(run)
        if found is None or not found.is_started or found.is_closing or is_idle == (run in self._idle):
            return
        if is_idle:
            self._idle.add(run)
            self._on_idle()
        else:
            self._idle.remove(run)
