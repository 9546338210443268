"""A run's event log as the rest of the gateway uses it: what it says, and the gateway's own entries."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.events.fence import (
    INTERRUPTING,
    PAUSED,
    Message,
    RunLogState,
    fact_message,
    interface_outputs_message,
    resumed_message,
    status_message,
)
from innkeeper.gateway.events.log import EventLog, LogUnavailable, StoredEvent
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.gateway.runs.stream_texts import StreamText, StreamTexts
from innkeeper.gateway.runs.view import RunView, apply

T = TypeVar("T")

PAGE = 1000
KEPT_VIEWS = 200
KEPT_TEXTS = 20
# A long stream is nearly all of a log and says nothing about states: its lines are not even parsed.
_CHUNKS = (b'"type":"NODE_YIELD"', b'"type":"WORKFLOW_INTERFACE_YIELD"')


@dataclass
class _Reading:
    view: RunView = field(default_factory=RunView)
    seq: int = 0
    has_chunks: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class RunLook:
    """A run at one moment of its log. The view goes on with the log: read it before the next `await`.

    Attributes:
        last_seq: The last event that counts.
        texts: Node path to what its stream has said, of streams that are open.
    """

    view: RunView
    last_seq: int
    texts: Mapping[str, StreamText]


def _follow(reading: _Reading, event: StoredEvent) -> None:
    """One that is damaged is lost, the others are not. The writer of the log has told of it."""
    if any(mark in event.line[:120] for mark in _CHUNKS):
        reading.has_chunks = True
        return
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
        apply(reading.view, event.decode())


class RunLog:
    """Reads and writes the logs of runs."""

    def __init__(self, log: EventLog, writer: LogWriter) -> None:
        self.log = log
        self._writer = writer
        self._readings: OrderedDict[str, _Reading] = OrderedDict()
        self._texts: OrderedDict[str, StreamTexts] = OrderedDict()

    @property
    def log_id(self) -> str:
        return self.log.log_id

    def check_writable(self) -> None:
        """Raises LogUnavailable while nothing can be committed (disk full)."""
        if self._writer.reason is not None:
            raise LogUnavailable(f"{self._writer.reason}; nothing can be started until that is mended")

    async def open(self, run: str, meta: Mapping[str, Any]) -> None:
        """Make the log of a run, if there is none."""
        await self._writer.create_run(run, meta)

    async def begin(self, run: str, meta: Mapping[str, Any], status: str) -> None:
        """Open the log of a run, if it is not, and announce its status, if that is news."""
        await self.open(run, meta)
        await self._writer.append(run, [status_message(status)])

    async def view(self, run: str) -> RunView:
        """The state of a run by its events. Only what is new since the last call is read."""
        reading = _kept(self._readings, run, _Reading, KEPT_VIEWS)
        async with reading.lock:  # whoever asks meanwhile reads what is new after this, not all of it again
            await self._read_on(run, reading)
        return reading.view

    async def look(self, run: str) -> RunLook:
        """The state of a run with the texts of its open streams, both up to the same event."""
        reading = _kept(self._readings, run, _Reading, KEPT_VIEWS)
        async with reading.lock:
            await self._read_on(run, reading)
            texts: Mapping[str, StreamText] = {}
            # Most runs that are looked at have none, and a log may be long.
            if reading.has_chunks and len(reading.view.ended) < len(reading.view.nodes):
                texts = await _kept(self._texts, run, StreamTexts, KEPT_TEXTS).read_to(self.log, run, reading.seq)
        return RunLook(reading.view, reading.seq, texts)

    async def last_seq(self, run: str) -> int | None:
        """Number of the last event; None when there is no log any more."""
        info = await self.log.run_info(run)
        return None if info is None else info.last_seq

    async def _read_on(self, run: str, reading: _Reading) -> None:
        while page := await self.log.read(run, reading.seq, PAGE):
            for event in page:
                _follow(reading, event)
            reading.seq = page[-1].seq

    async def state(self, run: str) -> RunLogState | None:
        """What the log says of a run, to be read only; None when it cannot be read now, or there is none."""
        return await self._writer.state(run)

    async def activity(self, run: str) -> Activity:
        """What a run does now. Cheap: nothing is read when the run has been heard of since the start."""
        state = await self._writer.state(run)
        return Activity() if state is None else state.activity

    async def announced(self, run: str) -> str | None:
        """The status that viewers were told last."""
        state = await self._writer.state(run)
        return None if state is None else state.status

    async def announce(self, run: str, status: str) -> None:
        """Tell viewers that a run is `paused` or `interrupting`, or `queued` or `running` again."""
        is_new = status in (PAUSED, INTERRUPTING)
        await self._writer.append(run, [status_message(status) if is_new else resumed_message(status)])

    async def answered(self, run: str, path: str, answer: Mapping[str, Any], *, attempt: int | None = None) -> None:
        """Tell viewers of an answer to an approval, unless the worker was faster.

        `attempt`: of a node that is out of budget, the one that asked.
        """
        payload = {"approvalId": path, "answer": answer, **({} if attempt is None else {"attempt": attempt})}
        await self._writer.append(run, [fact_message(path, "APPROVAL_ANSWERED", payload)])

    async def complete_missing(
        self, run: str, facts: Sequence[tuple[str, str, Mapping[str, Any]]], outputs: Mapping[str, Any] | None
    ) -> None:
        """Add terminal events `(path, type, payload)` of nodes that have none, then the run's outputs, if any."""
        messages: list[Message] = [fact_message(*fact) for fact in facts]
        if outputs is not None:
            messages.append(interface_outputs_message(outputs))
        if messages:
            await self._writer.append(run, messages)

    async def delete(self, run: str) -> None:
        """Delete the log of a run that is sealed."""
        await self.log.delete_run(run)
        self._forget(run)

    async def end(self, run: str, status: str, error_info: Mapping[str, Any] | None) -> None:
        """Announce the final status and seal the log: nothing follows."""
        await self._writer.close_run(run, [status_message(status, error_info)])
        self._forget(run)

    def _forget(self, run: str) -> None:
        self._readings.pop(run, None)
        self._texts.pop(run, None)


def _kept(cache: OrderedDict[str, T], run: str, make: Callable[[], T], most: int) -> T:
    """What is kept of a run, or a new one; of others only those that were asked for last stay."""
    if run not in cache:
        cache[run] = make()
    cache.move_to_end(run)
    while len(cache) > most:
        cache.popitem(last=False)
    return cache[run]
