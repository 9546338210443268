"""Functions in processes of their own, which are killed at their time or memory limit: `nodes.node.Scripts`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from innkeeper.nodes import errors as node_errors
from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError, NodeTimeout
from innkeeper.nodes.process.child_environment import child_environment
from innkeeper.nodes.services.function_call import from_json, to_json
from innkeeper.nodes.services.scripts_child import ANSWER, REQUEST
from innkeeper.nodes.tavern import environment

MAX_BYTES = 64 * 1024 * 1024
"""Of a request, and of an answer."""
START_S = 30.0
WAIT_S = 60.0
_MAX_MESSAGE = 2_000
_REAP_S = 5.0
# What Python and the libraries may know of the worker's environment; keys and tokens live there too.
_ENVIRONMENT = ("DATA_GYM_CACHE_DIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TIKTOKEN_CACHE_DIR", "TMPDIR")


class ScriptProcesses:
    """Calls functions in child processes that start when they are needed, are used again, and end when idle.

    A child knows nothing of the worker but what it is called with: no environment, no open files. It cannot write
    files. Answers are JSON, so that code which gets out of hand in a child cannot reach the worker through them.

    Args:
        max_processes: How many functions run at once; further calls wait, at most `wait_s`.
        memory_mb: What one child may fill.
        idle_s: An unused child ends after this time.
        max_bytes: Of the arguments and data of a call, and of its answer.
    """

    def __init__(
        self,
        max_processes: int = 2,
        memory_mb: int = 512,
        idle_s: float = 60.0,
        *,
        wait_s: float = WAIT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._max = max_processes
        self._memory_mb = memory_mb
        self._idle_s = idle_s
        self._wait_s = wait_s
        self._max_bytes = max_bytes
        self._turns = asyncio.Semaphore(max_processes)
        # Kept by the service: the kernel ends a child with the thread that started it.
        self._threads = ThreadPoolExecutor(max_processes + 1, thread_name_prefix="scripts")
        self._idle: dict[_Child, asyncio.TimerHandle] = {}
        self._busy: set[_Child] = set()
        self._is_closed = False

    async def call(
        self, function: str, arguments: Mapping[str, Any], *, data: bytes = b"", timeout_s: float = 10.0
    ) -> Any:
        """Call `module:name` (below `nodes`) with JSON arguments and, if there is any, `data=`; gives its JSON result.

        The time for a process to get free and to start is not counted.

        Raises:
            NodeTimeout: It ran longer than `timeout_s` (`timeout`).
            NodeError: It needed too much memory (`script_out_of_memory`), died (`script_died`), gave too much
                (`script_result_too_large`) or raised something that is not ours (`script_failed`); none of these is
                retryable. No process got free in time (`scripts_busy`), which is.
            NodeInputError: The arguments are too large (`too_large`).
            InnkeeperError: What the function itself raised, with its class, code, message and details.
        """
        request = _Request(function, arguments, data, timeout_s)
        async with self._slot_of_call(), self._lent() as child:
            return await self._asked(child, request)

    async def aclose(self) -> None:
        """End all processes; calls that are under way fail."""
        self._is_closed = True
        for timer in self._idle.values():
            timer.cancel()
        children = [*self._idle, *self._busy]
        self._idle.clear()
        for child in children:
            child.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for child in children:
            await asyncio.to_thread(child.end)

    @contextlib.asynccontextmanager
    async def _slot_of_call(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turns.acquire()
        except TimeoutError:
            message = f"all {self._max} script processes were busy for {self._wait_s:g} s; try again later"
            raise NodeError(message, code="scripts_busy") from None
        try:
            yield
        finally:
            self._turns.release()

    @contextlib.asynccontextmanager
    async def _lent(self) -> AsyncIterator[_Child]:
        if self._is_closed:
            raise NodeError("the worker is stopping", code="scripts_closed")
        child = self._idle_or_new_child()
        self._busy.add(child)
        try:
            yield child
        finally:
            self._busy.discard(child)
            if child.is_usable and not self._is_closed:
                self._idle[child] = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle, child)

    def _idle_or_new_child(self) -> _Child:
        while self._idle:
            # The last one used: the others may get old enough to end.
            child, timer = self._idle.popitem()
            timer.cancel()
            if child.is_alive:
                return child
            # The system ended it, for memory perhaps: not the fault of this call.
            self._threads.submit(child.end)
        return _Child(self._memory_mb, self._max_bytes)

    def _end_idle(self, child: _Child) -> None:
        if self._idle.pop(child, None) is not None:
            self._threads.submit(child.end)

    async def _asked(self, child: _Child, request: _Request) -> Any:
        asked = asyncio.wrap_future(self._threads.submit(child.ask, request))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            child.kill()
            # The thread notices within milliseconds; what it raises then is of no interest.
            with contextlib.suppress(Exception):
                await asyncio.shield(asked)
            raise


class _Request:
    def __init__(self, function: str, arguments: Mapping[str, Any], data: bytes, timeout_s: float) -> None:
        self.function = function
        self.arguments = arguments
        self.data = data
        self.timeout_s = timeout_s

    @property
    def details(self) -> dict[str, Any]:
        """For whoever looks after the node type; its users know no functions."""
        return {"function": self.function}

    def frame(self, max_bytes: int) -> tuple[bytes, bytes]:
        """Lengths and header, and the data."""
        told = {"function": self.function, "arguments": dict(self.arguments), "timeout_s": self.timeout_s}
        header = to_json(told)
        if len(header) + len(self.data) > max_bytes:
            raise NodeInputError(f"the values are over the limit of {max_bytes} bytes", code="too_large")
        return REQUEST.pack(len(header), len(self.data)) + header, self.data


class _Child:
    """One process and the socket to it. `kill` may be called from any thread, the rest from one at a time."""

    def __init__(self, memory_mb: int, max_bytes: int) -> None:
        self._memory_mb = memory_mb
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._is_killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def is_usable(self) -> bool:
        return not self._is_killed and self._process is not None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask(self, request: _Request) -> Any:
        """Send a request and read its answer. After anything unexpected the process is dead."""
        head, data = request.frame(self._max_bytes)
        try:
            answer = self._exchange(request, head, data)
        except BaseException:
            self.end()
            raise
        if "error" in answer:
            raise self._error(answer["error"])
        return answer["ok"]

    def kill(self) -> None:
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Kill the process and wait until it is gone."""
        self.kill()
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.wait(_REAP_S)

    def _exchange(self, request: _Request, head: bytes, data: bytes) -> Mapping[str, Any]:
        try:
            channel = self._started()
            channel.settimeout(START_S)
            channel.sendall(head)
            channel.sendall(data)
            answer = self._receive(channel, time.monotonic() + START_S)
            # An error comes at once when there is no such function.
            return _checked(answer or self._receive(channel, time.monotonic() + request.timeout_s))
        except TimeoutError:
            message = f"the work took longer than {request.timeout_s:g} s and was ended"
            raise NodeTimeout(message, details=request.details, retryable=False) from None
        except (OSError, EOFError):
            message = "the process that did the work ended unexpectedly; it may have needed too much memory"
            raise NodeError(message, code="script_died", details=request.details, retryable=False) from None
        except (ValueError, RecursionError):
            message = "the process that did the work sent an answer that cannot be read"
            raise NodeError(message, code="script_died", details=request.details, retryable=False) from None

    def _started(self) -> socket.socket:
        if self._socket is None:
            with self._lock:
                if self._is_killed:
                    raise EOFError
                self._socket, theirs = socket.socketpair()
                with theirs:
                    self._process = _start_child(theirs, self._memory_mb, self._max_bytes)
        return self._socket

    def _receive(self, channel: socket.socket, deadline: float) -> bytearray:
        (size,) = ANSWER.unpack(_receive_exactly(channel, ANSWER.size, deadline))
        if size > self._max_bytes:
            raise ValueError("too large")
        return _receive_exactly(channel, size, deadline)

    def _error(self, told: Mapping[str, Any]) -> InnkeeperError:
        error = _rebuilt(told)
        if error.code == "script_out_of_memory":
            self.end()
        return error


