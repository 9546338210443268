"""The worker's one socket to the gateway: an outbox that keeps what is not acknowledged and sends it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from innkeeper.activities.follower import Epoch, Follower
from innkeeper.nodes.errors import InvalidNode

log = logging.getLogger("innkeeper.link")

StreamKey = tuple[str, str, Epoch]
MAX_FRAME = 1_000_000
"""Bytes of messages gathered into one frame; the gateway takes 8 MB."""
MAX_MESSAGE = 4_000_000
"""Bytes of one message: with others it must fit a frame of 8 MB, or it would be refused and resent for ever."""
MAX_STREAM_PENDING = 4_000_000
MAX_PENDING = 64_000_000
MAX_RECEIVED = 16_000_000
WRONG_TOKEN = 4401
LINGER_S = 0.003
_RECONNECT_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


@dataclass(frozen=True)
class Answer:
    """What the log says to an OPEN. `status`: `ok`, `fenced`, `finished` (with the logged outputs) or `away`.

    `next`, `used`, `text`: where a resumed node goes on: its next chunk, the input chunks consumed, the text so far.
    """

    status: str
    next: int = 0
    outputs: dict[str, Any] | None = None
    used: int = 0
    text: str = ""


@dataclass
class _Message:
    n: int
    data: bytes
    stream: StreamKey | None = None


@dataclass
class _Stream:
    """What is known of one epoch's stream on its way: bytes not acknowledged, and the chunks dropped meanwhile."""

    pending: int = 0
    gap_from: int | None = None
    gap_to: int = 0


@dataclass
class _Outbox:
    messages: deque[_Message] = field(default_factory=deque)
    sent: int = 0
    next_n: int = 1
    chunk_bytes: int = 0


@dataclass
class _Say:
    """What the next frame says about followed streams; ids in order, each once."""

    follow: dict[str, None] = field(default_factory=dict)
    got: dict[str, None] = field(default_factory=dict)
    unfollow: list[str] = field(default_factory=list)


