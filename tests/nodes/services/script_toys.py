"""Functions that misbehave in every way; the tests of `services.scripts` put this file beside those of `nodes`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from innkeeper.nodes.errors import NodeMustWait, ProviderError, ResourceError
from innkeeper.nodes.tavern.environment import BadPattern

calls = 0


def count() -> int:
    global calls
    calls += 1
    return calls


def pid() -> int:
    return os.getpid()


def echo(value: Any) -> Any:
    return value


def size(data: bytes = b"") -> int:
    return len(data)


def forever() -> None:
    while True:
        pass


def deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    forever()


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def bomb() -> int:
    return len([bytearray(1000) for _ in range(10**9)])


def dig(depth: int) -> int:
    return dig(depth + 1) + 1


def huge(count: int) -> str:
    return "x" * count


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def chatter() -> str:
    print("noise on stdout")
    os.write(1, b"noise on descriptor 1")
    print("noise on stderr", file=sys.stderr)
    return sys.stdin.read()


def environment() -> dict[str, str]:
    return dict(os.environ)


def open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # that of the listing itself
    return found


def write_file(path: str) -> None:
    Path(path).write_text("written")


def set_of_words() -> list[str]:
    return list({"a", "b", "c", "d", "e", "f"})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit("bye")


def babble() -> None:
    """Write nonsense to wherever the answers go."""
    for number in range(3, 20):
        try:
            os.write(number, b"\x00\x00\x00\x05hello" * 10)
        except OSError:
            continue
    time.sleep(60)


def not_json() -> object:
    return object()


def fail(kind: str) -> None:
    raise {
        "ours": ResourceError("there is no file", code="resource_not_found", details={"path": "a"}),
        "pattern": BadPattern("bad"),
        "subclass": _Special("special", code="special_code", retryable=True),
        "wait": NodeMustWait("later", delay_s=1),
        "foreign": KeyError("the user's words"),
        "details": ResourceError("odd", details={"x": object()}),
    }[kind]


class _Special(ProviderError):
    pass
