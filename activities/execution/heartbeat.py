"""Heartbeats, with counters only: chunks travel on the socket, never in heartbeats."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio import activity

from innkeeper.activities.execution.heartbeat_pace import HeartbeatPace
from innkeeper.activities.link.interrupts import Interrupts

LEAST_WAIT_S = 1.0
"""What a wait counts at least where all waits of its kind together are bounded: none is free."""


@dataclass(frozen=True)
class EarlierAttempts:
    """How the attempts of an activity before this one have ended, as the last heartbeat of theirs tells.

    Attributes:
        waits: Attempts that only waited.
        failures: Attempts that failed and said so.
        deaths: Attempts that ended without a word: their worker was killed, or stood still.
        timeouts: Those of the failures that ran out of time.
        waited: Kind to the seconds that waits of it were given together (`NodeMustWait.details.kind`).
        exceeded_limit: The last one had worked for longer than it may.
    """

    waits: int = 0
    failures: int = 0
    deaths: int = 0
    timeouts: int = 0
    waited: Mapping[str, float] = field(default_factory=dict)
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
        timeouts = min(failures, int(told.get("timeouts", 0)))
        return cls(waits, failures, ended - failures, timeouts, dict(told.get("waited") or {}), bool(told.get("late")))

    def after(self, counted: Mapping[str, Any]) -> EarlierAttempts:
        """With what was counted before the node was parked (`NodeCall.counted`)."""
        if not counted:
            return self
        waited = dict(self.waited)
        for kind, seconds in (counted.get("waited") or {}).items():
            waited[kind] = waited.get(kind, 0.0) + float(seconds)
        return replace(
            self,
            failures=self.failures + int(counted.get("failures", 0)),
            deaths=self.deaths + int(counted.get("deaths", 0)),
            timeouts=self.timeouts + int(counted.get("timeouts", 0)),
            waited=waited,
        )

    def counted(self) -> dict[str, Any]:
        """What must be known of them when the node is started anew: the message that `after` takes."""
        told = {"failures": self.failures, "deaths": self.deaths, "timeouts": self.timeouts}
        return {**told, **({"waited": dict(self.waited)} if self.waited else {})}

    def with_wait(self, kind: str, seconds: float) -> EarlierAttempts:
        """With one more wait. Only those of a kind are added up."""
        waited = {**self.waited, kind: self.waited.get(kind, 0.0) + max(seconds, LEAST_WAIT_S)} if kind else self.waited
        return replace(self, waits=self.waits + 1, waited=waited)

    def with_failure(self, *, timed_out: bool) -> EarlierAttempts:
        return replace(self, failures=self.failures + 1, timeouts=self.timeouts + timed_out)


class Heartbeat:
    """Sends heartbeats while an attempt runs, and in them how this attempt and those before it ended.

    Args:
        pace: How often; one a second by default: nobody then tells of interruptions.
        run: Whose attempt it is, for the pace.
    """

    def __init__(
        self, earlier: EarlierAttempts | None = None, *, pace: HeartbeatPace | None = None, run: str = ""
    ) -> None:
        self.earlier = earlier or EarlierAttempts()
        self._pace, self._run = pace or HeartbeatPace(Interrupts()), run
        self.chunks = 0
        self._told = self.earlier
        self._is_late = False
        self._has_timed_out = False
        self._timer: asyncio.TimerHandle | None = None
        # Whoever else asks for a heartbeat is not in the context of this activity.
        self._context = contextvars.copy_context()

    def start(self) -> None:
        self._pace.join(self._run, self._beat_now)
        self._schedule()

    def stop(self) -> None:
        self._pace.leave(self._run, self._beat_now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count_wait(self, kind: str = "", seconds: float = 0.0) -> None:
        """Tell the server that this attempt was a wait; it is flushed before the attempt's failure is reported."""
        self._told = self.earlier.with_wait(kind, seconds)  # not a failure: an attempt is one or the other
        self._send()

    def count_failure(self, *, late: bool = False, timed_out: bool = False) -> None:
        """Tell the server that this attempt has failed. `late`: it worked for longer than it may."""
        self._is_late = self._is_late or late
        self._has_timed_out = self._has_timed_out or late or timed_out
        self._told = self.earlier.with_failure(timed_out=self._has_timed_out)
        self._send()

    def _send(self) -> None:
        found = self._told
        told: dict[str, Any] = {"waits": found.waits, "failures": found.failures, "chunks": self.chunks}
        if found.timeouts:
            told["timeouts"] = found.timeouts
        if found.waited:
            told["waited"] = dict(found.waited)
        activity.heartbeat({**told, "late": True} if self._is_late else told)

    def _schedule(self) -> None:
        self._beat_in(self._pace.interval_s(self._run))

    def _beat_now(self) -> None:
        self._beat_in(0.0)

    def _beat_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._beat, context=self._context)

    def _beat(self) -> None:
        self._send()
        self._schedule()
