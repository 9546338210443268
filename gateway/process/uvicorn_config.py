"""The HTTP and WebSocket server under the gateway, as we need it configured."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_FRAME_BYTES = 8 * 1024 * 1024
STOP_S = 3
"""Seconds that open requests and event streams get when the gateway is asked to stop."""
ABORT_S = 15.0
"""What a client that was sent away leaves unread for so long is thrown away with its connection."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Tells also a client that does not read why its connection is closed, and is rid of it after a while."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.close":
            # Else closing would wait until the client has read what came before: perhaps for ever.
            self.writable.set()
            self.loop.call_later(ABORT_S, self.transport.abort)
        await super().send(message)


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How the gateway is served; its own logging is set up apart."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        # Frames are small and local: compressing them costs more than it saves.
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
