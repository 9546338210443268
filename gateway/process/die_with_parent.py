"""Runs a command that must not outlive its parent, even when the parent is killed with SIGKILL.

A script of its own (`python -I -S die_with_parent.py ...`) that imports nothing of the project, so it costs 15 ms:

    exec PARENT_PID COMMAND...    Linux: the kernel is asked to kill us with the parent, then we become COMMAND
    watch PIPE_FD COMMAND...      elsewhere: we stay, and end COMMAND when the parent's end of the pipe closes
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_GRACE_S = 3.0


def exec_tied(parent: int, command: Sequence[str]) -> None:
    """Become `command`; the kernel kills it when the thread that started us ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent process has ended")
    os.execv(command[0], list(command))


def run_watched(pipe: int, command: Sequence[str]) -> int:
    """Run `command` until it ends or the pipe does; gives its exit code (128 + signal when it was killed)."""
    # Signals come to the whole process group, so the command gets them without us; a handler, unlike
    # "ignore", is not inherited by it.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(command, close_fds=False)
    while process.poll() is None:
        closed, _, _ = select.select([pipe], [], [], 0.1)
        if closed:
            return _end(process)
    return _shell_code(process.returncode)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    process.kill()
    return _shell_code(process.wait())


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Here, before the command begins: databases, logs and histories are for this user only.
    os.umask(0o077)
    kind, number, *rest = sys.argv[1:]
    if kind == "exec":
        exec_tied(int(number), rest)
    sys.exit(run_watched(int(number), rest))
