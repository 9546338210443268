"""Runs that were submitted over a client's socket and are open, or were a moment ago: derived from committed events.

A client that never subscribes, as ComfyTavern's editor, comes back with a new socket and asks for nothing. It still
must hear how its runs end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from innkeeper.gateway.events.fence import STATUS, Event
from innkeeper.gateway.runs.view import FINAL

MAX_RUNS = 20
"""Of open runs, and of ended ones, a new socket hears of the newest."""
ENDED_S = 60.0
"""For so long after its end a run is told of: its client may be just coming back."""


class SocketRuns:
    """Which runs a new socket should hear of. In memory only: the store says after a restart which ones are open."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, str] = {}
        self._ended: deque[tuple[float, str, str]] = deque(maxlen=MAX_RUNS)

    def add(self, run: str, user: str) -> None:
        """Know an open run of a user."""
        self._open[run] = user

    def observe(self, events: Sequence[Event]) -> None:
        """Follow the events of one run in one commit."""
        last = events[-1]
        if last["type"] == STATUS and last["payload"]["status"] in FINAL:
            self.ended(last["payload"]["promptId"])

    def ended(self, run: str) -> None:
        """A run gets no more events. Of one that is not known as open nothing changes."""
        if (user := self._open.pop(run, None)) is not None:
            self._ended.append((self._clock(), run, user))

    def newest(self, user: str) -> list[str]:
        """Runs of a user that a new socket should hear of, those that have ended included."""
        since = self._clock() - ENDED_S
        ended = [run for at, run, owner in self._ended if owner == user and at >= since]
        mine = (run for run, owner in reversed(self._open.items()) if owner == user)
        return [*ended, *islice(mine, MAX_RUNS)]
