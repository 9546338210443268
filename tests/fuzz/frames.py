"""Frames of the worker socket, both ways: the worker's link and the gateway's end of it, each with real parts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.websockets import WebSocketState

from innkeeper.activities.link.follower import Follower
from innkeeper.activities.link.frames import LinkFrames
from innkeeper.activities.link.gateway_frame import MalformedFrame
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.run_starts import RunStarts
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.events.writer import LogWriter
from tests.fuzz.campaign import Broken, Target
from tests.fuzz.mutation import Json, Mutator, keys_in

RUN = "r"
EPOCH = [1, 0]
TOKEN = "a worker's token"

TO_WORKER: tuple[Json, ...] = (
    {"ack": 3},
    {"ack": 4, "replies": {"4": {"s": "ok", "next": 0}}},
    {"replies": {"4": {"s": "ok", "next": 1, "used": 1, "text": "Long ago."}}},
    {"replies": {"4": {"s": "ok", "next": 1, "kept": {"text": "a", "reasoning": "", "kinds": ["text_chunk"],
                                                      "legs": [[1, 1]], "usage": {}, "finish": "stop"}}}},
    {"ack": 5, "fenced": [[RUN, "n", EPOCH], [RUN, "m", [2, 1]]]},
    {"ack": 8, "replies": {"8": {"s": "finished", "outputs": {"response": {"text": "x", "chunks": 1}}}}},
    {"ack": 2, "replies": {"2": {"s": "fenced"}}, "drain": 1},
    {"ack": 2, "reload": "5f0c2a9be1d34477"},
    {"ack": 2, "interrupted": [RUN]},
    {"starts": [{"run": "5f0c2a9be1d34477a811", "until": 1796000000000, "request": "CglpbgoJaW4="}]},
    {"streams": [{"id": "f1", "origin": [2, 0], "i": 0, "chunks": [{"type": "text_chunk", "content": "a"}]}]},
    {"streams": [{"id": "f1", "origin": EPOCH, "i": 4, "chunks": [], "end": {"type": "NODE_COMPLETE"}},
                 {"id": "f2", "origin": None, "end": {"type": "NODE_ERROR", "error": {"message": "boom"}}}]},
)  # fmt: skip
"""Frames of a gateway, as docs/worker-protocol.md has them."""

MESSAGES: tuple[Json, ...] = (
    {"t": "open", "path": "n", "epoch": EPOCH, "type": "core:TextMerge", "reply": True, "resume": None},
    {"t": "open", "path": "n", "epoch": [2, 0], "type": "core:TextMerge", "reply": True, "keep": True},
    {"t": "chunk", "path": "n", "epoch": EPOCH, "i": 0, "chunk": {"type": "text_chunk", "content": "a"}, "u": 1},
    {"t": "gap", "path": "n", "epoch": EPOCH, "from": 0, "to": 3},
    {"t": "progress", "path": "n", "epoch": EPOCH, "value": 1, "max": 2},
    {"t": "complete", "path": "n", "epoch": EPOCH, "outputs": {"text": "x"}, "end": True, "cached": True},
    {"t": "complete", "path": "n", "epoch": EPOCH, "outputs": {}, "warnings": [{"code": "a", "message": "b"}]},
    {"t": "warning", "path": "n", "epoch": EPOCH, "code": "a", "message": "b"},
    {"t": "retry", "path": "n", "epoch": EPOCH, "code": "a", "message": "b", "retryAt": "2026", "kind": "wait"},
    {"t": "fact", "path": "m", "type": "NODE_ERROR", "payload": {"errorDetails": {"code": "x", "message": "y"}}},
    {"t": "fact", "path": "m", "type": "NODE_SKIPPED", "payload": {"reason": "dead", "output": {}}},
    {"t": "fact", "path": "m", "type": "NODE_EXECUTING", "payload": {"attempt": 1}},
    {"t": "fact", "path": "m", "type": "NODE_PROGRESS", "payload": {"value": 1, "max": 3}},
    {"t": "fact", "path": "m", "type": "NODE_WAITING", "payload": {"kind": "event", "until": None}},
    {"t": "fact", "path": "m", "type": "APPROVAL_REQUIRED", "payload": {"data": {"$blob": "x"}, "form": []}},
    {"t": "fact", "path": "m", "type": "APPROVAL_ANSWERED", "payload": {"approvalId": "m", "answer": {}}},
    {"t": "fact", "path": "m", "type": "NODE_BYPASSED", "payload": {"pseudoOutputs": {"a": 1}}},
    {"t": "status", "status": "running", "errorInfo": {"message": "x"}},
    {"t": "drained", "token": 1},
)
"""Messages of a worker, without their number and run."""
TO_GATEWAY: tuple[Json, ...] = (
    {"m": [{"n": 1, "run": RUN, **MESSAGES[0]}, {"n": 2, "run": RUN, **MESSAGES[1]}]},
    *({"m": [{"n": n, "run": RUN, **message}]} for n, message in enumerate(MESSAGES, 1)),
    {"follow": [{"id": "f1", "run": RUN, "path": "n", "origin": None, "next": 0}]},
    {"follow": [{"id": "f1", "run": RUN, "path": "n", "origin": EPOCH, "next": 2}], "unfollow": ["f2"]},
    {"got": [["f1", 1]], "unfollow": ["f1"]},
    {"reloaded": {"token": "5f0c2a9be1d34477"}},
    {"reloaded": {"token": "5f0c2a9be1d34477", "error": "ImportError"}, "m": []},
    {"started": [["5f0c2a9be1d34477a811", "started"], ["b", "stopping"]]},
    {"m": []},
)
HELLO = {"hello": {"worker": "w", "queues": ["innkeeper"], "protocol": 1,
                   "starts": {"queue": "innkeeper", "namespace": "a"}}}  # fmt: skip


# --- gateway to worker --------------------------------------------------------------------------------------------


async def _start(run: str, request: bytes) -> bool:
    return True


class WorkerEnd:
    """A link as it is while nodes run: messages wait, answers are waited for, streams are followed."""

    def __init__(self) -> None:
        self.link = GatewayLink("http://off", "", "w")
        self.frames = LinkFrames(
            queue=self.link._queue,
            limits=self.link._limits,
            answers=self.link._answers,
            follows=self.link._follows,
            availability=self.link._availability,
            fence_callbacks=self.link._fence_callbacks,
            send=self.link._send,
            starts=RunStarts(lambda: None, _start),
        )
        self.followers = [self.link.follow(RUN, path, asyncio.Event()) for path in ("n", "m")]
        self.attempt = NodeAttempt(RUN, "n", (1, 0))
        self.link.on_fenced(self.attempt, lambda: None)
        for index in range(8):
            self.link.chunk(self.attempt, index, {"type": "text_chunk", "content": "a"})
        self.waiting = [asyncio.ensure_future(self.link._answers.answer(n, 60)) for n in (2, 4, 8)]

    async def close(self) -> None:
        for future in self.waiting:
            future.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)

    def receive(self, data: bytes | str) -> bool:
        """Take a frame; False when it is refused. Whatever it was, the next frame can be made."""
        try:
            self.frames.receive(data)
        except MalformedFrame:
            return False
        finally:
            self.frames.next_frame()
            self.frames.connected()
            self.frames.next_frame()
        return True

    async def check(self) -> None:
        """A normal conversation works: a message is acknowledged, an attempt fenced, a stream read to its end."""
        fenced: list[int] = []
        self.link.on_fenced(self.attempt, lambda: fenced.append(1))
        n = self.link.send_complete(self.attempt, {"out": 1})
        follower = self.link.follow(RUN, "p", asyncio.Event())
        answer = asyncio.ensure_future(self.link._answers.answer(n or 0, 5))
        await asyncio.sleep(0)
        chunks = [{"type": "text_chunk", "content": "a"}]
        block = {"id": follower.id, "origin": EPOCH, "i": 0, "chunks": chunks, "end": {"type": "NODE_COMPLETE"}}
        normal = {
            "ack": n,
            "replies": {str(n): {"s": "ok", "next": 7}},
            "fenced": [[RUN, "n", EPOCH]],
            "streams": [block],
        }
        if not self.receive(orjson.dumps(normal)):
            raise Broken("a normal frame is refused")
        read = await _read_all(follower)
        if not (
            self.link._answers.is_acknowledged(n or 0) and fenced and read == chunks and len(self.link._queue) == 0
        ):
            raise Broken("a normal frame is not taken")
        if (await answer).next != 7:
            raise Broken("an answer is not given")
        self.link.unfollow(follower)


async def _read_all(follower: Follower) -> list[Any]:
    reader, found = follower.begin_reading(), []
    async for chunk in reader:
        found.append(chunk.to_json())
    return found


def to_worker_target(mutator: Mutator) -> Target:
    """Frames of a gateway, as the worker's link reads them off its socket."""
    keys = keys_in(TO_WORKER)
    ends: list[WorkerEnd] = []

    def feed(data: bytes) -> None:
        if not ends:
            ends.append(WorkerEnd())
        ends[0].receive(data)

    async def check() -> None:
        if ends:
            await ends[0].check()
            await ends.pop().close()

    return Target("gateway-to-worker", 300, lambda: mutator.json_input(TO_WORKER, keys), feed, check, check_every=50)


