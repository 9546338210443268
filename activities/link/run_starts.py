"""Starting runs when the gateway says so, beside what runs."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from innkeeper.nodes.worker_protocol import MAX_STARTS, NOT_STARTED, STARTED, STOPPING

log = logging.getLogger("innkeeper.link")


class RunStarts:
    """Carries out the gateway's requests, all at once, and answers each.

    Args:
        send_soon: Asks for a frame, which takes the answers along.
        start: Starts a run by a serialized request; gives whether Temporal has the run then.
    """

    def __init__(self, send_soon: Callable[[], None], start: Callable[[str, bytes], Awaitable[bool]]) -> None:
        self._send_soon = send_soon
        self._start = start
        self._is_stopping = False
        self._answers: list[tuple[str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, asked: Iterable[Mapping[str, Any]]) -> None:
        """Take requests that have the fields of the protocol."""
        for item in asked:
            if self._is_stopping:
                self._tell(item["run"], STOPPING)
            elif item["until"] < time.time_ns() // 1_000_000 or len(self._tasks) >= MAX_STARTS:
                self._tell(item["run"], NOT_STARTED)
            else:
                task = asyncio.create_task(self._carry_out(item["run"], item["request"]), name="start-run")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def take_answers(self) -> list[tuple[str, str]]:
        """The answers that are due, once."""
        answers, self._answers = self._answers, []
        return answers

    def refuse(self) -> None:
        """Start none from now on: the worker is stopping, and whoever starts a run is given its first task."""
        self._is_stopping = True

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _carry_out(self, run: str, request: str) -> None:
        is_started = False
        try:
            is_started = await self._start(run, base64.b64decode(request, validate=True))
        except Exception as error:
            log.warning("a run could not be started here, so the gateway starts it: %s", type(error).__name__)
        self._tell(run, STARTED if is_started else NOT_STARTED)

    def _tell(self, run: str, status: str) -> None:
        self._answers.append((run, status))
        self._send_soon()
