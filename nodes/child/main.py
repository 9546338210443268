"""The process of a node with `placement="process"`: loads its file, runs it once, and tells the worker how it went.

It speaks over one socket (`frames`). From the worker comes what to run, then an answer to each call. To the worker go
`call` (a service, or the next chunk of a stream), `item` (a chunk), `progress`, `warn`, `log`, and one last `done` or
`failed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

from innkeeper.nodes.catalogue.loader import import_definitions
from innkeeper.nodes.child.frames import HEAD, STREAM, Json, from_frame, packed, to_frame, unpacked
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import InnkeeperError, InvalidNode, NodeError
from innkeeper.nodes.node import Chunk, NodeContext, Outputs, Services
from innkeeper.nodes.traces import trace_of, where_of

_PR_SET_PDEATHSIG = 1
OFFERED = {
    "secrets": ("reveal", "from_environment", "setting"),
    "resources": ("read_bytes", "write_bytes"),
    "blobs": ("put", "get"),
}
"""The services that a node in a process has. The others hold connections of the worker."""
_AT_ONCE = frozenset({"from_environment", "setting"})


class Call:
    """A call to the worker: `await` it, or in a plain function ask for its `result()`."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self._future).__await__()

    def result(self, timeout_s: float | None = None) -> Any:
        return self._future.result(timeout_s)


class Worker:
    """The other end of the socket. Sending and calling may be done from any thread."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._calls: dict[int, Future[Any]] = {}

    def send(self, message: Json) -> None:
        frame = to_frame(message)
        with self._lock:
            self._channel.sendall(frame)

    def call(self, service: str, method: str, args: list[Any]) -> Call:
        number, future = next(self._numbers), Future[Any]()
        self._calls[number] = future
        self.send({"t": "call", "n": number, "service": service, "method": method, "args": packed(args)})
        return Call(future)

    def receive(self) -> Json:
        (size,) = HEAD.unpack(self._exactly(HEAD.size))
        return from_frame(self._exactly(size))

    def listen(self) -> None:
        """Hand answers to those who wait for them; for ever, in a thread."""
        while True:
            try:
                message = self.receive()
            except (OSError, EOFError):
                os._exit(1)  # the worker has ended, and with it whoever wants to know
            future = self._calls.pop(message["n"], None)
            if future is None:
                continue
            if message.get("end"):
                future.set_exception(StopAsyncIteration())
            elif "error" in message:
                future.set_exception(NodeError(**message["error"]))
            else:
                future.set_result(unpacked(message.get("value")))

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._channel.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data


class RemoteService:
    """A service of the worker; says so when it has no such method here."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker = worker
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method not in OFFERED.get(self._name, ()):
            known = ", ".join(OFFERED)
            message = f"services.{self._name}.{method} is not there with placement 'process'; there are {known}"
            raise InvalidNode(message, code="no_such_service")

        def call(*args: Any) -> Any:
            found = self._worker.call(self._name, method, list(args))
            return found.result() if method in _AT_ONCE else found

        return call


class RemoteStream:
    """A stream input, chunk by chunk; for `async for`, and for `for` in a plain function."""

    def __init__(self, worker: Worker, address: list[Any]) -> None:
        self._worker = worker
        self._address = address

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        found: Chunk = await self._worker.call(STREAM, "next", self._address)
        return found

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        try:
            found: Chunk = self._worker.call(STREAM, "next", self._address).result()
        except StopAsyncIteration:
            raise StopIteration from None
        return found


