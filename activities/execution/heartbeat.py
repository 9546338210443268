"""One heartbeat a second, with counters only: chunks travel on the socket, never in heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import activity

INTERVAL_S = 1.0


@dataclass(frozen=True)
class EarlierAttempts:
    """How the attempts of an activity before this one have ended, as the last heartbeat of theirs tells.

    Attributes:
        waits: Attempts that only waited.
        failures: Attempts that failed and said so.
        deaths: Attempts that ended without a word: their worker was killed, or stood still.
        exceeded_limit: The last one had worked for longer than it may.
    """

    waits: int = 0
    failures: int = 0
    deaths: int = 0
    exceeded_limit: bool = False

    @classmethod
    def of(cls, attempt: int, heartbeat_details: Sequence[Any]) -> EarlierAttempts:
        """`attempt`: the number of the present one, from 1."""
        last = heartbeat_details[-1] if heartbeat_details else None
        told: Mapping[str, Any] = last if isinstance(last, Mapping) else {}
        waits = int(told.get("waits", 0))
        ended = max(0, attempt - 1 - waits)
        # A worker of an older version does not count failures: what was no wait was one.
        failures = min(ended, int(told.get("failures", ended if told else 0)))
        return cls(waits, failures, ended - failures, bool(told.get("late")))


class Heartbeat:
    """Sends heartbeats while an attempt runs, and in them how this attempt and those before it ended."""

    def __init__(self, earlier: EarlierAttempts | None = None) -> None:
        self.earlier = earlier or EarlierAttempts()
        self.chunks = 0
        self._has_waited = False
        self._has_failed = False
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count_wait(self) -> None:
        """Tell the server that this attempt was a wait; it is flushed before the attempt's failure is reported."""
        self._has_waited, self._has_failed = True, False  # an attempt is one or the other
        self._send()

    def count_failure(self, *, late: bool = False) -> None:
        """Tell the server that this attempt has failed. `late`: it worked for longer than it may."""
        self._has_failed = True
        self._is_late = self._is_late or late
        self._send()

    def _send(self) -> None:
        told: dict[str, Any] = {
            "waits": self.earlier.waits + self._has_waited,
            "failures": self.earlier.failures + self._has_failed,
            "chunks": self.chunks,
        }
        activity.heartbeat({**told, "late": True} if self._is_late else told)

    def _beat(self) -> None:
        self._send()
        self.start()
