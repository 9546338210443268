"""Real reverse proxies in front of a gateway, with the files of examples/proxy/."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


def program(name: str) -> str | None:
    """Its path: beside this Python, where packages put programs, or on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name)


def replaced(text: str, old: str, new: str) -> str:
    """An example with a line of its user's own."""
    assert old in text, f"the example has no {old!r} any more"
    return text.replace(old, new)


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A proxy until the block ends; it listens when the block begins."""
    environment = {"PATH": "/usr/sbin:/usr/bin", "HOME": str(folder), **(env or {})}
    with subprocess.Popen([str(program(command[0])), *command[1:]], env=environment, stderr=subprocess.PIPE) as it:
        try:
            deadline = time.monotonic() + 20
            while not listens(port):
                assert it.poll() is None, it.stderr and it.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            it.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
