"""How often something may happen: a token bucket."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """Lets `burst` things happen at once, and `per_s` a second in the long run."""

    def __init__(self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._credit = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Count one more; False, and nothing counted, when it is one too many."""
        now = self._clock()
        self._credit = min(self._burst, self._credit + (now - self._at) * self._per_s)
        self._at = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True
