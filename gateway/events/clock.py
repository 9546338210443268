"""The wall clock of a gateway may jump: set by hand, or late by a time server. What must not follow it is kept here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from innkeeper.gateway.events.log import EventLog

logger = logging.getLogger("innkeeper.gateway")

LOOK_S = 600.0
"""How often somebody looks whether the clock was set back."""
MAX_DRIFT_S = 3_600.0
PATIENCE_S = 86_400.0
"""How long nothing is deleted by age after the clock went forward: time to correct it."""


def steady_s() -> float:
    """Seconds that nobody can set. Sleep of the machine counts where the system can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class AgeGuard:
    """Says whether ages by the wall clock may be believed: not for a day after it went forward by more than an hour.

    The clock may have been wrong before, or be wrong now. What is deleted because it seems old does not come back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady_s) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._believed_from = steady()

    def is_calm(self) -> bool:
        """May what is old be deleted? To be asked often: a jump is what happened since the last time."""
        steady = self._steady()
        offset = self._wall() - steady
        jump, self._offset = offset - self._offset, offset
        if jump > MAX_DRIFT_S:
            logger.warning(
                "the clock went forward; nothing is deleted by age for a day", extra={"seconds": round(jump)}
            )
            self._believed_from = steady + PATIENCE_S
        elif jump < -MAX_DRIFT_S:
            self._believed_from = steady  # corrected: what was too old is not any more
        return steady >= self._believed_from


async def correct_dates(log: EventLog, now: float) -> None:
    """After the clock was set back, open runs seem to be from the future (`EventLog.correct_dates`)."""
    if count := await log.correct_dates(int(now * 1000), margin_ms=int(2 * LOOK_S * 1000)):
        logger.warning("the clock was set back", extra={"event": "clock_set_back", "count": count})
