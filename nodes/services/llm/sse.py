"""Cuts the body of an answer into events: server-sent events after the HTML standard, and lines of JSON. Pure.

This is the hot path of every stream: a piece of the network costs a few microseconds here, whatever its size.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from innkeeper.nodes.services.llm.wire import Framing

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")


class Event(NamedTuple):
    """One event. `name` is `message` where none is told."""

    name: str
    data: str


class EventTooLarge(ValueError):
    """One event is larger than `MAX_EVENT_BYTES`."""


class EventReader(Protocol):
    """Takes a body in pieces, cut anywhere."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole by now. Raises EventTooLarge."""

    def end(self) -> list[Event]:
        """What stands at the end of the body without the end of an event behind it."""


def event_reader(framing: Framing) -> EventReader:
    return JsonLines() if framing == "json_lines" else ServerSentEvents()


def begins_events(start: bytes) -> bool:
    """Does a body that begins so hold server-sent events? `start`: without a byte order mark and white space."""
    name, colon, _ = start.partition(b":")
    return bool(colon) and (not name or name in _FIELDS)


class _Lines:
    """Cuts bytes into lines that end with CR, LF or both, in the same piece or not.

    Attributes:
        held: Bytes of the line that is not whole yet.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._after_cr = False
        self._start: bytes | None = b""
        self.held = 0

    def feed(self, data: bytes) -> list[bytes]:
        if self._start is not None:
            data = self._without_mark(data)
        if self._after_cr and data:
            # The CR has ended the line already, so that it need not wait for the next piece.
            data = data[1:] if data[:1] == b"\n" else data
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data[-1:] == b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._hold(data)
            return []
        lines = data.split(b"\n")
        if self._parts:
            lines[0] = b"".join(self._parts) + lines[0]
            self._parts, self.held = [], 0
        self._hold(lines.pop())
        return lines

    def end(self) -> list[bytes]:
        if self._start:
            self._hold(self._start)
        self._start = None
        rest, self._parts, self.held = b"".join(self._parts), [], 0
        return [rest] if rest else []

    def _hold(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self.held += len(data)
            if self.held > self._limit:
                raise EventTooLarge(f"one event is larger than {self._limit} bytes")

    def _without_mark(self, data: bytes) -> bytes:
        """Of the first bytes those behind a byte order mark, which may come in pieces, too."""
        data = (self._start or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)


class ServerSentEvents:
    """`text/event-stream`. Comments, `id` and `retry` are passed over: nothing here connects anew by itself.

    Differs from the standard in one thing: an event that the end of the body cuts off is given, by `end`. Servers
    leave out the last blank line.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._lines = _Lines(limit)
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        return self._read(self._lines.feed(data))

    def end(self) -> list[Event]:
        return self._read([*self._lines.end(), b""])

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._event())
                self._name = b""
            elif line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line[0] != 58:  # a colon begins a comment
                self._field(line)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._name = value.removeprefix(b" ")
        elif name == b"data":  # without a colon
            self._add(value)

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise EventTooLarge(f"one event is larger than {self._limit} bytes")
        self._data.append(data)

    def _event(self) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        name = self._name.decode(errors="replace") if self._name else "message"
        self._data, self._size = [], 0
        return Event(name, data.decode(errors="replace"))


class JsonLines:
    """One JSON value in each line (`application/x-ndjson`)."""

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._lines = _Lines(limit)

    def feed(self, data: bytes) -> list[Event]:
        return [_line_event(line) for line in self._lines.feed(data) if line.strip()]

    def end(self) -> list[Event]:
        return [_line_event(line) for line in self._lines.end() if line.strip()]


def _line_event(line: bytes) -> Event:
    return Event("message", line.decode(errors="replace"))
