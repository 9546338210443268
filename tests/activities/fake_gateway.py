"""A gateway's end of the worker socket as docs/worker-protocol.md has it, with knobs for everything that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from innkeeper.activities.link.node_attempt import NodeAttempt

TOKEN = "a worker's token"
MAX_FRAME = 8_000_000

Message = dict[str, Any]


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for a condition, and say so in time when it never comes true."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"it did not happen within {timeout_s} s")
        await asyncio.sleep(0.005)


@dataclass
class Connection:
    """One connection of a worker: its hello, its frames and what is not acknowledged yet."""

    socket: ServerConnection
    hello: dict[str, Any]
    frames: list[list[Message]] = field(default_factory=list)
    owed: list[Message] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        return [message for frame in self.frames for message in frame]


@dataclass
class FakeGateway:
    """Commits nothing, but acknowledges and answers.

    Attributes:
        holds: What must not be acknowledged yet; acknowledging stops in front of it.
        answer: The answer to an `open` that wants one; None acknowledges without an answer.
        refuse_status: HTTP status the upgrade is refused with.
        upgrade_s: Seconds until the upgrade is answered.
        close_code, close_reason: What every connection is closed with as soon as it was accepted.
    """

    port: int
    holds: Callable[[Message], bool] = lambda message: False
    answer: Callable[[Message], dict[str, Any] | None] = lambda message: {"s": "ok", "next": 0}
    refuse_status: int | None = None
    upgrade_s: float = 0.0
    close_code: int | None = None
    close_reason: str = ""
    tries: int = 0
    tokens: list[str | None] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    reloaded: list[dict[str, Any]] = field(default_factory=list)
    started: list[list[str]] = field(default_factory=list)
    _server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[Message]:
        """Every message once, in the order of its number."""
        first: dict[int, Message] = {}
        for connection in self.connections:
            for message in connection.messages:
                first.setdefault(message["n"], message)
        return [first[n] for n in sorted(first)]

    def sent(self, kind: str, path: str | None = None) -> list[Message]:
        return [m for m in self.messages if m["t"] == kind and path in (None, m.get("path"))]

    def kinds(self, path: str | None = None) -> list[str]:
        return [m["t"] for m in self.messages if path in (None, m.get("path"))]

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            compression=None,
            max_size=MAX_FRAME,
            process_request=self._admit,
            close_timeout=0.2,
        )

    async def stop(self) -> None:
        """Go away as a killed process does: connections break off, nobody listens."""
        if self._server is not None:
            self._server.close(close_connections=False)
            self.drop()
            self._server = None

    def drop(self) -> None:
        """Break the open connections without a goodbye."""
        for socket in self._server.connections if self._server else ():
            socket.transport.abort()

    async def release(self) -> None:
        """Acknowledge from now on, and what was held."""
        self.holds = lambda message: False
        await self._acknowledge(self.connections[-1])

    async def say(self, **frame: Any) -> None:
        await self.connections[-1].socket.send(orjson.dumps(frame))

    async def fence(self, attempt: NodeAttempt) -> None:
        await self.say(fenced=[[attempt.run, attempt.path, attempt.epoch]])

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.tries += 1
        self.tokens.append(request.headers.get("Authorization"))
        await asyncio.sleep(self.upgrade_s)
        if self.refuse_status is None:
            return None
        return connection.respond(self.refuse_status, "no")  # type: ignore[arg-type]

    async def _serve(self, socket: ServerConnection) -> None:
        if self.close_code is not None:
            await asyncio.sleep(0.02)  # on a network the worker's hello is on its way by then
            await socket.close(self.close_code, self.close_reason)
            return
        try:
            hello = orjson.loads(await socket.recv())
            connection = Connection(socket, hello["hello"])
            self.connections.append(connection)
            await socket.send(orjson.dumps({"ack": 0}))  # until we say something a worker counts us as away
            async for frame in socket:
                read = orjson.loads(frame)
                if "reloaded" in read:
                    self.reloaded.append(read["reloaded"])
                self.started.extend(read.get("started", []))
                messages = read.get("m", [])
                connection.frames.append(messages)
                connection.owed.extend(messages)
                await self._acknowledge(connection)
        except ConnectionClosed:
            pass

    async def _acknowledge(self, connection: Connection) -> None:
        frame: dict[str, Any] = {"replies": {}}
        while connection.owed and not self.holds(connection.owed[0]):
            message = connection.owed.pop(0)
            frame["ack"] = message["n"]
            if message["t"] == "open" and message["reply"]:
                answer = self.answer(message)
                if answer is not None:
                    frame["replies"][str(message["n"])] = answer
        if "ack" in frame:
            await connection.socket.send(orjson.dumps(frame))
