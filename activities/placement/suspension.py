"""Tells a process that did not run at all from a loop that something blocks.

A process does not run while a signal or the pause of its container stops it, or while the machine has no processor for
it. No loop of it has a turn then, and no node is to blame.
"""

from __future__ import annotations

import time

MIN_SUSPENDED_S = 1.0
"""A shorter delay happens on every busy machine."""


class SuspensionDetector:
    """For a watcher that looks at regular times: when it comes late itself, the whole process may have been suspended.

    Args:
        interval_s: Between two looks.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._looked_at = time.monotonic()
        self._cpu_s = time.process_time()

    def look(self) -> float:
        """For how many seconds the process was suspended since the last look; 0 when it was not."""
        now, cpu_s = time.monotonic(), time.process_time()
        late_s = now - self._looked_at - self._interval_s
        worked_s = cpu_s - self._cpu_s
        self._looked_at, self._cpu_s = now, cpu_s
        return late_s if is_suspension(late_s, worked_s) else 0.0


def is_suspension(late_s: float, worked_s: float) -> bool:
    """Does a delay of the watcher mean that the process was suspended?

    Args:
        worked_s: Processor time of the process meanwhile. A node that holds the interpreter lock delays the watcher,
            too, but it works.
    """
    return late_s > MIN_SUSPENDED_S and worked_s < late_s / 2