class _LogToWorker(logging.Handler):
    """Log lines of the node, which the worker writes with run and node."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            self._worker.send({"t": "log", "level": record.levelno, "text": record.getMessage()})


class _Warnings(list[dict[str, str]]):
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def append(self, warning: dict[str, str]) -> None:
        super().append(warning)
        self._worker.send({"t": "warn", **warning})


def main() -> None:
    number, parent, memory_mb = (int(text) for text in sys.argv[1:])
    _end_with(parent)
    _limit(memory_mb)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker ends us itself
    signal.signal(signal.SIGTERM, _stop)
    worker = Worker(socket.socket(fileno=number))
    told = worker.receive()
    threading.Thread(target=worker.listen, daemon=True).start()
    try:
        worker.send({"t": "done", "outputs": packed(asyncio.run(_run(worker, told)))})
    except BaseException as error:  # also what a node raises to end its process
        worker.send({"t": "failed", **_described(error)})


async def _run(worker: Worker, told: Json) -> Any:
    definition = _definition(told)
    mode = definition.modes.get(told["mode"]) if told["mode"] else None
    execute: Any = (mode.execute if mode else None) or definition.execute
    answer = execute(_inputs(worker, told), _context(worker, told))
    if inspect.isawaitable(answer):
        return _mapping(await answer)
    if inspect.isasyncgen(answer):
        async with contextlib.aclosing(answer):
            async for item in answer:
                if _is_last(worker, item):
                    return _mapping(item)
        return {}
    if inspect.isgenerator(answer):
        with contextlib.closing(answer):
            return next((_mapping(item) for item in answer if _is_last(worker, item)), {})
    return _mapping(answer)


def _is_last(worker: Worker, item: object) -> bool:
    if isinstance(item, Outputs):
        return True
    if not isinstance(item, Chunk):
        raise InvalidNode(f"the node yielded {type(item).__name__}; yield Chunk, or Outputs last")
    worker.send({"t": "item", "chunk": packed(item)})
    return False


def _mapping(outputs: Any) -> Any:
    return {} if outputs is None else outputs


def _definition(told: Json) -> NodeDefinition:
    found = import_definitions(Path(told["root"]), Path(told["file"]))
    for definition in found:
        if definition.type == told["type"]:
            return definition
    raise InvalidNode(f"{told['file']!r} defines no node type {told['type']!r} any more; start the worker again")


def _inputs(worker: Worker, told: Json) -> dict[str, Any]:
    inputs: dict[str, Any] = unpacked(told["inputs"])
    for key, count in told["streams"].items():
        found = [RemoteStream(worker, [key, index]) for index in range(count or 1)]
        inputs[key] = found if count is not None else found[0]
    return inputs


def _context(worker: Worker, told: Json) -> NodeContext:
    logger = logging.getLogger("innkeeper.node")
    logger.setLevel(told["log_level"])
    logger.addHandler(_LogToWorker(worker))
    remote: Any = {name: RemoteService(worker, name) for name in Services.__dataclass_fields__}
    return NodeContext(
        services=Services(**remote),
        random=random.Random(told["seed"]),
        progress=lambda value, maximum: worker.send({"t": "progress", "value": value, "max": maximum}),
        logger=logger,
        warnings=_Warnings(worker),
        **unpacked(told["context"]),
    )


def _described(error: BaseException) -> Json:
    """An error in the form in which the worker rebuilds it."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException)]
    told: Json = {
        "kinds": kinds,
        "message": _text(error),
        "where": where_of(error),
        "trace": trace_of(error),
        "traceback": "".join(traceback.format_exception(error))[-7_000:],
    }
    if isinstance(error, InnkeeperError):
        told |= {"message": str(error.message), "code": str(error.code), "retryable": bool(error.retryable)}
        told |= {
            name: value for name in ("delay_s", "retry_after") if (value := getattr(error, name, None)) is not None
        }
        with contextlib.suppress(Exception):
            told["details"] = from_frame(to_frame(packed(error.details))[HEAD.size :])
    return told


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # whatever the `__str__` of a node's own class does
        return type(error).__name__


def _stop(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _end_with(parent: int) -> None:
    """Linux kills us with the worker; elsewhere the socket's end does it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker has ended")


def _limit(memory_mb: int) -> None:
    for kind, limit in ((resource.RLIMIT_AS, memory_mb * 1024 * 1024), (resource.RLIMIT_CORE, 0)):
        # macOS knows some of these limits but lets nobody set them.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main()