# --- worker to gateway --------------------------------------------------------------------------------------------


class FakeSocket:
    """A worker's connection as `WorkerSockets` sees it: it says what it was given, and then waits or leaves."""

    application_state = WebSocketState.CONNECTED

    def __init__(self, frames: Sequence[bytes], *, hello: bytes | None = None, stays: bool = False) -> None:
        self.headers = Headers({"authorization": f"Bearer {TOKEN}"})
        self.sent: list[Any] = []
        self.closed: int | None = None
        self._frames = [hello or orjson.dumps(HELLO), *frames]
        self._stays = stays
        self._told = asyncio.Event()

    async def accept(self) -> None: ...

    async def receive(self) -> dict[str, Any]:
        if self._frames:
            return {"type": "websocket.receive", "bytes": self._frames.pop(0)}
        while self._stays and self.closed is None and not self._is_answered:
            self._told.clear()
            await self._told.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    @property
    def _is_answered(self) -> bool:
        return any(frame.get("replies") or frame.get("ack") for frame in self.sent)

    async def send_bytes(self, data: bytes) -> None:
        self.sent.append(orjson.loads(data))
        self._told.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = code
        self._told.set()


class GatewayEnd:
    """The gateway's end with a real log in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._stack = contextlib.AsyncExitStack()
        self.sockets: WorkerSockets | None = None
        self.writer: LogWriter | None = None

    async def __aenter__(self) -> GatewayEnd:
        self._number += 1
        self.writer = await self._stack.enter_async_context(open_writer(self._folder / f"{self._number}.db"))
        self.sockets = WorkerSockets(self.writer, TOKEN)
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._stack.aclose()

    async def feed(self, frames: Sequence[bytes]) -> None:
        if self.sockets is None:
            await self.__aenter__()
        assert self.sockets is not None
        hello, *others = frames
        await self.sockets.handle(FakeSocket(others, hello=hello))  # type: ignore[arg-type]

    async def check(self) -> None:
        """Another run is served as if nothing had been; then everything begins anew, so that nothing gathers."""
        if self.sockets is None:
            return
        assert self.writer is not None
        message = {"n": 1, "run": "other", "t": "open", "path": "n", "epoch": EPOCH, "type": "x", "reply": True}
        socket = FakeSocket([orjson.dumps({"m": [message]})], stays=True)
        await self.sockets.handle(socket)  # type: ignore[arg-type]
        answers = [frame["replies"]["1"] for frame in socket.sent if "replies" in frame]
        if not self.writer.healthy or not answers or answers[0].get("s") != "ok":
            raise Broken(f"a normal message is not taken: {socket.sent} {socket.closed}")
        folded = await LogWriter(self.writer.log, Hub(self.writer.log))._load(RUN)
        state = await self.writer.state(RUN)
        if folded is None or (state is not None and folded != state):
            raise Broken("the log cannot be read again as it was written")
        await self._stack.aclose()
        self.sockets = None


@contextlib.asynccontextmanager
async def open_writer(file: Path) -> AsyncIterator[LogWriter]:
    """A log with an open run (`r`) and another one (`other`)."""
    log = await SqliteEventLog.open(file)
    writer = LogWriter(log, Hub(log))
    await writer.start()
    for run in (RUN, "other"):
        await writer.create_run(run, {"interface_streams": {"n": [["k", None]]}})
    try:
        yield writer
    finally:
        await writer.stop()
        await log.close()
        for path in file.parent.glob(f"{file.name}*"):
            path.unlink()


def to_gateway_target(mutator: Mutator, folder: Path) -> Target:
    """Frames of a worker, through the handler of its socket and the writer into a real log."""
    end, keys = GatewayEnd(folder), keys_in(TO_GATEWAY)

    def make() -> list[bytes]:
        # Behind a hello that is refused nothing is read.
        hello = mutator.json_input([HELLO]) if mutator.rng.random() < 0.1 else orjson.dumps(HELLO)
        return [hello, *(_message_frame(mutator, keys) for _ in range(mutator.rng.choice((1, 1, 2, 4))))]

    return Target("worker-to-gateway", 100, make, end.feed, end.check, check_every=500)


def _message_frame(mutator: Mutator, keys: Sequence[str]) -> bytes:
    """One frame; in most of them only a message is odd, because the envelope is refused before all others."""
    if mutator.rng.random() < 0.4:
        return mutator.json_input(TO_GATEWAY, keys)
    messages = [mutator.rng.choice(MESSAGES) for _ in range(mutator.rng.choice((1, 2, 4)))]
    changed = [mutator.changed(message) if mutator.rng.random() < 0.7 else message for message in messages]
    numbered = [{"n": n, "run": RUN, **it} for n, it in enumerate(changed, 1) if isinstance(it, dict)]
    return mutator.text({"m": numbered})
