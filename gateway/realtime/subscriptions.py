"""The runs that one client hears of: those that it asked for, or, as long as it has not spoken, those it may miss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from innkeeper.gateway.events.hub import Frames
from innkeeper.gateway.realtime.event_frames import is_final, is_of_type, without_number
from innkeeper.gateway.realtime.reader import EventReader
from innkeeper.gateway.realtime.send_queue import SendQueue
from innkeeper.gateway.realtime.whole_values import WholeValues, refers_to_values
from innkeeper.gateway.runs.socket_runs import SocketRuns
from innkeeper.nodes.errors import InnkeeperError

SILENT_S = 1.0
"""A client that speaks within this time asks for what it wants: it must not take the end of a run of before for that
of its own."""
SendError = Callable[[Exception, Mapping[str, Any]], Awaitable[None]]


class Subscriptions:
    """One task per run. Each has a cursor and sends a page at a time: no queue grows here.

    Attributes:
        whole_values: Outputs that the events refer to are put in.
    """

    def __init__(self, queue: SendQueue, reader: EventReader, values: WholeValues, send_error: SendError) -> None:
        self._queue = queue
        self._reader = reader
        self._values = values
        self._send_error = send_error
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._unasked: set[asyncio.Task[None]] = set()
        self.whole_values = True

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, run: str) -> bool:
        return run in self._asked

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [*self._asked.values(), *self._unasked]

    def follow(self, run: str, after: int, *, batch: bool = False) -> None:
        """Send a run's events behind `after`, instead of what was sent of it before."""
        self.stop(run)
        task = asyncio.create_task(self._send_all(run, after, batch))
        self._asked[run] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._asked.get(run) is done:
                del self._asked[run]

        task.add_done_callback(forget)

    def stop(self, run: str) -> None:
        """Send nothing more of a run that was asked for."""
        task = self._asked.pop(run, None)
        if task is not None:
            task.cancel()

    def overhear(self, runs: SocketRuns, user: str) -> None:
        """Tell how nodes and runs end from now on that were submitted over a socket, without being asked."""
        for run in runs.newest(user):
            task = asyncio.create_task(self._send_ends(run, runs))
            self._unasked.add(task)
            task.add_done_callback(self._unasked.discard)

    def stop_overhearing(self) -> None:
        for task in self._unasked:
            task.cancel()

    async def _send_all(self, run: str, after: int, batch: bool) -> None:
        try:
            async with contextlib.aclosing(self._reader.follow(run, after)) as pages:
                async for page in pages:
                    await self._send([frame for _, frame in page], batch)
        except InnkeeperError as error:
            await self._send_error(error, {"promptId": run})

    async def _send_ends(self, run: str, runs: SocketRuns) -> None:
        # Who has not asked gets no errors either: a run may be deleted, or its log not there yet.
        with contextlib.suppress(InnkeeperError):
            place = await self._reader.place(run, 0)
            await asyncio.sleep(SILENT_S)
            # The last event may be the end of the run, which happened while the client was away.
            async with contextlib.aclosing(self._reader.follow(run, max(0, place.last_seq - 1))) as pages:
                async for page in pages:
                    if frames := ends_in(page, place.last_seq):
                        await self._send(frames, batch=False)
            runs.ended(run)

    async def _send(self, frames: Sequence[bytes], batch: bool) -> None:
        if not self.whole_values or not any(map(refers_to_values, frames)):
            await self._queue.put(frames, batch=batch)
            return
        plain: list[bytes] = []
        for frame in frames:
            if not refers_to_values(frame):
                plain.append(frame)
                continue
            if plain:
                await self._queue.put(plain, batch=batch)
                plain = []
            # Alone: the memory for the next one is taken when this one was sent.
            async with self._values.put_in(frame) as whole:
                await self._queue.put([whole], batch=batch)
        if plain:
            await self._queue.put(plain, batch=batch)


def ends_in(page: Frames, came_at: int) -> list[bytes]:
    """The events that tell of an end of a node or the run; of those up to `came_at` only the run's."""
    return [without_number(frame) for seq, frame in page if is_final(frame) or (seq > came_at and _ends_node(frame))]


def _ends_node(frame: bytes) -> bool:
    return is_of_type(frame, "NODE_COMPLETE") or is_of_type(frame, "NODE_ERROR")
