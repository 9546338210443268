"""How often the attempts of a worker heartbeat: each costs the server a request, and many streams run at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from innkeeper.activities.link.interrupts import Interrupts

INTERVAL_S = 1.0
HEARTBEATS_PER_S = 100
"""Of a worker, from so many attempts on; up to `MAX_INTERVAL_S`."""
MAX_INTERVAL_S = 2.5
"""Half the time-out of 5 s: a heartbeat may be late by as much before the server counts its worker as dead."""

Beat = Callable[[], None]


class HeartbeatPace:
    """The pace of the heartbeats of one worker.

    The answer to a heartbeat is what tells an activity that it is cancelled. So they only get rarer while the gateway
    tells of interrupted runs: the attempts of those heartbeat at once, and then every `INTERVAL_S`.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._count = 0
        self._beats: defaultdict[str, dict[Beat, None]] = defaultdict(dict)
        self._interrupted: set[str] = set()
        interrupts.listen(self._interrupt)

    def join(self, run: str, beat: Beat) -> None:
        """An attempt of this run begins. `beat`: sends its heartbeat now; the next one follows after the
        interval of then."""
        self._beats[run][beat] = None
        self._count += 1

    def leave(self, run: str, beat: Beat) -> None:
        """It has ended."""
        if self._beats[run].pop(beat, beat) is None:
            self._count -= 1
        if not self._beats[run]:
            del self._beats[run]
            self._interrupted.discard(run)

    def interval_s(self, run: str) -> float:
        """Seconds from one heartbeat of an attempt of this run to the next."""
        if run in self._interrupted or not self._interrupts.are_told:
            return INTERVAL_S
        return min(max(INTERVAL_S, self._count / HEARTBEATS_PER_S), MAX_INTERVAL_S)

    def _interrupt(self, run: str) -> None:
        if run in self._beats:
            self._interrupted.add(run)
            for beat in list(self._beats[run]):
                beat()
