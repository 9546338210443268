"""One heartbeat a second, with counters only: chunks travel on the socket, never in heartbeats."""

from __future__ import annotations

import asyncio

from temporalio import activity

INTERVAL_S = 1.0


class Heartbeat:
    """Sends heartbeats while an attempt runs. `waits` counts the attempts so far that only waited."""

    def __init__(self, waits: int = 0) -> None:
        self.waits = waits
        self.chunks = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._send)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count_wait(self) -> None:
        """Tell the server that this attempt was a wait; it is flushed before the attempt's failure is reported."""
        self.waits += 1
        activity.heartbeat({"waits": self.waits, "chunks": self.chunks})

    def _send(self) -> None:
        activity.heartbeat({"waits": self.waits, "chunks": self.chunks})
        self.start()
