"""A thread with an event loop of its own, in which code of plugins runs: what blocks it blocks nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import logging
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import Any

from innkeeper.nodes.traces import author_frame, place_of

log = logging.getLogger("innkeeper.worker")

TURN_S = 0.25
"""How often a loop shows that it turns."""
GATHER_S = 0.001
"""How long what is told in passing may wait for more. Waking another loop costs more than a chunk does."""


class NodeAborted(BaseException):
    """Raised inside a node that did not stop when it was asked to. No `Exception`: a node must not go on after it."""


class LoopThread:
    """One thread, one loop. After `close` it ends with what still runs in it; it never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        # Task to the task that began it: what a node starts in the background is a part of the node.
        self._roots: weakref.WeakKeyDictionary[asyncio.Task[Any], asyncio.Task[Any]] = weakref.WeakKeyDictionary()
        self._is_closing = False
        self._calls: deque[tuple[contextvars.Context, Callable[..., object], tuple[object, ...]]] = deque()
        self._is_woken = False
        self._news: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._home: asyncio.AbstractEventLoop | None = None
        self._told_at = 0.0
        self._tells_soon = False
        self._tells_later = False
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """Call it in the thread. Many calls cost one wake-up: each costs more than what most nodes do."""
        self._calls.append((contextvars.copy_context(), callback, args))
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing of it is left to be told
                self._loop.call_soon_threadsafe(self._take_calls)

    def tell(self, home: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
        """From this thread: call it on another loop, always the same one, with all else that this turn has to tell.

        Telling lets go of the interpreter lock: one by one, two busy threads would take turns for each node.
        """
        self._home = home
        self._news.append((callback, args))
        if not self._tells_soon:
            self._tells_soon = True
            self._loop.call_soon(self.tell_all)

    def tell_at_once(self, home: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
        """As `tell`, for a thread that may not come to the end of its turn for long."""
        self._home = home
        self._news.append((callback, args))
        self.tell_all()

    def tell_in_passing(self, home: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
        """As `tell`, for what comes often: at once, but within `GATHER_S` of the last telling with what else comes.

        Who never lets go of its turn tells all the same, whenever that time is over.
        """
        self._home = home
        self._news.append((callback, args))
        left_s = self._told_at + GATHER_S - time.monotonic()
        if left_s <= 0:
            self.tell_all()
        elif not self._tells_later:
            self._tells_later = True
            self._loop.call_later(left_s, self.tell_all)

    def take_news(self) -> None:
        """On the other loop: what this thread has to tell, without waiting for its turn."""
        while self._news:
            callback, args = self._news.popleft()
            callback(*args)

    def start(
        self, work: Coroutine[Any, Any, Any], name: str, done: Callable[[asyncio.Task[Any]], None]
    ) -> Callable[[], asyncio.Task[Any] | None]:
        """Run work; `done` is called in this thread. Gives a function that tells the task, None before it began."""
        begun: list[asyncio.Task[Any]] = []

        def begin() -> None:
            task = self._loop.create_task(work, name=name)
            begun.append(task)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            task.add_done_callback(done)

        self.call_soon(begin)
        return lambda: begun[0] if begun else None

    @property
    def stood_still_s(self) -> float:
        """For how long the loop has had no turn."""
        return time.monotonic() - self._turned_at

    def restart_standstill(self) -> None:
        """Count from now on for how long the loop has had no turn."""
        self._turned_at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def current(self) -> asyncio.Task[Any] | None:
        """The task that has the loop to itself right now; of one that another task has begun, that one."""
        task = asyncio.current_task(self._loop)
        return self._roots.get(task, task) if task is not None else None

    def place(self) -> str:
        """Where in its author's code the thread is: `file:line in function`; empty when that cannot be told."""
        return place_in(self._thread.ident)

    def abort(self) -> None:
        """Raise NodeAborted in whatever the thread does. It takes effect at the next bytecode: never inside a call of
        C code that does not return."""
        if self._thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(NodeAborted)
            )

    def close(self) -> None:
        """End the thread, after what still runs in it."""
        self._is_closing = True
        self.call_soon(self._stop_if_idle)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        if (root := self.current) is not None:
            self._roots[task] = root
        return task

    def tell_all(self) -> None:
        """From this thread: let nothing that was told wait any longer."""
        self._tells_soon = self._tells_later = False
        if self._news and self._home is not None:
            self._told_at = time.monotonic()
            with contextlib.suppress(RuntimeError):  # that loop has ended
                self._home.call_soon_threadsafe(self.take_news)

    def _take_calls(self) -> None:
        self._is_woken = False  # before the calls are taken: what comes later wakes again
        while self._calls:
            context, callback, args = self._calls.popleft()
            context.run(callback, *args)

    def _stop_if_idle(self) -> None:
        if self._is_closing and not self.tasks and not self._calls:
            self._loop.stop()

    def _turn(self) -> None:
        self._turned_at = time.monotonic()
        # An abort may have come between two calls, or between news and their telling.
        if self._calls:
            self._loop.call_soon(self._take_calls)
        if self._news:
            self.tell_all()
        self._stop_if_idle()
        self._loop.call_later(TURN_S, self._turn)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._turn)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt, NodeAborted) as error:
                # asyncio stops the loop for what a task raises of these; an abort may come late, between two tasks.
                log.warning("a task of a node raised %s; its thread goes on", type(error).__name__)
                continue
            if self._is_closing:
                break
        with contextlib.suppress(BaseException):
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def place_in(thread_id: int | None) -> str:
    """Where in its author's code a thread is right now; empty when that cannot be told."""
    frame: FrameType | None = sys._current_frames().get(thread_id or 0)
    found = author_frame(frame)
    return place_of(found, found.f_lineno) if found is not None else ""
