"""Starts of runs that connected workers are asked for: who starts a run may be given its first task at once."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from innkeeper.nodes.worker_protocol import MAX_START_BYTES, MAX_STARTS, STARTED, STOPPING, StartPlace

ANSWER_S = 0.5
VALID_MS = 10_000
"""A worker that hung for longer must not start a run that may have been ended by force meanwhile. Clocks of two
machines may differ by a part of it: the worker then answers that it did not start the run."""

JsonObject = dict[str, Any]


class StartsOfWorker:
    """What one connection asks its worker to start.

    Args:
        place: Where the worker starts runs; None: it starts none (an older version, for one).
        owes: Called when there is something to send.

    Attributes:
        on_late: Called with a run that the worker has started when nobody waited for it any more.
    """

    def __init__(self, place: StartPlace | None, owes: Callable[[], None]) -> None:
        self.on_late: Callable[[str], None] = _ignore
        self._place = place
        self._owes = owes
        self._unsent: deque[JsonObject] = deque()
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    @property
    def outstanding(self) -> int:
        return len(self._waiting)

    @property
    def has_more(self) -> bool:
        return bool(self._unsent)

    def may_be_asked(self, place: StartPlace) -> bool:
        """Not while it owes an answer that nobody waits for any more: it hangs, or has too much to do."""
        is_late = any(future.cancelled() for future in self._waiting.values())
        return self._place == place and len(self._waiting) < MAX_STARTS and not is_late

    async def ask(self, run: str, request: bytes) -> bool:
        """Did the worker start it? False also when the connection ends before the answer."""
        until = time.time_ns() // 1_000_000 + VALID_MS
        self._unsent.append({"run": run, "until": until, "request": base64.b64encode(request).decode()})
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[run] = future
        self._owes()
        return await future

    def take(self, max_bytes: int) -> list[JsonObject]:
        """What is to be sent now: all that fits, but at least one."""
        taken: list[JsonObject] = []
        size = 0
        while self._unsent and (not taken or size + len(self._unsent[0]["request"]) <= max_bytes):
            taken.append(self._unsent.popleft())
            size += len(taken[-1]["request"])
        return taken

    def receive(self, answers: Iterable[Any]) -> None:
        """Take answers, each a run and what became of it; nobody waits for some of them any more.

        Raises:
            TypeError, ValueError: They are not such pairs.
        """
        for run, status in answers:
            if not isinstance(run, str):
                raise TypeError("a run is named by a text")
            if status == STOPPING:
                self._place = None
            future = self._waiting.pop(run, None)
            if future is not None and future.cancelled() and status == STARTED:
                self.on_late(run)
            self._settle(future, is_started=status == STARTED)

    def close(self) -> None:
        """The connection has ended."""
        self._place = None
        while self._waiting:
            self._settle(self._waiting.popitem()[1], is_started=False)

    def _settle(self, future: asyncio.Future[bool] | None, *, is_started: bool) -> None:
        if future is not None and not future.done():
            future.set_result(is_started)


def _ignore(run: str) -> None:
    pass


class WorkerStarts:
    """Spreads starts over the connected workers: to the one that owes fewest answers, among equals in turn.

    Attributes:
        on_late: Called with a run that a worker has started when nobody waited for it any more.
    """

    def __init__(self) -> None:
        self.on_late: Callable[[str], None] = _ignore
        self._workers: list[StartsOfWorker] = []  # asked longest ago first

    def add(self, worker: StartsOfWorker) -> None:
        worker.on_late = lambda run: self.on_late(run)
        self._workers.append(worker)

    def remove(self, worker: StartsOfWorker) -> None:
        self._workers.remove(worker)
        worker.close()

    async def start(self, place: StartPlace, run: str, request: bytes) -> bool:
        """Have a worker start a run. False: nobody has, or not in time, and the caller is to start it.

        Args:
            request: Temporal's StartWorkflowExecutionRequest, serialized.
        """
        if len(request) > MAX_START_BYTES or (worker := self._choose(place)) is None:
            return False
        self._workers.remove(worker)
        self._workers.append(worker)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await worker.ask(run, request)
        except TimeoutError:
            return False

    def _choose(self, place: StartPlace) -> StartsOfWorker | None:
        able = (worker for worker in self._workers if worker.may_be_asked(place))
        return min(able, key=lambda worker: worker.outstanding, default=None)
