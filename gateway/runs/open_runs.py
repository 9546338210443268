"""Which open runs have something to do, and when each was last heard of: derived from the events that are committed.

A run that only waits, or is paused and has nothing under way, holds no place of the limit on concurrent runs. A run of
which too little is known counts as working: new starts wait a moment longer, and the limit is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from innkeeper.gateway.events.fence import INTERRUPTING, PAUSED, Event, RunLogState

IDLE_WAITS = frozenset({"approval", "event", "delay", "until"})
"""Waits that need nothing of this system. A node that waits for its provider to take requests again holds its place."""


@dataclass
class _OpenRun:
    heard: float
    is_idle: bool = False
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
        self._idle = 0

    @property
    def idle(self) -> int:
        """How many open runs hold no place."""
        return self._idle

    def observe(self, events: Sequence[Event]) -> None:
        """Follow the events of one run in one commit."""
        run = events[0]["payload"]["promptId"]
        state = self._state_of(run)
        if state is None or state.closed:
            self._set_idle(run, False)
            self._runs.pop(run, None)
            return
        self._runs.setdefault(run, _OpenRun(0.0)).heard = time.monotonic()
        self._set_idle(run, is_idle(state))

    def recall(self, run: str, state: RunLogState) -> None:
        """Take up a run of an earlier process. What was heard of it meanwhile is newer."""
        if not state.closed and run not in self._runs:
            self._runs[run] = _OpenRun(time.monotonic())
            self._set_idle(run, is_idle(state))

    def closing(self, run: str) -> None:
        """The run is about to end: from now on it is not idle, so that none counts twice while the index is written."""
        self._set_idle(run, False)
        if (found := self._runs.get(run)) is not None:
            found.is_closing = True

    def is_idle(self, run: str) -> bool:
        """Is this run known to have nothing to do?"""
        found = self._runs.get(run)
        return found is not None and found.is_idle

    def quiet_s(self, run: str) -> float:
        """Seconds since the last event of a run; 0 for one that is not known yet."""
        found = self._runs.get(run)
        return time.monotonic() - found.heard if found is not None else 0.0

    def is_known(self, run: str) -> bool:
        """Was the run heard of, or taken up?"""
        return run in self._runs

    def known(self) -> list[str]:
        """All runs that are known to be open."""
        return list(self._runs)

    def _set_idle(self, run: str, is_idle: bool) -> None:
        found = self._runs.get(run)
        if found is None or found.is_closing or found.is_idle == is_idle:
            return
        found.is_idle = is_idle
        self._idle += 1 if is_idle else -1
        if is_idle:
            self._on_idle()