class GatewayLink:
    """Sends events to the gateway and waits for their acknowledgement.

    Everything here runs on the worker's event loop. Sending never blocks; memory is bounded by dropping chunks
    (a `gap` says which), because only viewers read them.
    """

    def __init__(
        self, url: str, token: str, worker_id: str, *, queues: Sequence[str] = (), flush_timeout_s: float = 30.0
    ) -> None:
        self._url = url.replace("http", "ws", 1) + "/internal/worker"
        self._token = token
        self._hello = {"hello": {"worker": worker_id, "queues": list(queues)}}
        self._flush_timeout_s = flush_timeout_s
        self._out = _Outbox()
        self._streams: dict[StreamKey, _Stream] = {}
        self._failures = 0
        self._followers: dict[str, Follower] = {}
        self._follows = 0
        self._say = _Say()
        self._acked_event = asyncio.Event()
        self._acked = 0
        self._ack_waiters: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._reply_waiters: dict[int, asyncio.Future[Answer]] = {}
        self._fence_callbacks: dict[tuple[str, str, Epoch], Callable[[], None]] = {}
        self._wake = asyncio.Event()
        self._away = False
        self._give_up: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    # --- for the wrapper ------------------------------------------------------------------------------------------

    def open(self, run: str, path: str, epoch: Epoch, type: str, resume: Epoch | None = None) -> None:
        """Announce the first attempt of a node; nobody waits for the answer.

        It may lie for a moment: the end of a quick node then travels and is committed with its beginning.
        """
        self._send_open(run, path, epoch, type, resume, reply=False)

    async def ask_open(self, run: str, path: str, epoch: Epoch, type: str, resume: Epoch | None = None) -> Answer:
        """Announce a later attempt and wait for what the log says; `away` when the gateway is away too long.

        `resume`: where the input begins, of a node that can go on where its earlier attempt stopped.
        """
        n = self._send_open(run, path, epoch, type, resume, reply=True)
        if self._away:
            return Answer("away")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._reply_waiters[n] = future
        try:
            # A gateway that is there but cannot commit (disk full) is waited for no longer than one that is away.
            async with asyncio.timeout(self._flush_timeout_s):
                return await future
        except TimeoutError:
            return Answer("away")
        finally:
            self._reply_waiters.pop(n, None)

    def _send_open(self, run: str, path: str, epoch: Epoch, type: str, resume: Epoch | None, *, reply: bool) -> int:
        message = {"t": "open", "run": run, "path": path, "epoch": epoch, "type": type, "reply": reply}
        return self._send(message if resume is None else {**message, "resume": resume}, at_once=reply)

    def chunk(
        self,
        run: str,
        path: str,
        epoch: Epoch,
        index: int,
        chunk: dict[str, Any],
        *,
        used: int | None = None,
        keep: bool = False,
    ) -> None:
        """Send one chunk, or drop it and remember the gap when too much is waiting already.

        `keep`: another node reads it, so it is never dropped; the caller waits for `room`. `used`: how many input
        chunks a resumable node has consumed. Raises InvalidNode for a chunk that is no JSON or too large.
        """
        key = (run, path, epoch)
        stream = self._streams.setdefault(key, _Stream())
        if not keep and not self.has_room(*key):
            stream.gap_from = index if stream.gap_from is None else stream.gap_from
            stream.gap_to = index
            return
        self._flush_gap(run, path, epoch, stream)
        message = {"t": "chunk", "run": run, "path": path, "epoch": epoch, "i": index, "chunk": chunk}
        self._send(message if used is None else {**message, "u": used}, stream=key)

    def has_room(self, run: str, path: str, epoch: Epoch) -> bool:
        """Is little enough of this stream, and of all together, on its way that another chunk may join it?"""
        stream = self._streams.get((run, path, epoch))
        return (stream is None or stream.pending <= MAX_STREAM_PENDING) and self._out.chunk_bytes <= MAX_PENDING

    async def room(self, run: str, path: str, epoch: Epoch) -> None:
        """Wait until there is room again; for as long as the gateway is away."""
        while not self.has_room(run, path, epoch):
            self._acked_event.clear()
            await self._acked_event.wait()

    def progress(self, run: str, path: str, epoch: Epoch, value: float, maximum: float) -> None:
        """Say how far a node is; worth nothing later, so nothing is kept while the gateway is away."""
        if not self.connected.is_set():
            return
        self._send({"t": "progress", "run": run, "path": path, "epoch": epoch, "value": value, "max": maximum})

    async def complete(
        self,
        run: str,
        path: str,
        epoch: Epoch,
        outputs: dict[str, Any],
        *,
        end: bool,
        must: bool = False,
        cached: bool = False,
    ) -> bool:
        """Send NODE_COMPLETE and wait until it is logged; False when the gateway is away too long to wait for.

        `must`: another node waits for this end in the log, so this one waits however long the gateway is away.
        """
        self.close_stream(run, path, epoch)
        n = self.say_complete(run, path, epoch, outputs, end=end, cached=cached)
        logged = await self.acknowledged(n)
        while must and not logged:
            await self.connected.wait()
            logged = await self.acknowledged(n)
        return logged

    def say_complete(
        self, run: str, path: str, epoch: Epoch, outputs: dict[str, Any], *, end: bool = False, cached: bool = False
    ) -> int:
        """Send NODE_COMPLETE, and wait for nothing; gives the number to wait for (`acknowledged`)."""
        message = {"t": "complete", "run": run, "path": path, "epoch": epoch, "outputs": outputs, "end": end}
        return self._send({**message, "cached": True} if cached else message)

    # --- for consumers of streams ---------------------------------------------------------------------------------

    def follow(self, run: str, path: str, restarted: asyncio.Event) -> Follower:
        """Read a stream from the log. `restarted` is set when the producer begins anew after reading began."""
        self._follows += 1
        follower = Follower(f"f{self._follows}", run, path, self, restarted)
        self._followers[follower.id] = follower
        self._say.follow[follower.id] = None
        self._wake.set()
        return follower

    def unfollow(self, follower: Follower) -> None:
        if self._followers.pop(follower.id, None) is not None:
            self._say.follow.pop(follower.id, None)
            self._say.got.pop(follower.id, None)
            self._say.unfollow.append(follower.id)
            self._wake.set()

    def got(self, follower: Follower) -> None:
        self._say.got[follower.id] = None
        self._wake.set()

    def close_stream(self, run: str, path: str, epoch: Epoch) -> None:
        """Say what was dropped at the end of a stream, and forget the stream."""
        stream = self._streams.get((run, path, epoch))
        if stream is not None:
            self._flush_gap(run, path, epoch, stream)
            if not stream.pending:
                self._streams.pop((run, path, epoch), None)

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        """Pass on an event of the interpreter."""
        self._send({"t": "fact", "run": run, "path": path, "type": type, "payload": payload})

    def on_fenced(self, run: str, path: str, epoch: Epoch, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the log says that this epoch is over; gives back a function that forgets it."""
        key = (run, path, epoch)
        self._fence_callbacks[key] = callback

        def forget() -> None:
            self._fence_callbacks.pop(key, None)

        return forget

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._went_away()
        self._task = asyncio.create_task(self._keep_connected(), name="gateway-link")

    async def stop(self, drain_s: float = 2.0) -> None:
        """Send what is left, for at most `drain_s`, then close."""
        if self._out.messages and self.connected.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self.acknowledged(self._out.messages[-1].n)
        if self._give_up is not None:
            self._give_up.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._connect_and_serve()
            except InvalidStatus as refused:
                log.warning("the gateway refused this worker with status %d", refused.response.status_code)
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
                log.warning("the gateway sent a frame that cannot be read: %s", type(error).__name__)
            except (OSError, TimeoutError, WebSocketException) as error:
                log.debug("gateway away: %s", type(error).__name__)
            self._went_away()
            delay = _RECONNECT_S[min(self._failures, len(_RECONNECT_S) - 1)]
            self._failures += 1
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))

    async def _connect_and_serve(self) -> None:
        async with connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._token}"},
            compression=None,
            max_size=MAX_RECEIVED,
            proxy=None,
            open_timeout=5,
            close_timeout=1,
        ) as socket:
            await socket.send(orjson.dumps(self._hello))
            self._say = _Say(follow=dict.fromkeys(self._followers))
            self._out.sent = 0  # what was sent on an earlier connection may not have arrived: all of it goes again
            await self._serve(socket)

    async def _serve(self, socket: ClientConnection) -> None:
        reader = asyncio.create_task(self._read(socket))
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            while not reader.done():
                self._wake.clear()
                frame = self._next_frame()
                if frame is not None:
                    await socket.send(frame)
                else:
                    await self._wake.wait()
            reader.result()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _next_frame(self) -> bytes | None:
        """Everything pending that fits, as one frame."""
        out = self._out
        parts: list[bytes] = []
        size = 0
        while out.sent < len(out.messages) and (not parts or size < MAX_FRAME):
            data = out.messages[out.sent].data
            parts.append(data)
            size += len(data)
            out.sent += 1
        fields = [b'"m":[' + b",".join(parts) + b"]"] if parts else []
        fields += self._follow_fields()
        return b"{" + b",".join(fields) + b"}" if fields else None

    def _follow_fields(self) -> list[bytes]:
        say, self._say = self._say, _Say()
        wanted = [self._followers[id].wants() for id in say.follow if id in self._followers]
        got = [[id, self._followers[id].consumed] for id in say.got if id in self._followers]
        given = {"follow": wanted, "unfollow": say.unfollow, "got": got}
        return [b'"' + key.encode() + b'":' + orjson.dumps(value) for key, value in given.items() if value]

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                self._take(orjson.loads(frame))
        except ConnectionClosed:
            pass
        _tell_closed(socket.close_code or 1006)

    def _take(self, frame: dict[str, Any]) -> None:
        # Only what it says ends an outage: a gateway that accepts and hangs up again is still away.
        self._came_back()
        for n, answer in (frame.get("replies") or {}).items():
            waiter = self._reply_waiters.get(int(n))
            if waiter is not None and not waiter.done():
                waiter.set_result(_answer(answer))
        for run, path, epoch in frame.get("fenced") or ():
            callback = self._fence_callbacks.get((run, path, (epoch[0], epoch[1])))
            if callback is not None:
                callback()
        for block in frame.get("streams") or ():
            follower = self._followers.get(block["id"])
            if follower is not None:
                follower.take(block)
        if "ack" in frame:
            self._acknowledge(frame["ack"])
        if "drain" in frame:
            self._send({"t": "drained", "token": frame["drain"]})

    # --- inside ---------------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any], stream: StreamKey | None = None, *, at_once: bool = True) -> int:
        n = self._out.next_n
        data = _encode({"n": n, **message})
        self._out.next_n += 1
        self._out.messages.append(_Message(n, data, stream))
        if stream is not None:
            self._streams[stream].pending += len(data)
            self._out.chunk_bytes += len(data)
        if at_once:
            self._wake.set()
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self._wake.set)
        return n

    def _flush_gap(self, run: str, path: str, epoch: Epoch, stream: _Stream) -> None:
        if stream.gap_from is None:
            return
        gap = {"t": "gap", "run": run, "path": path, "epoch": epoch, "from": stream.gap_from, "to": stream.gap_to}
        stream.gap_from = None
        self._send(gap)

    def _acknowledge(self, n: int) -> None:
        out = self._out
        self._acked = max(self._acked, n)
        while out.messages and out.messages[0].n <= n:
            message = out.messages.popleft()
            out.sent = max(0, out.sent - 1)
            if message.stream is not None:
                self._chunk_arrived(message)
        self._acked_event.set()
        while self._ack_waiters and self._ack_waiters[0][0] <= n:
            _set(self._ack_waiters.popleft()[1], True)

    def _chunk_arrived(self, message: _Message) -> None:
        self._out.chunk_bytes -= len(message.data)
        stream = self._streams.get(message.stream) if message.stream else None
        if stream is not None:
            stream.pending -= len(message.data)
            if stream.pending <= 0 and stream.gap_from is None:
                self._streams.pop(message.stream or ("", "", (0, 0)))

    async def acknowledged(self, n: int) -> bool:
        """Wait until message `n` is logged; False when the gateway is away too long to wait for."""
        if n <= self._acked:
            return True
        if self._away:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ack_waiters.append((n, future))  # n only rises, so the queue stays sorted
        return await future

    def _went_away(self) -> None:
        self.connected.clear()
        if self._give_up is None and not self._away:
            self._give_up = asyncio.get_running_loop().call_later(self._flush_timeout_s, self._stop_waiting)

    def _came_back(self) -> None:
        if self.connected.is_set():
            return
        self._failures = 0
        self._away = False
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        self.connected.set()

    def _stop_waiting(self) -> None:
        """Waiting is per outage, not per node: from now on nobody waits, until the socket is back."""
        self._give_up = None
        self._away = True
        log.warning("gateway away for %s s: runs go on without it", self._flush_timeout_s)
        while self._ack_waiters:
            _set(self._ack_waiters.popleft()[1], False)
        for waiter in self._reply_waiters.values():
            _set(waiter, Answer("away"))


class NullLink(GatewayLink):
    """Events off, for measuring the engine alone: nothing is sent and nothing waited for."""

    def __init__(self) -> None:
        super().__init__("http://off", "", "off")

    def _send(self, message: dict[str, Any], stream: StreamKey | None = None, *, at_once: bool = True) -> int:
        return 0

    def start(self) -> None:
        self._away = True


def _answer(data: dict[str, Any]) -> Answer:
    used, text = data.get("used") or 0, data.get("text") or ""
    return Answer(data["s"], data.get("next") or 0, data.get("outputs"), used, text)


def _tell_closed(code: int) -> None:
    if code == WRONG_TOKEN:
        log.warning("the gateway refused this worker: wrong token (INNKEEPER_WORKER_TOKEN, or worker.token)")
    else:
        log.log(logging.WARNING if 4000 <= code < 5000 else logging.DEBUG, "the gateway closed the socket: %d", code)


def _encode(message: dict[str, Any]) -> bytes:
    try:
        data = orjson.dumps(message)
    except TypeError as error:
        raise InvalidNode(f"what the node sent is not JSON data: {error}") from None
    if len(data) > MAX_MESSAGE:
        detail = f"a message of {len(data)} bytes is over the limit of {MAX_MESSAGE}; send smaller chunks"
        raise InvalidNode(detail, code="chunk_too_large")
    return data


def _set(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
