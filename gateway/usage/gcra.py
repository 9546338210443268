"""The generic cell rate algorithm: a limit is kept with one number per key. Pure: the time is given.

The number is the time at which everything taken so far would be worked off at the limit's rate. What lies before `now`
is idle time, which nobody can save up beyond the burst.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

MINUTE_S = 60.0
BURST_SHARE = 0.1
"""Of what a minute allows, so much may come at once when nothing else is said: six seconds' worth."""
_CLOCK_S = 1e-6
"""A wait shorter than that is none: seconds of a clock that has run for months are not told apart better."""


@dataclass(frozen=True)
class Rate:
    """At most `burst` at once, and `per_minute` a minute in the long run: never more than `burst + rate * t` in `t`."""

    per_minute: float
    burst: float

    @classmethod
    def of(cls, per_minute: float, burst: float | None = None) -> Rate:
        """`burst`: by default a tenth of a minute's amount, and at least one."""
        return cls(per_minute, max(1.0, per_minute * BURST_SHARE if burst is None else burst))

    @property
    def unit_s(self) -> float:
        """How long one unit takes to work off."""
        return MINUTE_S / self.per_minute

    def seconds(self, cost: float) -> float:
        """How long a call takes to work off. One counts at most as much as a whole minute allows.

        Else a graph that asks for a billion tokens would close the limit for everybody.
        """
        return min(cost, self.per_minute) * self.unit_s

    def needed(self, cost: float) -> float:
        """Units that have to be there for a call: one that is larger than the burst goes when all of it is there."""
        return min(cost, self.burst)


def units(tat: float, rate: Rate, now: float) -> float:
    """How much can be taken now; below zero while earlier calls have to be worked off."""
    return rate.burst - max(tat - now, 0.0) / rate.unit_s


def taken(tat: float, seconds: float, now: float) -> float:
    """The number after a call that takes `seconds` to work off."""
    return max(tat, now) + seconds


class Booking(NamedTuple):
    """What one who waits will take, and when its turn is."""

    due: float
    cost: float


def wait_s(tat: float, rate: Rate, cost: float, ahead: Iterable[Booking], *, now: float) -> float:
    """Seconds until a call can be made without making those late who are ahead of it; 0 for now.

    A small call may go before a large one that has to wait longer anyway, but never at its expense.
    """
    there, needed = units(tat, rate, now), rate.needed(cost)
    start, booked = now, 0.0
    for booking in sorted(ahead, key=lambda booking: booking.due):
        due = max(booking.due, now)
        booked += rate.needed(booking.cost)
        left = there + (due - now) / rate.unit_s - booked
        if left < needed:
            start = due + (needed - left) * rate.unit_s
    start = max(start, now + (needed - there) * rate.unit_s)
    return start - now if start - now > _CLOCK_S else 0.0


@dataclass
class Bucket:
    """The number of one key, and what is needed to give back what a call did not use.

    Attributes:
        tat: As above, in seconds of the clock that the caller uses.
    """

    tat: float = 0.0
    _count: int = 0
    _open: dict[int, float] = field(default_factory=dict)
    # For each call that is open, how little was left to work off at some time since: what was idle then cannot be given
    # back. Rising from front to back, so that the first entry after a call is the least.
    _lows: list[tuple[int, float]] = field(default_factory=list)

    def is_idle(self, now: float) -> bool:
        """Is it as good as new?"""
        return self.tat <= now and not self._open

    def take(self, seconds: float, now: float) -> int:
        """Take for a call; gives the number under which `settle` knows it."""
        self._count += 1
        load = max(self.tat - now, 0.0)
        while self._lows and self._lows[-1][1] >= load:
            self._lows.pop()
        self._lows.append((self._count, load))
        self._open[self._count] = seconds
        self.tat = taken(self.tat, seconds, now)
        return self._count

    def settle(self, number: int, seconds: float, now: float) -> None:
        """Put what a call really took in the place of what was taken for it.

        What was too much is given back as far as it is not worked off: afterwards the number is what it would be had
        the call taken the right amount at once. What was too little is added; that it is more than a minute's worth is
        not believed.
        """
        reserved = self._open.pop(number, None)
        if reserved is None:
            return
        if seconds > reserved:
            self.tat = max(self.tat, min(taken(self.tat, seconds - reserved, now), now + 2 * MINUTE_S))
        else:
            self._give_back(number, reserved - seconds, now)
        oldest = next(iter(self._open), self._count + 1)
        del self._lows[: bisect_right(self._lows, (oldest, float("inf")))]

    def keep(self, number: int) -> None:
        """A call is gone, and nobody knows what it took: what was taken for it stays taken."""
        self.settle(number, self._open.get(number, 0.0), 0.0)

    def _give_back(self, number: int, seconds: float, now: float) -> None:
        first = bisect_right(self._lows, (number, float("inf")))
        if first < len(self._lows):
            seconds = min(seconds, self._lows[first][1])
            lowered = [(count, low - seconds) for count, low in self._lows[first:]]
            before = [entry for entry in self._lows[:first] if entry[1] < lowered[0][1]]
            self._lows = before + lowered
        self.tat -= min(seconds, max(self.tat - now, 0.0))
