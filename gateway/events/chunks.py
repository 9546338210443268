"""Reads the chunks of one stream out of a run's log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.events.fence import EXECUTING, YIELD, Event
from innkeeper.gateway.events.log import EventLog, StoredEvent

PAGE = 1000
_BEGINS = b'"type":"%s"' % EXECUTING.encode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands: it has the chunks below `index`, and has looked at the events up to `seq`."""

    seq: int
    index: int


@dataclass
class Found:
    """Chunks `first ..`, without a hole.

    Attributes:
        place: Where to read on. Without chunks its index may have passed a gap, or its seq events of other nodes.
        log_ends: There were no more events.
    """

    first: int
    place: Place
    chunks: list[Any] = field(default_factory=list)
    log_ends: bool = False

    def take(self, event: Event) -> bool:
        """Take a frame of the stream; False for one that lies behind a hole, while there are chunks before it."""
        payload, index = event["payload"], self.place.index
        if "i" in event:
            if event["i"] > index and not self._skip_to(event["i"]):
                return False
            if event["i"] >= index:
                self.chunks.append(payload["yieldedContent"])
                index = event["i"] + 1
        elif "gap" in payload and payload["gap"]["to"] >= index:
            index = payload["gap"]["to"] + 1
            if not self._skip_to(index):
                return False
        self.place = Place(event["seq"], index)
        return True

    def _skip_to(self, index: int) -> bool:
        if not self.chunks:
            self.first = index
        return not self.chunks


async def read_chunks(
    log: EventLog, run: str, path: str, place: Place, *, most: int = PAGE, max_bytes: int = 1_000_000
) -> Found:
    """Look at the next page of events, not beyond a new beginning of the stream.

    Args:
        most, max_bytes: Of the chunks; a single larger one is read, too.

    Raises LogUnavailable.
    """
    events = await log.read(run, place.seq, PAGE)
    found = Found(place.index, place, log_ends=not events)
    stream = _Lines(path)
    size = 0
    for event in events:
        frame = stream.frame(event)
        if frame is None:
            found.place = Place(event.seq, found.place.index)
            continue
        size += len(event.line)
        is_full = len(found.chunks) >= most or (size > max_bytes and found.chunks)
        if is_full or frame["type"] == EXECUTING or not found.take(frame):
            break
    return found


class _Lines:
    """Tells the lines of one stream from the others, most of which are not even parsed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._frame, self._node = b'"sourceNodeId":' + orjson.dumps(path), b'"nodeId":' + orjson.dumps(path)

    def frame(self, event: StoredEvent) -> Event | None:
        """The event, if it is a frame of the stream or its beginning anew. One that is damaged is passed over."""
        try:
            return self._of_stream(event)
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    def _of_stream(self, event: StoredEvent) -> Event | None:
        if self._frame in event.line:
            decoded = event.decode()
            # What a node yields may look like a frame.
            return decoded if decoded["type"] == YIELD and decoded["payload"]["sourceNodeId"] == self._path else None
        if self._node in event.line and _BEGINS in event.line:
            decoded = event.decode()
            begins = decoded["type"] == EXECUTING and decoded["payload"]["nodeId"] == self._path
            return decoded if begins and not decoded.get("kept") else None
        return None
