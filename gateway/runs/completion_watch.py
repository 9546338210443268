"""Noticing that workflows have ended, thousands at a time."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.view import JsonObject

logger = logging.getLogger("innkeeper.gateway.runs")

MAX_WATCHED = 500
"""Each watched run holds a long poll; the server allows some 1,200. Beyond this, visibility is asked instead."""
VISIBILITY_S = 2.0
VISIBILITY_OVERLAP_S = 60.0
ASKED_BY_NAME = 50
"""Runs that each poll asks for by name: the clocks of this machine and of the server may differ, or jump."""


class CompletionWatcher:
    """Waits for workflows to end: up to MAX_WATCHED by long poll, the others by asking visibility now and then.

    Args:
        is_idle: Does a run only wait? It will hardly end now, so it leaves its long poll to one that works.
    """

    def __init__(self, temporal: TemporalLink, is_idle: Callable[[str], bool] = lambda run: False) -> None:
        self._temporal = temporal
        self._is_idle = is_idle
        self._polls: dict[str, asyncio.Task[JsonObject]] = {}
        self._others: dict[str, asyncio.Event] = {}
        self._poller: asyncio.Task[None] | None = None

    async def result(self, handle: WorkflowHandle[Any, Any]) -> JsonObject:
        """The workflow's result. Raises what `handle.result()` raises."""
        while True:
            if len(self._polls) >= MAX_WATCHED and not self._displace(handle.id):
                await self._turn(handle)
            poll: asyncio.Task[JsonObject] = asyncio.create_task(handle.result())
            self._polls[handle.id] = poll
            try:
                return await poll
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if handle.id in self._polls or (task is not None and task.cancelling()):
                    poll.cancel()
                    raise  # it was the caller who was cancelled, not the poll that was displaced
            finally:
                if self._polls.pop(handle.id, None) is not None and self._others:
                    next(iter(self._others.values())).set()
            await self._turn(handle)

    def _displace(self, run: str) -> bool:
        """Take the long poll from a run that waits, for one that does not."""
        idle = None if self._is_idle(run) else next(filter(self._is_idle, self._polls), None)
        if idle is None:
            return False
        self._polls.pop(idle).cancel()
        return True

    async def stop(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def _turn(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Wait until the run has ended by what visibility says, or a long poll is free for it."""
        run = handle.id
        turn = self._others.setdefault(run, asyncio.Event())
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="visibility-poll")
        try:
            # It may have ended long ago, while no gateway ran: no query looks back so far.
            if not await self._has_ended(handle):
                await turn.wait()
        finally:
            self._others.pop(run, None)

    async def _has_ended(self, handle: WorkflowHandle[Any, Any]) -> bool:
        try:
            return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING
        except RPCError:  # whoever asks for the result is told
            return True

    async def _poll(self) -> None:
        since = time.time() - VISIBILITY_OVERLAP_S
        while self._others:
            await asyncio.sleep(VISIBILITY_S)
            asked = time.time()
            try:
                client = await self._temporal.wait()
                await self._ask(client, f"CloseTime > '{_moment(since)}'")
                if names := self._next_names():
                    await self._ask(client, f"WorkflowId IN ({', '.join(map(repr, names))})")
            except RPCError as error:
                logger.warning("visibility query failed", extra={"event": "visibility", "code": str(error.status)})
                continue
            except Exception:  # its end would leave all who wait here without an answer
                logger.exception("visibility query failed", extra={"event": "visibility"})
                continue
            # Visibility lags behind: look at the last minute again.
            since = asked - VISIBILITY_OVERLAP_S

    def _next_names(self) -> list[str]:
        """Some of those that wait, in turn."""
        chosen = list(itertools.islice(self._others, ASKED_BY_NAME))
        for run in chosen:
            self._others[run] = self._others.pop(run)
        return chosen

    async def _ask(self, client: Client, which: str) -> None:
        closed = f"WorkflowType='GraphWorkflow' AND ExecutionStatus != 'Running' AND {which}"
        async for execution in client.list_workflows(closed):
            turn = self._others.get(execution.id)
            if turn is not None:
                turn.set()


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
