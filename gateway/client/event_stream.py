"""The events of a run over WebSocket, through every interruption."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from innkeeper.gateway.client.transport import (
    CONNECT_S,
    GatewayRefused,
    Transport,
    not_a_gateway,
    path_segment,
    pauses,
    refusal_of,
)
from innkeeper.nodes.errors import RunNotFound

Event = dict[str, Any]
ENDED = frozenset({"complete", "error", "interrupted"})
STATUS_UPDATE = "EXECUTION_STATUS_UPDATE"
LOG_RESTARTED = "LOG_RESTARTED"
"""Not on the wire: tells the reader of `events` to forget what it saw, since the log was begun anew."""
REFUSED_CLOSE_CODES = frozenset({4400, 4401, 4403, 4404})
"""Any other means: come back (1012 the gateway restarts, 1013 it is full, 4408 we read too slowly)."""
_LASTING_S = 2 * CONNECT_S
_PASSING_CODES = frozenset({"event_log_unavailable", "engine_unavailable"})


class Events:
    """What `GatewayClient.events` gives: iterate it once.

    Attributes:
        after: The `seq` of the last event that was given.
        log_id: The log it is from; None before the gateway first answered.
    """

    def __init__(self, transport: Transport, run_id: str, after: int, log_id: str | None) -> None:
        self.after = after
        self.log_id = log_id
        self._transport = transport
        self._run_id = run_id
        self._events = self._read_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._events.aclose()

    async def _read_all(self) -> AsyncGenerator[Event, None]:
        transport = self._transport
        answered = time.monotonic()
        waits = pauses()
        while True:
            begun = time.monotonic()
            try:
                async with transport.socket() as socket, contextlib.aclosing(self._read_frames(socket)) as events:
                    async for event in events:
                        answered, waits = time.monotonic(), pauses()
                        yield event
                        if is_final(event):
                            return
                        answered = time.monotonic()
            except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
                _raise_if_hopeless(error)
            except RunNotFound:
                if not await self._is_coming():
                    raise
                answered = time.monotonic()
            if time.monotonic() - begun > _LASTING_S:  # it was connected, only nothing happened in the run
                answered, waits = time.monotonic(), pauses()
            if time.monotonic() - answered > transport.patience_s:
                raise transport.away()
            await asyncio.sleep(next(waits))

    async def _is_coming(self) -> bool:
        """Was the run promised by a trigger, and has not begun? It has no events yet."""
        try:
            found = await self._transport.call("GET", f"/api/prompt/{path_segment(self._run_id)}")
        except (RunNotFound, GatewayRefused):
            return False
        return found.get("status") not in ENDED

    async def _read_frames(self, socket: ClientConnection) -> AsyncGenerator[Event, None]:
        await socket.send(json.dumps({"type": "SUBSCRIBE", "payload": self._subscription()}))
        async for text in socket:
            for frame in _frames(text):
                payload = frame["payload"]
                if frame["type"] == "error":
                    if payload.get("code") in _PASSING_CODES:
                        raise ConnectionError(payload.get("message"))
                    raise refusal_of(payload)
                if payload.get("promptId") != self._run_id:
                    continue
                if "logId" in payload and self._is_new_log(payload["logId"]):
                    yield {"type": LOG_RESTARTED, "payload": {"promptId": self._run_id}}
                seq = frame.get("seq")
                if isinstance(seq, int) and seq > self.after:
                    self.after = seq
                    yield frame

    def _subscription(self) -> dict[str, Any]:
        place: dict[str, Any] = {"promptId": self._run_id, "after": self.after, "batch": True}
        return {**place, "logId": self.log_id} if self.log_id else place

    def _is_new_log(self, log_id: str) -> bool:
        is_new = self.log_id is not None and log_id != self.log_id
        self.log_id = log_id
        if is_new:
            self.after = 0
        return is_new


def is_final(event: Event) -> bool:
    """Is this the last event of its run?"""
    return event.get("type") == STATUS_UPDATE and event["payload"].get("status") in ENDED


def _frames(text: str | bytes) -> Iterator[dict[str, Any]]:
    """The messages in one WebSocket message: it, or each item of an array."""
    try:
        found = json.loads(text)
    except ValueError:
        raise not_a_gateway("the WebSocket") from None
    for frame in found if isinstance(found, list) else [found]:
        if isinstance(frame, dict) and isinstance(frame.get("payload"), dict) and "type" in frame:
            yield frame


def _raise_if_hopeless(error: Exception) -> None:
    """Some refusals do not get better by trying again."""
    if isinstance(error, InvalidStatus) and error.response.status_code < 400:
        raise not_a_gateway("the WebSocket")
    if isinstance(error, InvalidStatus) and error.response.status_code < 500:
        status = error.response.status_code
        raise GatewayRefused(f"the gateway refuses the connection (status {status})", details={"status": status})
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code in REFUSED_CLOSE_CODES:
        raise GatewayRefused(
            f"the gateway refuses the connection: {error.rcvd.reason or error.rcvd.code}",
            details={"closeCode": error.rcvd.code},
        )
