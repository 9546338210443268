"""Where the code of plugins runs: off the worker's own loop, so that a node that blocks holds up neither heartbeats nor
other runs.

Asynchronous nodes share one thread with a loop. One that keeps this loop to itself is named after 2 s; the others are
given back at once, to run in a fresh thread, and do not count the attempt. After `limit_s` the node is aborted. Plain
functions, and nodes with `placement="thread"`, have a thread to themselves, in which they may block.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from innkeeper.activities.placement.loop_thread import LoopThread
from innkeeper.activities.placement.node_exit import node_exits_as_errors
from innkeeper.activities.placement.suspension import SuspensionDetector
from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import Outputs
from innkeeper.nodes.process.stall_note import write_stall_note

log = logging.getLogger("innkeeper.worker")

STANDSTILL_S = 2.0
LOOK_S = 0.5
COOPERATIVE_S = 1.0
"""How long a cancelled node may take to end by itself; then it is aborted, and has as long again."""
AGAIN_S = 0.1
BUFFERED = 64
"""Chunks of one node on their way from its thread."""
MAX_IDLE = 4

Warn = Callable[[str, str], None]
OnStop = Callable[[], None] | None
OnEnd = Callable[[], None] | None


@dataclass(eq=False)
class ThreadedRun:
    """One node in a thread, or the nodes of a segment.

    Attributes:
        called: Names run and node, until its task has a name.
        warn: Tells the node's user of something: code and message.
        ended: Its result, or how it ended; belongs to the worker's loop.
        given_up: Nobody waits for it any more.
        on_stop: Called, maybe again, when it is given up.
        on_end: Called when it has ended, and when nobody waits for its end any more.
    """

    called: str
    warn: Warn
    thread: LoopThread
    ended: asyncio.Future[Any]
    task: Callable[[], asyncio.Task[Any] | None] = lambda: None
    is_exclusive: bool = False
    given_up: bool = False
    blocks_since: float | None = None
    on_stop: OnStop = None
    on_end: OnEnd = None

    @property
    def name(self) -> str:
        """Names run and node, for whoever finds it at work: the nodes of a segment give their task one after the other
        their name."""
        task = self.task()
        return task.get_name() if task is not None else self.called

    def give_up(self) -> None:
        self.given_up = True
        if self.on_stop is not None:
            self.on_stop()

    @property
    def is_at_work(self) -> bool:
        """Does it have the thread to itself right now?"""
        task = self.task()
        return task is not None and self.thread.current is task


class NodeThreads:
    """The threads of one worker. Use as an async context manager, on the worker's loop.

    Args:
        limit_s: A node that keeps its loop to itself for longer is aborted.
        on_lost: Called, with the reason, when an aborted node did not end either: only a new process gets rid of it.
        standstill_s: After this time a node that keeps its loop to itself is named.
    """

    def __init__(
        self, limit_s: float = 30.0, on_lost: Callable[[str], None] | None = None, *, standstill_s: float = STANDSTILL_S
    ) -> None:
        self._limit_s = limit_s
        self._standstill_s = standstill_s
        self._on_lost = on_lost or (lambda reason: None)
        self._shared: LoopThread | None = None
        self._idle: list[LoopThread] = []
        self._runs: set[ThreadedRun] = set()
        self._watch: asyncio.Task[None] | None = None
        self._numbers = 0

    async def aclose(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for thread in (*self._idle, *({self._shared} if self._shared else ())):
            thread.close()
        self._idle.clear()
        self._shared = None

    async def run(
        self,
        work: Coroutine[Any, Any, Any],
        *,
        name: str,
        warn: Warn,
        exclusive: bool,
        on_stop: OnStop = None,
        on_end: OnEnd = None,
    ) -> Any:
        """The result of work that is done in a thread.

        Raises:
            NodeMustWait: Another node kept their thread to itself; this one begins anew elsewhere.
            NodeError: It kept the thread to itself for too long (`node_blocked`). Else what it raises.
        """
        run = self._new_run(name, warn, exclusive)
        run.on_stop, run.on_end = on_stop, on_end
        self._begin(run, work)
        return await self._ended(run)

    async def generate(
        self,
        begin: Callable[[], AsyncGenerator[Any, None]],
        *,
        name: str,
        warn: Warn,
        exclusive: bool,
        on_stop: OnStop = None,
        on_end: OnEnd = None,
    ) -> AsyncGenerator[Any, None]:
        """What a generator yields in a thread, at most `BUFFERED` items ahead of who takes them. Raises as `run`.

        `begin`: called in the thread, gives the generator.
        """
        run = self._new_run(name, warn, exclusive)
        run.on_stop, run.on_end = on_stop, on_end
        belt = _Belt(run)
        self._begin(run, belt.fill(begin))
        run.ended.add_done_callback(belt.wake)
        try:
            while items := await belt.take():
                for item in items:
                    if isinstance(item, Outputs):
                        await self._ended(run)  # what the generator does at its end belongs to it
                    yield item
        except (asyncio.CancelledError, GeneratorExit):
            await self._stop(run)
            raise
        await self._ended(run)

    # --- one run --------------------------------------------------------------------------------------------------

    def _new_run(self, name: str, warn: Warn, exclusive: bool) -> ThreadedRun:
        ended = asyncio.get_running_loop().create_future()
        return ThreadedRun(name, warn, self._thread(exclusive), ended, is_exclusive=exclusive)

    def _begin(self, run: ThreadedRun, work: Coroutine[Any, Any, Any]) -> None:
        home = run.ended.get_loop()
        if self._watch is None:
            self._watch = home.create_task(self._look(SuspensionDetector(LOOK_S)), name="node-threads")
        self._runs.add(run)

        def done(task: asyncio.Task[Any]) -> None:
            run.thread.tell(home, self._note_end, run, task)

        run.task = run.thread.start(work, run.called, done)

    def _thread(self, exclusive: bool) -> LoopThread:
        if exclusive:
            return self._idle.pop() if self._idle else self._new_thread("node")
        self._shared = self._shared or self._new_thread("nodes")
        return self._shared

    def _new_thread(self, name: str) -> LoopThread:
        self._numbers += 1
        return LoopThread(f"{name}-{self._numbers}")

    def _note_end(self, run: ThreadedRun, task: asyncio.Task[Any]) -> None:
        self._runs.discard(run)
        if run.on_end is not None:
            run.on_end()
        self._give_back(run)
        if run.ended.done():
            if not task.cancelled():
                task.exception()  # nobody waits for it
        elif task.cancelled():
            run.ended.cancel()
        elif (error := task.exception()) is not None:
            is_plain = isinstance(error, Exception)
            run.ended.set_exception(error if is_plain else NodeError("the node was aborted", code="node_aborted"))
        else:
            run.ended.set_result(task.result())

    def _give_back(self, run: ThreadedRun) -> None:
        if not run.is_exclusive:
            if run.thread is not self._shared:  # retired: it ends with its last node
                run.thread.close()
        elif run.given_up or len(self._idle) >= MAX_IDLE:
            run.thread.close()
        else:
            self._idle.append(run.thread)

    async def _ended(self, run: ThreadedRun) -> Any:
        try:
            return await asyncio.shield(run.ended)
        except asyncio.CancelledError:
            if not run.ended.done():
                await self._stop(run)
            raise

    async def _stop(self, run: ThreadedRun) -> None:
        """End a node that is cancelled: it is asked, then aborted, then left alone. At most twice `COOPERATIVE_S`."""
        if run.ended.done():
            return
        run.give_up()
        task = run.task()
        run.thread.call_soon(_cancel, run.task)
        for abort in (True, False):
            waiting = asyncio.shield(run.ended)
            await asyncio.wait({waiting}, timeout=COOPERATIVE_S)
            if run.ended.done():
                with contextlib.suppress(BaseException):
                    waiting.result()
                return
            if abort and (run.is_exclusive or run.thread.current is task):
                run.thread.abort()
        self._lose(run, "did not end when it was cancelled")

    def _lose(self, run: ThreadedRun, what: str) -> None:
        """Nobody waits for this run any more, and its thread gets no further ones."""
        run.give_up()
        run.blocks_since = run.blocks_since or time.monotonic()
        if run.on_end is not None:
            run.on_end()
        if not run.ended.done():
            run.ended.cancel()
        if run.thread is self._shared:
            self._retire(run.thread, run)
        log.warning("%s %s: at %s", run.name, what, run.thread.place() or "an unknown place")

    # --- nodes that block -----------------------------------------------------------------------------------------

    async def _look(self, suspension: SuspensionDetector) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if suspended_s := suspension.look():
                self._excuse(suspended_s)
            for run in list(self._runs):
                run.thread.take_news()  # a node may have ended before another one blocked
                self._look_at(run)
            if self._shared is not None and self._shared.stood_still_s > 2 * self._standstill_s:
                self._leave(self._shared)

    def _excuse(self, suspended_s: float) -> None:
        """Blame no node for a time in which the whole process did not run."""
        now = time.monotonic()
        for thread in {run.thread for run in self._runs} | ({self._shared} if self._shared else set()):
            thread.restart_standstill()
        for run in self._runs:
            if run.blocks_since is not None:
                run.blocks_since = min(now, run.blocks_since + suspended_s)

    def _look_at(self, run: ThreadedRun) -> None:
        now = time.monotonic()
        if run.given_up:
            if run.blocks_since is not None and now - run.blocks_since > self._limit_s:
                run.blocks_since = now  # told again when the process is still there
                self._on_lost(f"{run.name} does not end: at {run.thread.place()}")
        elif run.is_exclusive:
            return
        elif run.blocks_since is None:
            if run.thread.stood_still_s > self._standstill_s and run.is_at_work:
                run.blocks_since = now - run.thread.stood_still_s
                self._name(run)
        elif run.thread.stood_still_s < self._standstill_s / 2:
            run.blocks_since = None
        elif now - run.blocks_since > self._limit_s:
            self._abort(run)

    def _name(self, run: ThreadedRun) -> None:
        """Tell of a node that blocks, and get the others out of its way."""
        place = run.thread.place()
        text = f"{run.name} has kept its thread to itself for {run.thread.stood_still_s:.0f} s"
        log.warning("%s: at %s", text, place, extra={"where": place})
        write_stall_note(f"{text}: at {place}")
        hint = "use 'await', a plain 'def execute', or placement 'thread' or 'process' for code that blocks"
        run.warn("node_blocks", f"the node blocks at {place}: {hint}")
        self._retire(run.thread, run)

    def _leave(self, thread: LoopThread) -> None:
        """Something blocks that no running node answers for: a callback that one has left behind, or a cancelled node.

        Who stops such a node still has to abort it: were it ended here, its thread would run for ever.
        """
        log.warning("something blocks the thread of the nodes: at %s", thread.place() or "an unknown place")
        self._retire(thread, next((run for run in self._runs if run.thread is thread and run.is_at_work), None))

    def _retire(self, thread: LoopThread, culprit: ThreadedRun | None = None) -> None:
        if thread is self._shared:
            self._shared = None
        for other in self._runs:
            if other.thread is thread and other is not culprit and not other.ended.done():
                other.give_up()
                other.thread.call_soon(_cancel, other.task)
                message = "another node kept the thread of this one to itself"
                other.ended.set_exception(NodeMustWait(message, delay_s=AGAIN_S))

    def _abort(self, run: ThreadedRun) -> None:
        place = run.thread.place()
        message = f"the node kept its thread to itself for more than {self._limit_s:g} s"
        run.give_up()  # before the abort: no further node of a segment may begin
        if not run.ended.done():
            run.ended.set_exception(NodeError(message, code="node_blocked", details={"where": place}))
        # What is left of it has as long as a cancelled one.
        run.blocks_since = time.monotonic() - self._limit_s + 2 * COOPERATIVE_S
        run.thread.abort()


class _Belt:
    """Carries what a generator yields from its thread to the worker's loop."""

    def __init__(self, run: ThreadedRun) -> None:
        self._run = run
        self._home = run.ended.get_loop()
        self._items: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Semaphore(BUFFERED)  # of the thread's loop, which it meets when it first waits
        self._taken = 0
        self._is_told = False

    async def fill(self, begin: Callable[[], AsyncGenerator[Any, None]]) -> None:
        """In the thread: the whole generator in one task, since time-outs inside it are bound to a task."""
        with node_exits_as_errors():
            async with contextlib.aclosing(begin()) as items:
                async for item in items:
                    self._put(item)
                    if isinstance(item, Outputs):
                        return
                    if self._room.locked():  # nothing more comes until the other loop has taken some
                        self._run.thread.tell_all()
                    await self._room.acquire()

    def _put(self, item: Any) -> None:
        self._items.append(item)
        if not self._is_told:  # one wake-up for whatever gathers until the other loop has its turn
            self._is_told = True
            thread = self._run.thread
            # A plain function may hold up its own thread for long, which is no fault of it.
            tell = thread.tell_at_once if self._run.is_exclusive else thread.tell_in_passing
            tell(self._home, self.wake)

    def wake(self, _: object = None) -> None:
        """On the worker's loop: something has arrived, or the run has ended."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Any]:
        """On the worker's loop: the next items, once those taken before are used up; none when the run has ended."""
        if self._taken >= BUFFERED // 2:  # not for each: it wakes the thread
            self._run.thread.call_soon(_release, self._room, self._taken)
            self._taken = 0
        while not self._items:
            has_ended = self._run.ended.done()
            self._waiter = self._home.create_future()
            self._is_told = False  # before looking again: what comes later tells
            if self._items:
                break
            if has_ended:
                return []
            await self._waiter
        items = [self._items.popleft() for _ in range(len(self._items))]
        self._taken += len(items)
        return items


def _release(room: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        room.release()


def _cancel(task: Callable[[], asyncio.Task[Any] | None]) -> None:
    if (found := task()) is not None:
        found.cancel()
