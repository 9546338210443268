"""The process in which `services.scripts` calls functions; it imports what the called function needs, no more.

Frames come and go on file descriptor 0, a socket. A request is two lengths (header, data), a header of JSON
`{function, arguments, timeout_s}` and raw data. It is answered twice: by an empty frame once the function is found,
so that imports do not count as its time, and by one length and JSON `{ok}` or `{error}`.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import struct
import sys
from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.errors import InnkeeperError, NodeError
from innkeeper.nodes.services.function_call import (
    OUT_OF_MEMORY,
    call_function,
    error_of_call,
    find_function,
    from_json,
    to_json,
)

REQUEST = struct.Struct(">II")
ANSWER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_GRACE_S = 5.0
"""How much later than its parent this process ends itself."""


def main() -> None:
    parent, memory_mb, max_answer_bytes = (int(text) for text in sys.argv[1:])
    _end_with(parent)
    _limit(memory_mb)
    # Ctrl-C reaches the whole group; the worker lets running nodes finish and ends us itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with _take_channel() as channel:
        while head := channel.read(REQUEST.size):
            _serve_call(channel, head, max_answer_bytes)


def _serve_call(channel: io.BufferedRWPair, head: bytes, max_answer_bytes: int) -> None:
    header_size, data_size = REQUEST.unpack(head)
    answer, is_full = _answer_call(channel, header_size, data_size)
    if len(answer) > max_answer_bytes:
        error = NodeError(f"the result is over the limit of {max_answer_bytes} bytes", code="script_result_too_large")
        answer = _error_json(error, retryable=False)
    _send_answer(channel, answer)
    if is_full:
        # What is left after a want of memory is in pieces: the next call deserves a fresh process.
        sys.exit()


def _answer_call(channel: io.BufferedRWPair, header_size: int, data_size: int) -> tuple[bytes, bool]:
    """The answer, and whether memory ran out."""
    name = "script"
    try:
        request = from_json(channel.read(header_size))
        data = channel.read(data_size)
        name = request["function"]
        find_function(name)
        _send_answer(channel, b"")
        with _LastResort(request["timeout_s"] + _GRACE_S):
            return to_json({"ok": call_function(name, request["arguments"], data)}), False
    except Exception as error:
        told = error_of_call(name, error)
    return _error_json(told), told.code == OUT_OF_MEMORY


def _send_answer(channel: io.BufferedRWPair, answer: bytes) -> None:
    channel.write(ANSWER.pack(len(answer)))
    channel.write(answer)
    channel.flush()


def _error_json(error: InnkeeperError, retryable: bool | None = None) -> bytes:
    told: dict[str, Any] = {
        "types": [kind.__name__ for kind in type(error).__mro__],
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable if retryable is None else retryable,
    }
    try:
        return to_json({"error": {**told, "details": error.details}})
    except (InnkeeperError, RecursionError):
        return to_json({"error": told})


class _LastResort(contextlib.AbstractContextManager[None]):
    """The kernel ends this process when the parent, whose task it is, has not."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *exc_info: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _take_channel() -> io.BufferedRWPair:
    """The socket, moved away from descriptor 0, where a function that asks for input would read from it."""
    channel = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    return io.BufferedRWPair(io.FileIO(channel), io.FileIO(channel, "w", closefd=False))


def _end_with(parent: int) -> None:
    """Linux kills us with the thread that started us; elsewhere the socket ends, and the alarm is left."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent process has ended")


def _limit(memory_mb: int) -> None:
    """Bound the memory this process may fill (not what it may reserve: V8 reserves gigabytes), and forbid files."""
    limits: Mapping[int, int] = {
        resource.RLIMIT_DATA: memory_mb * 1024 * 1024,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        # macOS knows some of these limits but lets nobody set them.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main()
