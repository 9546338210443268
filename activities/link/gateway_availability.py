"""Whether the gateway is there, and whether it has been away for so long that nobody waits for it any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("innkeeper.link")


class GatewayAvailability:
    """Waiting is per outage, not per node: after `flush_timeout_s` nobody waits until the gateway is back.

    Args:
        on_given_up: Called once per outage, when nobody waits any more.

    Attributes:
        connected: Set while the gateway answers.
        is_given_up: The outage has lasted longer than `flush_timeout_s`.
    """

    def __init__(self, flush_timeout_s: float, on_given_up: Callable[[], None]) -> None:
        self.connected = asyncio.Event()
        self.is_given_up = False
        self._flush_timeout_s = flush_timeout_s
        self._on_given_up = on_given_up
        self._timer: asyncio.TimerHandle | None = None

    def lost(self) -> None:
        """The connection has ended, or the next attempt to connect has failed. The clock of the outage goes on."""
        self.connected.clear()
        if self._timer is None and not self.is_given_up:
            self._timer = asyncio.get_running_loop().call_later(self._flush_timeout_s, self._give_up)

    def found(self) -> None:
        """The gateway has said something."""
        self.is_given_up = False
        self.stop()
        self.connected.set()

    def stop(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        self.is_given_up = True
        log.warning("gateway away for %s s: runs go on without it", self._flush_timeout_s)
        self._on_given_up()
