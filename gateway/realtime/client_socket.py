"""The WebSocket of clients: submit, interrupt, and follow any number of runs. A socket that closes changes no run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from innkeeper.gateway.direct_write import direct_write
from innkeeper.gateway.errors import (
    WS_TOO_FAST,
    WS_TOO_MANY,
    WS_TOO_SLOW,
    BadRequest,
    shown,
    told_of,
)
from innkeeper.gateway.realtime.event_frames import own_frame
from innkeeper.gateway.realtime.reader import EventReader
from innkeeper.gateway.realtime.run_updates import RunsWatcher, RunUpdates
from innkeeper.gateway.realtime.send_queue import SendQueue
from innkeeper.gateway.realtime.subscriptions import Subscriptions
from innkeeper.gateway.realtime.whole_values import WholeValues
from innkeeper.gateway.runs.rate_limit import RateLimit
from innkeeper.gateway.runs.refusals import Refusals
from innkeeper.gateway.runs.service import Accepted, Runs
from innkeeper.gateway.runs.socket_runs import SocketRuns
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.model import load_json

logger = logging.getLogger("innkeeper.gateway.clients")

MAX_CLIENTS = 2000
MAX_SUBSCRIPTIONS = 200
MAX_NAME_CHARS = 200
BURST_MESSAGES = 200
MESSAGES_PER_S = 50.0
WATCH_AGAIN_S = 1.0
"""All open runs are read and told anew when a socket asks for the list of runs: for each socket once in this time."""
CLOSE_TIMEOUT_S = 5.0
GOING_AWAY = 1012
_SUBMISSION = re.compile(r'\s*\{\s*"type"\s*:\s*"PROMPT_REQUEST"')
UNHANDLED = frozenset({"load_workflow", "save_workflow", "list_workflows", "get_node_definitions", "reload_backend"})


@dataclass(frozen=True, kw_only=True)
class SocketServices:
    """What every client connection works with."""

    runs: Runs
    refusals: Refusals
    reader: EventReader
    values: WholeValues
    socket_runs: SocketRuns
    run_updates: RunUpdates
    user: str
    send_timeout_s: float


class ClientSockets:
    """All client connections of this gateway."""

    def __init__(self, services: SocketServices) -> None:
        self._services = services
        self._clients: set[_Client] = set()

    @property
    def count(self) -> int:
        return len(self._clients)

    async def handle(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends."""
        await websocket.accept()
        if len(self._clients) >= MAX_CLIENTS:
            await websocket.close(WS_TOO_MANY, f"{MAX_CLIENTS} clients are connected: try again later")
            return
        client = _Client(websocket, self._services)
        self._clients.add(client)
        try:
            await client.serve()
        finally:
            self._clients.discard(client)

    def broadcast(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell every client. Nobody waits for a slow one."""
        frame = own_frame(kind, payload)
        for client in self._clients:
            client.send_queue.announce(kind, frame)

    async def close_all(self) -> None:
        await asyncio.gather(*(client.close(GOING_AWAY, "the gateway restarts") for client in list(self._clients)))


class _Client:
    def __init__(self, websocket: WebSocket, services: SocketServices) -> None:
        self._websocket = websocket
        self._services = services
        self._write = direct_write(websocket.scope)
        self.send_queue = SendQueue(self._send, services.reader)
        self._subscriptions = Subscriptions(self.send_queue, services.reader, services.values, self._send_error)
        self._watching: asyncio.Task[None] | None = None
        self._watched_at = -math.inf
        self._closing = False
        self._closed = asyncio.Event()
        self._rate = RateLimit(BURST_MESSAGES, MESSAGES_PER_S)
        self._handlers: dict[str, Callable[[dict[str, Any], dict[str, Any]], Awaitable[None]]] = {
            "PROMPT_REQUEST": self._prompt_request,
            "INTERRUPT_REQUEST": self._interrupt_request,
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "button_click": self._button_click,
            "PING": self._ping,
        }

    async def serve(self) -> None:
        reading = asyncio.create_task(self._take_messages())
        writing = asyncio.create_task(self.send_queue.run())
        closing = asyncio.create_task(self._closed.wait())
        self._subscriptions.overhear(self._services.socket_runs, self._services.user)
        try:
            await asyncio.wait({reading, writing, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing = True
            watching = [self._watching] if self._watching is not None else []
            tasks = [reading, writing, closing, *watching, *self._subscriptions.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- sending --------------------------------------------------------------------------------------------------

    async def _send(self, texts: Iterable[bytes]) -> None:
        """Send messages in order. A client that takes none for too long is sent away; its place is not lost."""
        left = iter(texts)
        for text in left:
            if self._closing:
                return
            if not self._write(text):
                await self._send_patiently(chain([text], left))

    async def _send_patiently(self, texts: Iterable[bytes]) -> None:
        try:
            async with asyncio.timeout(self._services.send_timeout_s):
                for text in texts:
                    if self._closing:
                        return
                    await self._websocket.send({"type": "websocket.send", "text": text.decode()})
        except TimeoutError:
            await self.close(WS_TOO_SLOW, "too slow: come back with SUBSCRIBE and after")
        except (WebSocketDisconnect, RuntimeError, OSError):
            self._closing = True
            self._closed.set()

    async def close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._websocket.close(code, reason)
        # Only now: this wakes `serve`, which cancels whoever called us.
        self._closed.set()

    async def _send_error(self, error: Exception, about: Mapping[str, Any]) -> None:
        body = told_of(error)
        await self.send_queue.put([own_frame("error", {"message": body.pop("error"), **body, **about})])

    # --- receiving ------------------------------------------------------------------------------------------------

    async def _take_messages(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not self._rate.take():
                await self.close(WS_TOO_FAST, f"more than {MESSAGES_PER_S:g} messages per second")
                return
            await self._handle(message.get("text") or message.get("bytes") or b"")

    async def _handle(self, data: str | bytes) -> None:
        try:
            frame = _parse(data)
        except BadRequest as error:
            await (self._refuse({}, error) if _is_plain_submission(data) else self._send_error(error, {}))
            return
        payload = frame["payload"]
        about = _about(payload)
        try:
            await self._handler(frame["type"])(payload, about)
        except Exception as error:
            await self._send_error(error, about)

    def _handler(self, kind: str) -> Callable[[dict[str, Any], dict[str, Any]], Awaitable[None]]:
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(self._handlers)
            what = "has no handler here" if kind in UNHANDLED else "is unknown"
            raise BadRequest(f"message type {shown(kind)} {what}; types are {known}", code="unknown_message_type")
        return handler

    # --- messages -------------------------------------------------------------------------------------------------

    async def _prompt_request(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        self._subscriptions.stop_overhearing()
        try:
            accepted = await self._services.runs.submit(payload, self._services.user, over_socket=True)
        except Exception as error:
            if payload.get("requestId") is not None:
                raise
            await self._refuse(payload, error)
            return
        echo = {"requestId": about["requestId"]} if "requestId" in about else {}
        await self._accept(accepted, echo)

    async def _accept(self, accepted: Accepted, echo: Mapping[str, Any]) -> None:
        await self.send_queue.put([own_frame("PROMPT_ACCEPTED_RESPONSE", {**accepted.to_json(), **echo})])
        self._subscriptions.follow(accepted.run, 0)

    async def _refuse(self, payload: Mapping[str, Any], error: Exception) -> None:
        """Tell a client that would not know what an `error` is about: its request becomes a run that ends at once."""
        self._subscriptions.stop_overhearing()
        refusal = await self._services.refusals.record(payload, self._services.user, error)
        if refusal.is_kept:
            await self._accept(Accepted(refusal.run), {})
            return
        accepted = own_frame("PROMPT_ACCEPTED_RESPONSE", Accepted(refusal.run).to_json())
        await self.send_queue.put([accepted, *(own_frame(*event) for event in refusal.events())])

    async def _interrupt_request(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        await self._services.runs.interrupt(_required_text(payload, "promptId"))

    async def _subscribe(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        self._subscriptions.stop_overhearing()
        self._subscriptions.whole_values = False
        if payload.get("runs") is True:
            await self._watch_runs()
            return
        run, after, log_id = _required_text(payload, "promptId"), payload.get("after", 0), payload.get("logId")
        if type(after) is not int or after < 0:
            raise BadRequest("'after' must be the seq of the last event you have, or 0")
        if run not in self._subscriptions and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise BadRequest(f"one socket follows at most {MAX_SUBSCRIPTIONS} runs", code="too_many_subscriptions")
        place = await self._services.reader.place(run, after, log_id if isinstance(log_id, str) else None)
        self._subscriptions.stop(run)
        told = {"promptId": run, "logId": place.log_id, "after": place.after, "lastSeq": place.last_seq}
        # Through the queue: what an earlier subscription still sends comes before it.
        await self.send_queue.put([own_frame("SUBSCRIBED", told)])
        self._subscriptions.follow(run, place.after, batch=payload.get("batch") is True)

    async def _watch_runs(self) -> None:
        """Once more starts anew: all open runs are told again."""
        self._unwatch_runs()
        self._watching = asyncio.create_task(self._send_changes())

    def _unwatch_runs(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _send_changes(self) -> None:
        watcher = RunsWatcher()
        await asyncio.sleep(max(0.0, self._watched_at + WATCH_AGAIN_S - time.monotonic()))
        self._watched_at = time.monotonic()
        try:
            await self._services.run_updates.join(watcher)
            # Only now: whoever loads the list after this answer must miss nothing.
            await self.send_queue.put([own_frame("SUBSCRIBED", {"runs": True})])
            await watcher.send_all(self.send_queue)
        except Exception as error:
            await self._send_error(error, {"runs": True})
            return
        finally:
            self._services.run_updates.leave(watcher)
        await self.close(WS_TOO_SLOW, "too slow: come back with SUBSCRIBE, and load the list anew")

    async def _unsubscribe(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        if payload.get("runs") is True:
            self._unwatch_runs()
            return
        self._subscriptions.stop(_required_text(payload, "promptId"))

    async def _ping(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        """A program in a browser does not see the protocol's own pings: it cannot tell silence from a lost network."""
        await self.send_queue.put([own_frame("PONG", {})])

    async def _button_click(self, payload: dict[str, Any], about: dict[str, Any]) -> None:
        node, button = str(payload.get("nodeId"))[:200], str(payload.get("buttonName"))[:200]
        logger.info("button %s", button, extra={"event": "button_click", "node": node})


def _is_plain_submission(data: str | bytes) -> bool:
    """Is this, though it cannot be read, a PROMPT_REQUEST without `requestId`, as ComfyTavern's editor writes it?"""
    text = data if isinstance(data, str) else data.decode(errors="replace")
    return _SUBMISSION.match(text) is not None and '"requestId"' not in text


def _parse(data: str | bytes) -> dict[str, Any]:
    try:
        frame = load_json(data.encode() if isinstance(data, str) else data)
    except InvalidWorkflow as error:
        raise BadRequest(error.problems[0].message, code=error.problems[0].code) from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise BadRequest("a message is a JSON object with 'type' and 'payload'")
    payload = frame.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise BadRequest("'payload' must be an object")
    beside = {"requestId": frame["requestId"]} if "requestId" in frame else {}
    return {**frame, "payload": {**(payload or {}), **beside}}


def _about(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer is about, as the client called it."""
    about = {key: payload.get(key) for key in ("promptId", "requestId")}
    return {key: name for key, name in about.items() if isinstance(name, str) and len(name) <= MAX_NAME_CHARS}


def _required_text(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key!r} is missing")
    return value
