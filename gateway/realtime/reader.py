"""Where a reader stands in a run's events, and how fast frames go out. Shared by WebSocket and SSE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import cast

from innkeeper.gateway.errors import shown
from innkeeper.gateway.events.hub import AfterBeyondEnd, Frames, Hub
from innkeeper.gateway.events.log import EventLog
from innkeeper.gateway.events.send_rate import SendRate
from innkeeper.nodes.errors import RunNotFound


@dataclass(frozen=True)
class Place:
    """A reader's place: it has the events up to `after` of this log.

    Attributes:
        last_seq: What the log holds now.
        is_done: The reader has everything there will ever be.
    """

    log_id: str
    after: int
    last_seq: int
    is_done: bool


class EventReader:
    """Finds places and follows runs from there."""

    def __init__(self, log: EventLog, hub: Hub, send_rate: SendRate | None = None) -> None:
        self._log = log
        self._hub = hub
        self._send_rate = send_rate or SendRate()

    @property
    def frames_sent(self) -> int:
        return self._send_rate.total

    async def place(self, run: str, after: int, log_id: str | None = None) -> Place:
        """Where a reader goes on. One that read another log (`log_id`) starts from 0.

        Raises:
            RunNotFound: There are no events of this run.
            AfterBeyondEnd: The log holds fewer than `after` events.
        """
        info = await self._log.run_info(run)
        if info is None:
            raise RunNotFound(f"there are no events of a run {shown(run)}")
        if log_id is not None and log_id != self._log.log_id:
            after = 0
        if after > info.last_seq:
            raise AfterBeyondEnd(f"run {run!r} has {info.last_seq} events, not {after}; start from 0")
        return Place(self._log.log_id, after, info.last_seq, info.is_sealed and after == info.last_seq)

    def follow(self, run: str, after: int = 0) -> AsyncGenerator[Frames, None]:
        """Pages of frames until the run is sealed; close it (`contextlib.aclosing`) when leaving early."""
        return cast("AsyncGenerator[Frames, None]", self._hub.follow(run, after))

    async def until_sealed(self, run: str) -> None:
        """Return when the run gets no more events. Raises RunNotFound."""
        await self._hub.until_sealed(run)

    async def sent(self, frames: int, since: float) -> None:
        """Count events that went to a client; under load give its next ones time to gather.

        Args:
            since: When (monotonic) these began to go out.
        """
        self._send_rate.frame_sent(frames)
        if delay := self._send_rate.delay_s(since):
            await asyncio.sleep(delay)
