"""The HTTP and WebSocket server under the gateway, as we need it configured."""

from __future__ import annotations

import asyncio

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_FRAME_BYTES = 8 * 1024 * 1024
STOP_S = 3
"""Seconds that open requests and event streams get when the gateway is asked to stop."""
ABORT_S = 15.0
"""What a client that was sent away leaves unread for so long is thrown away with its connection."""
HEADERS_S = 15.0
"""A client that has not sent the whole head of its request by then is sent away: it holds a connection for nothing."""
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class HttpProtocol(H11Protocol):
    """Gives the head of a request, also that of a WebSocket, a limited time. Bodies have theirs in `BodyLimit`."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        # IDLE: not a whole head of the next request is there. An idle connection without a byte of it is uvicorn's.
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_S, self._send_away)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _send_away(self) -> None:
        self._deadline = None
        if self.transport.get_protocol() is self:
            self.transport.write(_TOO_LATE)
            self.transport.close()


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
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        # Frames are small and local: compressing them costs more than it saves.
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
