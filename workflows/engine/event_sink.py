"""Where the interpreter emits what no activity can know: skips, bypasses, final errors, interruptions.

Like a log line: never awaited, not in history, emitted again during replay (the event log drops what it has).
A worker process installs its own sink; a replayer keeps the null sink.
"""

from __future__ import annotations

from typing import Any, Protocol


class EventSink(Protocol):
    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        """Pass on one event of a node. Called on the workflow's thread: must neither block nor raise."""


class _NullEventSink:
    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        pass


_sink: EventSink = _NullEventSink()


def install_event_sink(sink: EventSink | None) -> None:
    """Set this process's sink; None restores the null sink."""
    global _sink
    _sink = sink or _NullEventSink()


def emit(run: str, path: str, type: str, payload: dict[str, Any]) -> None:
    _sink.fact(run, path, type, payload)
