"""The gateway's end of the worker socket: takes the workers' messages, acknowledges what is committed, answers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from innkeeper.gateway.events.fence import (
    FENCED,
    INTERRUPTING,
    STATUS,
    Event,
    MalformedMessage,
    ProtocolError,
    StoredOutputs,
    StoredStream,
    StoredText,
)
from innkeeper.gateway.events.fields import count_of, epoch_of, text_of
from innkeeper.gateway.events.followers import Followers, TooManyFollows
from innkeeper.gateway.events.worker_starts import StartsOfWorker, WorkerStarts
from innkeeper.gateway.events.writer import LogWriter, Result, Source
from innkeeper.nodes.worker_protocol import (
    MALFORMED,
    MAX_REASON_BYTES,
    OUT_OF_ORDER,
    RESTARTING,
    TOO_LARGE,
    UNSUPPORTED_VERSION,
    VERSION_BEFORE_FIELD,
    WRONG_TOKEN,
    StartPlace,
    version_refusal,
)

logger = logging.getLogger(__name__)

MAX_FRAME_BYTES = 8_000_000
MAX_UNCOMMITTED_BYTES = 16_000_000
MESSAGES_PER_SUBMISSION = 250
MAX_PENDING_ANSWERS = 2000
REMEMBERED_WORKERS = 256
MAX_INTERRUPTED = 10_000
FRAME_BYTES = 1_000_000
"""Answers and blocks of streams are each gathered up to here; the next frame takes the rest."""
MAX_NAME_CHARS = 200
MAX_PATH_CHARS = 2000


@dataclass(frozen=True)
class WorkerInfo:
    """A connected worker process. `connected_ms`: since when, milliseconds since 1970."""

    worker: str
    queues: tuple[str, ...]
    connected_ms: int


@dataclass(frozen=True)
class Reloaded:
    """How many workers have loaded their plugins anew, and how many have not, or not yet."""

    workers: int
    missing: int


class _Refused(Exception):
    """The connection ends with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(eq=False)
class _Session:
    """One connection: what is owed to the worker, and how much of it is not committed yet."""

    websocket: WebSocket
    info: WorkerInfo
    source: Source
    followers: Followers
    starts: StartsOfWorker
    owes: asyncio.Event
    ack: int | None = None
    replies: dict[str, Any] = field(default_factory=dict)
    fenced: dict[tuple[Any, ...], None] = field(default_factory=dict)
    # The first frame has this field, though empty: it promises that interrupted runs will be told. Of more than
    # MAX_INTERRUPTED while a worker does not read, it notices the oldest by its heartbeats.
    interrupted: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_INTERRUPTED))
    tells_interrupted: bool = True
    drain: int | None = None
    drained: int = 0
    reload: str | None = None
    reloaded: tuple[str, bool] | None = None
    close: tuple[int, str] | None = None
    is_over: bool = False
    uncommitted_bytes: int = 0
    progressed: asyncio.Event = field(default_factory=asyncio.Event)

    def take_frame(self) -> dict[str, Any]:
        """Everything owed but answers, as one frame."""
        frame: dict[str, Any] = {}
        # An acknowledgement says that the answers are there as well: after a lost connection nobody asks again.
        if self.ack is not None and not self.replies:
            frame["ack"], self.ack = self.ack, None
        if self.fenced:
            frame["fenced"], self.fenced = [[run, path, epoch] for run, path, *epoch in self.fenced], {}
        if self.tells_interrupted:
            frame["interrupted"], self.tells_interrupted = list(self.interrupted), False
            self.interrupted.clear()
        if self.drain is not None:
            frame["drain"], self.drain = self.drain, None
        if self.reload is not None:
            frame["reload"], self.reload = self.reload, None
        if self.close is None and (blocks := self.followers.take(FRAME_BYTES)):
            frame["streams"] = [orjson.Fragment(block) for block in blocks]
        if self.close is None and (starts := self.starts.take(FRAME_BYTES)):
            frame["starts"] = starts
        if not self.replies and (self.close is not None or not (self.followers.has_more or self.starts.has_more)):
            self.owes.clear()
        self.progressed.set()
        return frame


