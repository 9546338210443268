"""What streams hold that their next attempts keep, as those are told it.

When a worker dies, many attempts ask at once: their streams are read in one pass over the log of their run.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.events.chunks import PAGE
from innkeeper.gateway.events.fence import EXECUTING, YIELD, Event, StoredStream
from innkeeper.gateway.events.log import EventLog, LogDamaged, LogUnavailable, StoredEvent

MAX_KEPT_BYTES = 4_000_000
"""Of text and reasoning as JSON: an answer is one frame of the worker socket. Of a longer stream nothing is told."""
MAX_PASS_BYTES = 16_000_000
"""Of the streams that are read together."""
RETRY_S = 0.5
HOLE = "hole"
TOO_LARGE = "too_large"
REPEATED = "accumulated_text"
"""What the last chunk of an answer of a model repeats of the chunks before it."""
_PATH = re.compile(rb'"(?:sourceNodeId|nodeId)":("(?:[^"\\]|\\.)*")')

Told = dict[str, Any]


async def read_kept(log: EventLog, wanted: Sequence[StoredStream]) -> dict[StoredStream, Told]:
    """What some streams of one run hold, however long the log cannot be read.

    The first of them always; others may be left out when they are large together.
    """
    readers: dict[bytes, KeptStreamReader] = {}
    for stream in wanted:  # of two that ask for one node the first is read
        readers.setdefault(orjson.dumps(stream.path), KeptStreamReader(stream))
    seq = min((stream.after for stream in wanted), default=0)
    while not all(reader.is_done for reader in readers.values()):
        try:
            events = await log.read(wanted[0].run, seq, PAGE)
        except LogUnavailable as error:
            if not isinstance(error, LogDamaged):
                await asyncio.sleep(RETRY_S)
                continue
            events = []
        if not events:  # damaged, or deleted: then nobody wants it any more
            break
        seq = events[-1].seq
        _take_all(readers, events)
        _drop_last(readers)
    return {reader.stream: reader.told() for reader in readers.values()}


@dataclass
class KeptStreamReader:
    """Collects the chunks of one stream.

    Attributes:
        kinds: Types of the chunks; also HOLE (some of its chunks were dropped) and TOO_LARGE.
        chars: Characters of text and reasoning, by the attempt that sent them.
        usage, finish: Content of the last `usage_chunk` and `finish_reason_chunk`.
        bytes: Of what is collected, as JSON.
        is_done: Nothing more is to be read of it.
    """

    stream: StoredStream
    kinds: set[str] = field(default_factory=set)
    chars: dict[int, int] = field(default_factory=dict)
    usage: Any = None
    finish: Any = None
    bytes: int = 0
    is_done: bool = False
    _next: int = 0
    _texts: dict[str, list[str]] = field(default_factory=lambda: {"text_chunk": [], "reasoning_chunk": []})

    def take(self, event: Event) -> None:
        """Take an event of this stream's node, in the order of the log."""
        kind, payload = event["type"], event["payload"]
        if self.is_done or event["seq"] <= self.stream.after:
            return
        if kind == EXECUTING and not event.get("kept"):
            self.is_done = True  # begun anew: nobody wants it any more
        elif kind == YIELD and "i" in event and event["i"] >= self._next:
            chunk, attempt = payload["yieldedContent"], payload["attempt"]
            self._pass(event["i"])
            if not self.is_done:
                self._next += 1
                self._add(chunk, attempt)
                self._pass(self._next)
        elif kind == YIELD and "gap" in payload:
            self._pass(payload["gap"]["to"] + 1)

    def told(self) -> Told:
        """As docs/worker-protocol.md has it."""
        if self._next < self.stream.next:
            self.kinds.add(HOLE)
        is_whole = TOO_LARGE not in self.kinds
        text, reasoning = ("".join(parts) if is_whole else "" for parts in self._texts.values())
        legs = [[attempt, chars] for attempt, chars in sorted(self.chars.items())]
        told = {"text": text, "reasoning": reasoning, "kinds": sorted(self.kinds), "legs": legs}
        optional = {"usage": self.usage, "finish": self.finish} if is_whole else {}
        return {**told, **{key: value for key, value in optional.items() if value is not None}}

    def _pass(self, index: int) -> None:
        """Chunks below `index` have been read, or were dropped."""
        if index > self._next:
            self.kinds.add(HOLE)
            self._next = index
        self.is_done = self.is_done or self._next >= self.stream.next

    def _add(self, chunk: Mapping[str, Any], attempt: int) -> None:
        kind, content = str(chunk["type"]), chunk.get("content")
        self.kinds.add(kind)
        if kind in self._texts and isinstance(content, str):
            self._texts[kind].append(content)
            self.chars[attempt] = self.chars.get(attempt, 0) + len(content)
        elif kind == "usage_chunk":
            self.usage = content
        elif kind == "finish_reason_chunk":
            self.finish = content = _without_repetition(content)
        else:
            return
        self.bytes += len(orjson.dumps(content))
        if self.bytes > MAX_KEPT_BYTES:
            self.kinds.add(TOO_LARGE)
            self.is_done = True


def _take_all(readers: Mapping[bytes, KeptStreamReader], events: Iterable[StoredEvent]) -> None:
    for event in events:
        # The first one is that of the event: what a node yields stands behind it.
        found = _PATH.search(event.line)
        reader = readers.get(found[1]) if found else None
        if reader is not None:
            # One that is damaged is a hole.
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                reader.take(event.decode())


def _drop_last(readers: dict[bytes, KeptStreamReader]) -> None:
    """Leave some to another pass, but never the first."""
    while len(readers) > 1 and sum(reader.bytes for reader in readers.values()) > MAX_PASS_BYTES:
        readers.popitem()


def _without_repetition(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: value for key, value in content.items() if key != REPEATED}
