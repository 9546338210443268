"""How the worker process ends: when it is told to, and only then."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from innkeeper.nodes.process.event_loop import loop_factory

log = logging.getLogger("innkeeper.worker")

SECOND_GRACE_S = 10.0
"""What is left after the nodes' grace for cancelled nodes to end and for the last events to be sent."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LAST_LINE_S = 1.0
T = TypeVar("T")


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """Run the worker, as `asyncio.run` does, past a SystemExit or KeyboardInterrupt of some task.

    asyncio stops the loop for these, whatever task raises them: one that a node has started would end the worker and
    with it the nodes of all other runs.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                if task.done():
                    raise
                log.warning("a task raised %s; the worker goes on", type(error).__name__)


def stop_on_signals(stop: asyncio.Event, grace_s: float) -> None:
    """Set `stop` at SIGTERM or SIGINT; end the process when it has not ended `grace_s` and a second grace later.

    A thread of its own waits for the signal: a node that blocks the event loop blocks the loop's signal handlers too.
    Call it in the main thread, on the loop of `stop`.
    """
    waiting, signalled = socket.socketpair()
    signalled.setblocking(False)
    for number in _STOP_SIGNALS:
        signal.signal(number, _taken)
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    loop = asyncio.get_running_loop()

    def wait_for_signal() -> None:
        with waiting, signalled:  # held here: the wake-up file must stay open
            while not set(waiting.recv(1)) & set(_STOP_SIGNALS):
                pass
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)
            threading.Event().wait(grace_s + SECOND_GRACE_S)
            _end_now(grace_s + SECOND_GRACE_S)

    threading.Thread(target=wait_for_signal, name="stop-signals", daemon=True).start()


def _taken(number: int, frame: object) -> None:
    """Python must handle the signal for the wake-up file to get it."""


def _end_now(after_s: float) -> None:
    """End the process without the main thread, which may hold the lock of the log."""
    message = "the worker did not stop within %g s and ends itself; a node may ignore that it was cancelled"
    last_line = threading.Thread(target=log.error, args=(message, after_s), daemon=True)
    last_line.start()
    last_line.join(_LAST_LINE_S)
    os._exit(1)