def _start_child(theirs: socket.socket, memory_mb: int, max_bytes: int) -> subprocess.Popen[bytes]:
    numbers = (os.getpid(), memory_mb, max_bytes)
    # -P: the folder of the module holds an http.py, which must not hide Python's. -S: the paths are ours already.
    command = [
        sys.executable,
        "-P",
        "-s",
        "-S",
        "-B",
        "-m",
        "innkeeper.nodes.services.scripts_child",
        *map(str, numbers),
    ]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=theirs.fileno(), stdout=nothing, stderr=nothing, env=_environment(), cwd="/")


def _environment() -> dict[str, str]:
    # A function gives the same when its node runs again, also where it goes through a set.
    return child_environment(_ENVIRONMENT, PYTHONHASHSEED="0", OPENBLAS_NUM_THREADS="1")


def _receive_exactly(channel: socket.socket, size: int, deadline: float) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        channel.settimeout(remaining)
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _checked(answer: bytearray) -> Mapping[str, Any]:
    """An answer of the one of two forms. Raises ValueError otherwise."""
    told = from_json(answer)
    if not isinstance(told, dict) or not ("ok" in told or isinstance(told.get("error"), dict)):
        raise ValueError("no answer")
    return told


def _known_errors() -> dict[str, type[InnkeeperError]]:
    """Error classes that a message and a code are enough to make."""
    plain = (InnkeeperError.__init__, NodeError.__init__)
    modules = (node_errors, environment)
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {kind.__name__: kind for kind in found if issubclass(kind, InnkeeperError) and kind.__init__ in plain}


_ERRORS = _known_errors()


def _rebuilt(told: Mapping[str, Any]) -> InnkeeperError:
    """The error a function raised; of a class unknown here its nearest known ancestor."""
    names = told.get("types")
    kind = (
        next((_ERRORS[name] for name in names if name in _ERRORS), NodeError) if isinstance(names, list) else NodeError
    )
    details = told.get("details")
    error = kind(
        str(told.get("message"))[:_MAX_MESSAGE],
        code=str(told.get("code"))[:100],
        details=details if isinstance(details, dict) else None,
    )
    error.retryable = told.get("retryable") is True
    return error