class WorkerSockets:
    """All worker connections of this gateway.

    Args:
        token: What a worker must show in `Authorization: Bearer`.
        max_uncommitted: Bytes of one connection that may wait for their commit before its next frame is read.

    Attributes:
        starts: Has workers start runs.
    """

    def __init__(
        self,
        writer: LogWriter,
        token: str,
        *,
        max_frame: int = MAX_FRAME_BYTES,
        max_uncommitted: int = MAX_UNCOMMITTED_BYTES,
    ) -> None:
        self._writer, self._token = writer, token
        self._max_frame, self._max_uncommitted = max_frame, max_uncommitted
        self.starts = WorkerStarts()
        self._sessions: set[_Session] = set()
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._refusals: OrderedDict[str, str] = OrderedDict()
        self._drains = 0
        self._drained = asyncio.Event()
        self._reload: str | None = None
        self._reloaded = asyncio.Event()

    def workers(self) -> list[WorkerInfo]:
        """Connected workers, oldest connection first."""
        return sorted((session.info for session in self._sessions), key=lambda info: info.connected_ms)

    def knows(self, authorization: str) -> bool:
        """Is this header what one of our workers shows?"""
        return hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode())

    async def handle(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends. Serve it with `ws_max_size` of at least 8 MB and without compression."""
        # Only an accepted connection can be closed with a code of our own.
        await websocket.accept()
        try:
            self._check_token(websocket)
            session = await self._hello(websocket)
        except WebSocketDisconnect:
            return
        except _Refused as refused:
            await _close(websocket, refused.code, refused.reason)
            return
        await self._serve(session)

    async def drain(self, timeout_s: float) -> bool:
        """Have every connected worker send what it holds, and wait until that is in the log.

        Returns:
            False when a worker had not answered in time. One that disconnects is not waited for.
        """
        self._drains += 1
        wanted = self._drains
        asked = set(self._sessions)
        for session in asked:
            # Higher tokens imply the lower ones: a later answer stands behind everything queued before.
            session.drain = wanted
            session.owes.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._missing(asked, wanted):
                    await self._drained.wait()
        return not self._missing(asked, wanted)

    async def reload(self, timeout_s: float) -> Reloaded:
        """Have every worker load its plugins anew, and wait for their answers. One that connects later is asked then.

        A worker goes on with what it runs meanwhile. One that disconnects is not waited for.
        """
        self._reload = wanted = secrets.token_hex(8)
        asked = set(self._sessions)
        for session in asked:
            session.reload = wanted
            session.owes.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while any((session.reloaded or ("", False))[0] != wanted for session in asked & self._sessions):
                    await self._reloaded.wait()
        done = [session for session in asked if session.reloaded == (wanted, True)]
        return Reloaded(len(done), len((asked & self._sessions).difference(done)))

    def observe(self, events: Sequence[Event]) -> None:
        """Tell every worker of runs that are being interrupted, by the events of a commit."""
        if not any(event["type"] == STATUS and event["payload"]["status"] == INTERRUPTING for event in events):
            return
        for session in self._sessions:
            session.interrupted.append(events[0]["payload"]["promptId"])
            session.tells_interrupted = True
            session.owes.set()

    def close_all(self) -> None:
        """Tell every worker that the gateway restarts."""
        for session in self._sessions:
            _end(session, RESTARTING, "the gateway restarts")

    # --- one connection -------------------------------------------------------------------------------------------

    def _check_token(self, websocket: WebSocket) -> None:
        if not self.knows(websocket.headers.get("authorization", "")):
            raise _Refused(WRONG_TOKEN, "wrong worker token")

    async def _hello(self, websocket: WebSocket) -> _Session:
        frame, _ = await self._frame(websocket)
        hello = frame.get("hello")
        worker = hello.get("worker") if isinstance(hello, dict) else None
        if not isinstance(hello, dict) or not isinstance(worker, str) or len(worker) > MAX_NAME_CHARS:
            raise _Refused(MALFORMED, f"the first frame must be a hello with the worker's id (to {MAX_NAME_CHARS})")
        self._check_version(hello)
        queues = hello.get("queues") or []
        if not isinstance(queues, list) or not all(isinstance(queue, str) for queue in queues):
            raise _Refused(MALFORMED, "the queues of a hello must be a list of texts")
        info = WorkerInfo(hello["worker"], tuple(queues), time.time_ns() // 1_000_000)
        owes = asyncio.Event()
        followers = Followers(self._writer.streams, self._writer.log, owes.set)
        starts = StartsOfWorker(_start_place(hello.get("starts")), owes.set)
        return _Session(websocket, info, self._source(info.worker), followers, starts, owes)

    def _check_version(self, hello: Mapping[str, Any]) -> None:
        version = hello.get("protocol", VERSION_BEFORE_FIELD)
        if type(version) is not int:  # `true` is an int to isinstance
            raise _Refused(MALFORMED, "the protocol of a hello must be a whole number")
        if (reason := version_refusal(version)) is not None:
            self._log_refusal(hello["worker"][:MAX_NAME_CHARS], reason)
            raise _Refused(UNSUPPORTED_VERSION, reason)

    def _log_refusal(self, worker: str, reason: str) -> None:
        # A refused worker comes again every second: the operator is told once.
        if self._refusals.get(worker) == reason:
            return
        self._refusals[worker] = reason
        while len(self._refusals) > REMEMBERED_WORKERS:
            self._refusals.popitem(last=False)
        logger.warning("worker %r was refused: %s", worker, reason)

    def _source(self, worker: str) -> Source:
        """A fresh connection that remembers where the worker's earlier ones stumbled."""
        before = self._sources.pop(worker, Source())
        self._sources[worker] = Source(before.suspects, before.lost)
        while len(self._sources) > REMEMBERED_WORKERS:
            self._sources.popitem(last=False)
        return self._sources[worker]

    async def _serve(self, session: _Session) -> None:
        self._sessions.add(session)
        self.starts.add(session.starts)
        # Says that we are here and listen: until then a worker counts the gateway as away.
        session.ack = 0
        session.reload = self._reload
        session.owes.set()
        logger.info("worker %s connected", session.info.worker)
        sender = asyncio.create_task(self._send(session))
        try:
            await self._take_frames(session)
        except WebSocketDisconnect:
            pass
        except _Refused as refused:
            _end(session, refused.code, refused.reason)
            await sender
        finally:
            sender.cancel()
            session.followers.close()
            self.starts.remove(session.starts)
            self._sessions.discard(session)
            self._notify_drains()
            self._notify_reloads()
            logger.info("worker %s disconnected", session.info.worker)

    async def _take_frames(self, session: _Session) -> None:
        while True:
            frame, size = await self._frame(session.websocket)
            messages = frame.get("m", [])
            if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
                raise _Refused(MALFORMED, "a message needs t, n and run")
            self._submit(session, messages, size)
            _change_follows(session.followers, frame)
            if "reloaded" in frame:
                session.reloaded = _reload_answer(frame["reloaded"])
                self._notify_reloads()
            if "started" in frame:
                _take_started(session.starts, frame["started"])
            await self._writer.room()
            while self._is_behind(session):
                session.progressed.clear()
                await session.progressed.wait()

    def _is_behind(self, session: _Session) -> bool:
        """Memory is bounded: what is not committed and what the worker does not fetch hold up its next frame."""
        unsent = len(session.replies) > MAX_PENDING_ANSWERS and not session.is_over
        return unsent or session.uncommitted_bytes > self._max_uncommitted

    async def _frame(self, websocket: WebSocket) -> tuple[dict[str, Any], int]:
        received = await websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1006))
        data = received.get("bytes") or b""
        if len(data) > self._max_frame:
            raise _Refused(TOO_LARGE, f"a frame may have {self._max_frame} bytes")
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise _Refused(MALFORMED, "a frame must be one JSON object, sent as binary") from error
        if not isinstance(frame, dict):
            raise _Refused(MALFORMED, "a frame must be one JSON object")
        return frame, len(data)

    def _submit(self, session: _Session, messages: Sequence[dict[str, Any]], size: int) -> None:
        """In slices, so that a large frame neither holds the loop for long nor waits for its last message."""
        for start in range(0, len(messages), MESSAGES_PER_SUBMISSION):
            part = messages[start : start + MESSAGES_PER_SUBMISSION]
            share = size * len(part) // len(messages)
            session.uncommitted_bytes += share
            done = partial(self._committed, session, part, share)
            self._writer.submit(part, done, size=share, source=session.source)

    def _committed(
        self, session: _Session, messages: Sequence[dict[str, Any]], size: int, results: Sequence[Result]
    ) -> None:
        session.uncommitted_bytes -= size
        for message, result in zip(messages, results, strict=False):
            if isinstance(result, ProtocolError):
                code = MALFORMED if isinstance(result, MalformedMessage) else OUT_OF_ORDER
                _end(session, code, result.message)
                break
            self._answer(session, message, result)
        session.owes.set()
        session.progressed.set()

    def _answer(self, session: _Session, message: dict[str, Any], result: Result) -> None:
        session.ack = message["n"]
        if message["t"] == "drained":
            session.drained = max(session.drained, message.get("token") or 0)
            self._notify_drains()
        elif message["t"] == "open" and message.get("reply"):
            session.replies[str(message["n"])] = result
        elif result is FENCED and (attempt := _attempt_of(message)) is not None:
            session.fenced[attempt] = None

    async def _send(self, session: _Session) -> None:
        """Send what is owed, as one frame at a time; ends the connection when that is owed."""
        try:
            # Whatever closes the connection also sets `owes`: the last answers go out before it.
            while not session.is_over:
                await session.owes.wait()
                replies = await self._replies(session)
                frame = session.take_frame()
                if replies:
                    frame["replies"] = replies
                if frame:
                    await session.websocket.send_bytes(orjson.dumps(frame))
                if session.close is not None and not session.owes.is_set():
                    await _close(session.websocket, *session.close)
                    session.is_over = True
        except (WebSocketDisconnect, RuntimeError):
            logger.debug("worker %s left before its answer", session.info.worker)
        finally:
            session.is_over = True
            session.progressed.set()

    async def _replies(self, session: _Session) -> dict[str, Any]:
        """Answers, in order, as many as fit in one frame. Texts are read only now, one at a time: they may be large."""
        replies: dict[str, Any] = {}
        size = 0
        while session.replies and size < FRAME_BYTES:
            n = next(iter(session.replies))
            if isinstance(session.replies[n].get("kept"), StoredStream):
                await self._read_kept(session)
            encoded = orjson.dumps(await self._whole(session.replies[n]))
            replies[n] = orjson.Fragment(encoded)
            size += len(encoded)
            del session.replies[n]
        return replies

    async def _read_kept(self, session: _Session) -> None:
        """Put what streams hold into the next answer, and into others of its run: all in one pass over the log."""
        asked = {
            n: answer["kept"] for n, answer in session.replies.items() if isinstance(answer.get("kept"), StoredStream)
        }
        found = await self._writer.streams.kept(list(asked.values()))
        for n, stream in asked.items():
            if stream in found:
                session.replies[n] = {**session.replies[n], "kept": found[stream]}

    async def _whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer with what it only names: read from the log now, and not kept."""
        if isinstance(text := answer.get("text"), StoredText):
            return {**answer, "text": await self._writer.streams.text(text)}
        if isinstance(asked := answer.get("outputs"), StoredOutputs):
            outputs = await self._writer.streams.outputs(asked)
            return FENCED if outputs is None else {**answer, "outputs": outputs}
        return answer

    # --- drains ---------------------------------------------------------------------------------------------------

    def _missing(self, asked: set[_Session], wanted: int) -> bool:
        return any(session.drained < wanted for session in asked & self._sessions)

    def _notify_drains(self) -> None:
        self._drained.set()
        self._drained = asyncio.Event()

    def _notify_reloads(self) -> None:
        self._reloaded.set()
        self._reloaded = asyncio.Event()


def _reload_answer(answer: Any) -> tuple[str, bool]:
    """The request that a worker answers, and whether it could carry it out: else it has logged why."""
    try:
        return text_of(answer["token"], MAX_NAME_CHARS), "error" not in answer
    except (KeyError, TypeError, ValueError) as error:
        raise _Refused(MALFORMED, f"reloaded cannot be read: {type(error).__name__}") from error


def _start_place(starts: Any) -> StartPlace | None:
    if starts is None:
        return None
    try:
        return StartPlace(text_of(starts["queue"], MAX_NAME_CHARS), text_of(starts["namespace"], MAX_NAME_CHARS))
    except (KeyError, TypeError, ValueError) as error:
        raise _Refused(MALFORMED, "the starts of a hello must name a queue and a namespace") from error


def _take_started(starts: StartsOfWorker, answers: Any) -> None:
    try:
        starts.receive(answers)
    except (TypeError, ValueError) as error:
        raise _Refused(MALFORMED, f"started cannot be read: {type(error).__name__}") from error


def _is_message(message: Any) -> bool:
    """Has it the envelope that the writer relies on? What is inside, the fence decides."""
    if not isinstance(message, dict) or type(message.get("n")) is not int:
        return False
    kind = message.get("t")
    if kind == "drained":
        return "run" not in message and isinstance(message.get("token"), int | None)
    return isinstance(kind, str) and isinstance(message.get("run"), str)


def _attempt_of(message: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Whose message it is; None when it does not say so in a way that a worker would understand."""
    path = message.get("path")
    try:
        return (message["run"], path, *epoch_of(message["epoch"])) if isinstance(path, str) else None
    except (KeyError, TypeError, ValueError):
        return None


def _change_follows(followers: Followers, frame: Mapping[str, Any]) -> None:
    try:
        for item in frame.get("follow", ()):
            origin, next = item.get("origin"), item.get("next", 0)
            origin = None if origin is None else epoch_of(origin)
            run, path = text_of(item["run"], MAX_NAME_CHARS), text_of(item["path"], MAX_PATH_CHARS)
            followers.follow(text_of(item["id"], MAX_NAME_CHARS), run, path, origin=origin, next=count_of(next))
        for id in frame.get("unfollow", ()):
            followers.unfollow(text_of(id, MAX_NAME_CHARS))
        for id, next in frame.get("got", ()):
            followers.got(text_of(id, MAX_NAME_CHARS), count_of(next))
    except TooManyFollows as error:
        raise _Refused(MALFORMED, error.message) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _Refused(MALFORMED, f"follow, unfollow or got cannot be read: {type(error).__name__}") from error


def _end(session: _Session, code: int, reason: str) -> None:
    session.close = session.close or (code, reason)
    session.owes.set()


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
