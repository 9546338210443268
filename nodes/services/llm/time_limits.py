"""How long an answer may keep us waiting. Pure: the driver knows the clock."""

from __future__ import annotations

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.node import ChatTimes
from innkeeper.nodes.services.llm.errors import transport_error

AFTER_FINISH_S = 3.0
"""So long usage and the end mark may come after the finish reason."""


class TimeLimits:
    """How long may be waited for the next bytes.

    Before the first piece only `first` counts: comments that a server sends to keep the connection do not answer.
    After it any byte breaks the silence, since it shows that the provider lives, but comments alone are borne no
    longer than the longer of `first` and `silence`. After the finish reason `AFTER_FINISH_S` counts, since the last
    piece.
    """

    def __init__(self, times: ChatTimes, now: float) -> None:
        self._times = times
        self._began = now
        self._last_piece: float | None = None

    def note_piece(self, now: float) -> None:
        self._last_piece = now

    def deadline(self, now: float, *, is_finished: bool) -> tuple[float | None, str]:
        """When the waiting ends, and by which limit. `now`: the time at which it begins."""
        times, last = self._times, self._last_piece
        if is_finished:
            return (now if last is None else last) + AFTER_FINISH_S, "finish"
        limits: list[tuple[float, str]] = []
        if times.whole is not None:
            limits.append((self._began + times.whole, "whole"))
        if last is None and times.first is not None:
            limits.append((self._began + times.first, "first"))
        if last is not None and times.silence is not None:
            limits.append((now + times.silence, "silence"))
            if times.first is not None:
                limits.append((last + max(times.first, times.silence), "silence"))
        return min(limits, default=(None, ""))

    def error(self, host: str, limit: str) -> ProviderError:
        seconds = {"whole": self._times.whole, "first": self._times.first}.get(limit, self._times.silence)
        what = {"whole": "did not finish its answer", "first": "began no answer"}.get(limit, "sent nothing more")
        error = transport_error(host, "timeout_error", f"{what} within {seconds:g} s")
        error.details |= {"limit": limit, "seconds": seconds}
        return error
