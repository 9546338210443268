"""When frames to clients go out at once, and when they gather."""

from __future__ import annotations

import time
from collections.abc import Callable

CALM_FRAMES_PER_S = 1500.0
PACE_S = 0.03
FULL_EVENTS_PER_S = 10_000.0
"""From here on the pace gets slower as the rate rises: each frame costs a system call, however much it holds."""
SLOWEST_PACE_S = 0.06
"""One client that catches up makes a high rate alone: the others must not feel it much."""
WINDOW_S = 0.2


class SendRate:
    """Counts what the gateway writes to all its clients, and says how long each should wait.

    Up to `calm` events per second everything goes out at once; above, each client gets at most one frame per `pace_s`,
    and in proportion less from `FULL_EVENTS_PER_S` on.
    An event counts as one whether it goes out alone or in an array: else gathering would end what made it necessary.
    """

    def __init__(
        self,
        *,
        calm: float = CALM_FRAMES_PER_S,
        pace_s: float = PACE_S,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calm, self._pace_s, self._window_s, self._clock = calm, pace_s, window_s, clock
        self._start = clock()
        self._now, self._before = 0, 0
        self.total = 0

    def frame_sent(self, frames: int = 1) -> None:
        """Count events that go out now."""
        self._turn()
        self._now += frames
        self.total += frames

    def delay_s(self, last_sent: float) -> float:
        """How long a client's next frame should wait; `last_sent`: when (by the clock) its last one went out."""
        rate = self.rate
        if rate <= self._calm:
            return 0.0
        pace_s = min(self._pace_s * max(1.0, rate / FULL_EVENTS_PER_S), SLOWEST_PACE_S)
        return max(0.0, last_sent + pace_s - self._clock())

    @property
    def rate(self) -> float:
        """Events per second, over the last one to two windows; falls by itself when nothing is sent."""
        self._turn()
        share = (self._clock() - self._start) / self._window_s
        return (self._now + self._before * max(0.0, 1 - share)) / self._window_s

    def _turn(self) -> None:
        passed = self._clock() - self._start
        if passed >= self._window_s:
            self._before = self._now if passed < 2 * self._window_s else 0
            self._now = 0
            self._start += passed - passed % self._window_s
