"""How long a worker gathers chunks for one frame. Pure."""

from __future__ import annotations

LEAST_GAP_S = 0.001
"""At least so long lies between two frames. Each costs the gateway a commit and an answer, whatever it holds."""
BUSY_GAP_S = 0.01
"""While many streams flow: frames of a millisecond would hold a few chunks each, and fill the gateway's thread."""
BUSY_STREAMS = 20
BUSY_MESSAGES_PER_S = 1_500
_WINDOW_S = 0.05


class FrameGap:
    """The gap behind the frame that was sent last. What is no chunk does not wait for it: it only is the longest."""

    def __init__(self) -> None:
        self._since = 0.0
        self._messages = 0
        self._is_busy = False

    def sent(self, messages: int, streams: int, now: float) -> float:
        """Count a frame; gives the seconds in which chunks gather for the next one.

        Args:
            messages: How many the frame held.
            streams: How many streams have chunks on their way.
            now: Seconds of a monotonic clock.
        """
        elapsed = now - self._since
        if elapsed > _WINDOW_S:
            # A frame after a long silence begins a window: what it gathered says nothing of a rate.
            self._is_busy = elapsed < 2 * _WINDOW_S and self._messages > BUSY_MESSAGES_PER_S * elapsed
            self._since, self._messages = now, 0
        self._messages += messages
        return BUSY_GAP_S if self._is_busy and streams >= BUSY_STREAMS else LEAST_GAP_S
