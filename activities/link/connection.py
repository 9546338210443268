"""The worker's WebSocket to the gateway: connects, says hello, carries frames both ways, and connects again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from innkeeper.activities.link.frame_gap import LEAST_GAP_S
from innkeeper.activities.link.gateway_frame import MalformedFrame
from innkeeper.activities.link.outgoing_queue import MAX_FRAME
from innkeeper.nodes.worker_protocol import PROTOCOL_VERSION, WRONG_TOKEN, StartPlace

log = logging.getLogger("innkeeper.link")

MAX_RECEIVED = 16_000_000
_RECONNECT_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
OPEN_S = (5.0, 5.0, 10.0, 20.0, 30.0)
"""How long the gateway may take to accept a connection, by the number of failures before. Longer each time: a gateway
or a proxy that is always a little slower than one fixed limit would never be reached."""


class FrameHandler(Protocol):
    """What a connection carries frames for. All calls come from the event loop of the connection."""

    def connected(self) -> None:
        """A new connection begins; the gateway has not said anything yet."""

    def next_frame(self) -> bytes | None:
        """The next frame to send; None when there is nothing."""

    def gap_s(self) -> float:
        """How long chunks may gather after the frame that was sent last, in seconds."""

    def receive(self, data: bytes | str) -> None:
        """Take one frame of the gateway. Raises MalformedFrame when it cannot be read."""

    def disconnected(self) -> None:
        """The connection has ended, or could not be made."""


@dataclass(frozen=True)
class LinkAddress:
    """Where the gateway is, and what the worker shows there.

    Attributes:
        url: Base URL of the gateway, `http://` or `https://`.
        queues: Task queues that the worker polls.
        starts: Where it starts runs when it is asked; None: it starts none.
    """

    url: str
    token: str
    worker_id: str
    queues: Sequence[str] = ()
    starts: StartPlace | None = None

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/internal/worker"

    def hello(self) -> bytes:
        fields = {"worker": self.worker_id, "queues": list(self.queues), "protocol": PROTOCOL_VERSION}
        given = {} if self.starts is None else {"starts": asdict(self.starts)}
        return orjson.dumps({"hello": {**fields, **given}})


class LinkConnection:
    """Keeps one connection to the gateway alive, for as long as the worker lives."""

    def __init__(self, address: LinkAddress) -> None:
        self._address = address
        self._frame_due = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._failures = 0
        self._last_refusal = ""
        self._sent_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self, handler: FrameHandler) -> None:
        self._task = asyncio.create_task(self._keep_connected(handler), name="gateway-link")

    def starts_at(self, place: StartPlace | None) -> None:
        """Where the hello of the next connection says that the worker starts runs."""
        self._address = replace(self._address, starts=place)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def send_soon(self, *, urgent: bool = True) -> None:
        """Ask the handler for a frame at the next opportunity. Only what is not urgent gathers for a while."""
        self._frame_due.set()
        if urgent:
            self._is_urgent.set()

    async def _keep_connected(self, handler: FrameHandler) -> None:
        unreadable = 0  # connections in a row that ended with a frame that cannot be read
        while True:
            try:
                await self._connect_and_serve(handler)
                unreadable = 0
            except InvalidStatus as refused:
                self._refused(f"the gateway refused this worker with status {refused.response.status_code}")
            except MalformedFrame as error:
                self._refused(f"the gateway sent a frame that cannot be read: {error}")
                # What came before it was readable and ended the row of failures; but it may well come again.
                self._failures, unreadable = unreadable, unreadable + 1
            except (OSError, TimeoutError, WebSocketException) as error:
                log.debug("gateway away: %s", type(error).__name__)
            except Exception:
                # Without the link the worker would be deaf until somebody starts it anew.
                log.exception("the link to the gateway failed in a way that nobody expected")
            handler.disconnected()
            delay = _RECONNECT_S[min(self._failures, len(_RECONNECT_S) - 1)]
            self._failures += 1
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))

    async def _connect_and_serve(self, handler: FrameHandler) -> None:
        async with connect(
            self._address.websocket_url,
            additional_headers={"Authorization": f"Bearer {self._address.token}"},
            compression=None,
            max_size=MAX_RECEIVED,
            proxy=None,
            open_timeout=OPEN_S[min(self._failures, len(OPEN_S) - 1)],
            close_timeout=1,
        ) as socket:
            await socket.send(self._address.hello())
            handler.connected()
            try:
                await self._serve(socket, handler)
            finally:
                # Also when sending has failed: by then the gateway's reason is known.
                if socket.close_code is not None:
                    self._closed(socket.close_code, socket.close_reason or "")

    async def _serve(self, socket: ClientConnection, handler: FrameHandler) -> None:
        reader = asyncio.create_task(self._read(socket, handler))
        reader.add_done_callback(lambda _: self.send_soon())
        try:
            self._frame_due.set()
            gap_s = 0.0
            while not reader.done():
                await self._frame_due.wait()
                await self._gather(gap_s)
                self._frame_due.clear()
                self._is_urgent.clear()
                if (frame := handler.next_frame()) is None:
                    continue
                if len(frame) >= MAX_FRAME:  # there may be more
                    self._frame_due.set()
                await socket.send(frame)
                self._sent_at = asyncio.get_running_loop().time()
                gap_s = handler.gap_s()
            reader.result()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _gather(self, gap_s: float) -> None:
        """Wait for what is left of the gap behind the last frame. A timer for each frame would wake the loop in vain:
        mostly nothing follows so soon."""
        passed_s = asyncio.get_running_loop().time() - self._sent_at
        if (least_s := min(gap_s, LEAST_GAP_S) - passed_s) > 0:
            await asyncio.sleep(least_s)
            passed_s += least_s
        if gap_s > max(passed_s, LEAST_GAP_S):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(gap_s - passed_s):
                    await self._is_urgent.wait()

    async def _read(self, socket: ClientConnection, handler: FrameHandler) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for data in socket:
                handler.receive(data)
                # Only a frame ends the row of failures: a gateway may accept a connection and close it again.
                self._failures, self._last_refusal = 0, ""

    def _closed(self, code: int, reason: str) -> None:
        if code == WRONG_TOKEN:
            self._refused("the gateway refused this worker: wrong token (INNKEEPER_WORKER_TOKEN, or worker.token)")
        elif 4000 <= code < 5000:
            self._refused(f"the gateway closed the socket: {code} {reason}".rstrip())
        else:
            log.debug("the gateway closed the socket: %d %s", code, reason)

    def _refused(self, message: str) -> None:
        """Log it once: the worker tries again every second, and the gateway would refuse it for the same reason."""
        if message != self._last_refusal:
            self._last_refusal = message
            log.warning("%s; the worker keeps trying", message)
