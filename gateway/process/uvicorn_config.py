"""The HTTP and WebSocket server under the gateway, as we need it configured."""

from __future__ import annotations

import asyncio

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from innkeeper.gateway.direct_write import WRITE_TEXT

MAX_FRAME_BYTES = 8 * 1024 * 1024
STOP_S = 3
"""Seconds that open requests and event streams get when the gateway is asked to stop."""
ABORT_S = 15.0
"""What a client that was sent away leaves unread for so long is thrown away with its connection."""
IDLE_S = 75
"""Seconds that a connection stays open for the next request. Longer than clients (httpx: 5) and proxies (mostly 60)
keep theirs: of two with the same patience one sends a request while the other closes, and it is lost."""
HEADERS_S = 15.0
"""A client that has not sent the whole head of its request by then is sent away: it holds a connection for nothing."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers, when it is not all read at once (up to 256 KB)."""
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class HttpProtocol(HttpToolsProtocol):
    """Gives the head of a request, also that of a WebSocket, a limited time and size; `BodyLimit` does so for bodies.

    The parser itself takes a head of any size.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        before = self._deadline
        super().data_received(data)
        # Another deadline is that of the next head: what came with its beginning was mostly the body before it.
        if before is not None and self._deadline is before:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._send_away(_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._watch_head()

    def on_headers_complete(self) -> None:
        self._forget_deadline()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        # An idle connection without a byte of the next request is uvicorn's.
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEADERS_S, self._send_away, _TOO_LATE)

    def _forget_deadline(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _send_away(self, answer: bytes) -> None:
        self._forget_deadline()
        if self.transport.get_protocol() is self:
            self.transport.write(answer)
            self.transport.close()


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Tells also a client that does not read why its connection is closed, and is rid of it after a while.

    Offers the short way to the socket (`gateway/direct_write.py`).
    """

    async def run_asgi(self) -> None:
        self.scope["extensions"][WRITE_TEXT] = {"write": self.write_text}
        await super().run_asgi()

    def write_text(self, text: bytes) -> bool:
        """Write a message now; False when it would have to wait, or when there is no open connection."""
        is_open = self.handshake_complete and not (self.close_sent or self.disconnected or self.transport.is_closing())
        if not is_open or not self.writable.is_set():
            return False
        try:
            self.conn.send_text(text)
        except InvalidState:  # the client has begun to close
            return False
        self.transport.write(b"".join(self.conn.data_to_send()))
        return True

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
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
    )
