"""The interpreter's sink of a worker process: hands its facts to the gateway link's event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from innkeeper.activities.link.gateway_link import GatewayLink


class LinkSink:
    """Called on workflow threads; the link lives on the loop. Order is kept."""

    def __init__(self, link: GatewayLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        # The loop is closed only while the process ends; what is lost then, the gateway takes from the run's result.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._link.fact, run, path, type, payload)
