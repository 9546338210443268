"""The protocol every back end of the run event log obeys, and the form of a stored event.

A stored event is one line: the JSON that clients get, then, for node events, a tab and the internal keys as JSON
(`{"e": [attempt, generation], "i": index}`, see INTERNAL_KEYS). Compact JSON holds neither tabs nor newlines, so a
line needs no parsing to be cut, counted or sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from innkeeper.nodes.errors import InnkeeperError

READ_BYTES = 1_000_000
"""A page of events stops growing here: a read must not hold the memory of a large run."""
INTERNAL_KEYS = ("e", "i", "u", "in", "kept")
"""Epoch; chunk index; input chunks consumed by then; origin of the input; the epoch went on with the stream."""


class LogUnavailable(InnkeeperError):
    """The log cannot be read or written now (disk full, file damaged). Nothing of the call was committed."""

    code = "event_log_unavailable"
    retryable = True


class LogDamaged(LogUnavailable):
    """The file is damaged where this call had to read or write; other places may be sound."""


class LogFormatMismatch(InnkeeperError):
    """The file was written by another version of this project."""

    code = "event_log_format"


class StoredEvent(NamedTuple):
    """One event as it lies in the log."""

    seq: int
    line: bytes

    @property
    def frame(self) -> bytes:
        """The JSON object for clients, without internal keys."""
        return frame_of(self.line)

    @property
    def is_readable(self) -> bool:
        """Is it still the JSON object that was written?"""
        try:
            return isinstance(orjson.loads(self.frame), dict)
        except ValueError:
            return False

    def decode(self) -> dict[str, Any]:
        """The whole event, internal keys included where it has them."""
        public, _, internal = self.line.partition(b"\t")
        event: dict[str, Any] = orjson.loads(public)
        if internal:
            event.update(orjson.loads(internal))
        return event


def encode(event: Mapping[str, Any]) -> bytes:
    """The line of an event."""
    if "e" not in event:
        return orjson.dumps(event)
    public = {key: value for key, value in event.items() if key not in INTERNAL_KEYS}
    internal = {key: event[key] for key in INTERNAL_KEYS if key in event}
    return orjson.dumps(public) + b"\t" + orjson.dumps(internal)


def frame_of(line: bytes) -> bytes:
    """The part of a line that clients see."""
    return line.partition(b"\t")[0]


@dataclass(frozen=True)
class Batch:
    """New events of one run: lines numbered from `first_seq` without a gap.

    Attributes:
        new_run_meta: Make the run first, if there is none, with this meta.
        is_last: Seal the run with it.
    """

    run: str
    first_seq: int
    lines: Sequence[bytes]
    new_run_meta: Mapping[str, Any] | None = None
    is_last: bool = False


@dataclass(frozen=True)
class RunInfo:
    """What the log knows of a run. Times in milliseconds since 1970, `size` in bytes of all its lines.

    Attributes:
        meta: What the gateway fixed when it created the run; `interface_streams` maps a node path to
            `[[key, display name or None], ...]`.
    """

    run: str
    created_ms: int
    sealed_ms: int | None
    last_seq: int
    size: int
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_sealed(self) -> bool:
        return self.sealed_ms is not None


class EventLog(Protocol):
    """One gap-free list of events per run. Every method may raise LogUnavailable."""

    @property
    def log_id(self) -> str:
        """Changes when events that were acknowledged may have been lost (power loss): readers then start from 0."""

    async def create_run(self, run: str, meta: Mapping[str, Any]) -> bool:
        """Make an empty open run; False when it already exists (it is left as it is)."""

    async def append(self, batches: Sequence[Batch]) -> None:
        """Commit all of it or nothing.

        Raises:
            LogUnavailable: Nothing was written. Also when a run is unknown or sealed, or when `first_seq` is not the
                run's next number: the caller's picture of that run is stale.
        """

    async def read(self, run: str, after: int = 0, limit: int = 1000, max_bytes: int = READ_BYTES) -> list[StoredEvent]:
        """Events `after + 1 ..`, at most `limit` and about `max_bytes` of them. Empty: there are no more now."""

    async def last_seq(self, run: str) -> int:
        """Number of events of the run; 0 also for an unknown run."""

    async def run_info(self, run: str) -> RunInfo | None: ...

    async def open_runs(self) -> list[RunInfo]:
        """Runs that are not sealed, oldest first."""

    async def correct_dates(self, now_ms: int, *, margin_ms: int) -> int:
        """The clock was set back to `now_ms`: open runs of a later date get a date `margin_ms` before it.

        What such a run has written since then must not look older than the run. Gives how many there were.
        """

    async def seal(self, run: str) -> None:
        """Nothing is appended from now on. Sealing again, or sealing an unknown run, changes nothing."""

    async def delete_sealed(self, *, max_age_s: float, max_bytes: int) -> list[str]:
        """Delete sealed runs that are too old, then the oldest while all runs together hold more than `max_bytes`."""

    async def delete_run(self, run: str) -> None:
        """Delete all of a sealed run. One that is open, or unknown, is left as it is."""

    async def raw_events(self, after: int = 0) -> tuple[int, list[bytes]]:
        """Some of all stored bytes, of whatever runs: lines of events, and where to go on. No bytes: that was all.

        Runs that were there at the first call are read whole, unless they are deleted meanwhile.
        """

    async def stats(self) -> dict[str, int]:
        """`runs`, `open_runs`, `events` and `bytes` (of lines), `file_bytes`."""

    async def close(self) -> None: ...
