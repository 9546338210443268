"""The line before a limit: first come, first served within a priority, with a fair share for each run.

Each waiter gets a number in its priority: one more than the number of the last who went, or than that of the last
waiter of its own run if this is higher. So a run with a thousand waiting nodes stands between the nodes of the others,
not before them.
Nobody is called: waiters are told when to ask again. One who does not come back holds up others for `HOLD_S`, keeps its
place for `KEEP_S`, and is then forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from innkeeper.nodes.node import USUAL_PRIORITY

HOLD_S = 2.0
"""So long after its turn, what a waiter needs is left for it."""
KEEP_S = 60.0
"""So long after its turn, it goes before all who came later, if there is room."""
SOON_S = 20.0
"""One whose turn is later asks again at half time: who was ahead may be gone by then."""


Number = tuple[int, int, int]
"""Priority, share of the run, arrival."""
Place = tuple[str, str, str]
"""A run, the path of a node, and the endpoint that it waits for."""


@dataclass(eq=False)
class Waiter:
    """A node that waits.

    Attributes:
        place: Names it.
        costs: By key of each limit that its call needs: how much of it.
        due: When its turn comes, as far as that is known; seconds of the limiter's clock.
        priority: The lowest goes first.
        numbers: By key: where it stands in the line of that limit.
    """

    place: Place
    costs: dict[str, float]
    due: float
    priority: int = USUAL_PRIORITY
    numbers: dict[str, Number] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return self.place[0]

    def is_present(self, now: float, within_s: float = 0.0) -> bool:
        """Is it about to come, or only a little late?"""
        return now - HOLD_S <= self.due <= now + within_s

    def is_late(self, now: float) -> bool:
        return self.due < now - HOLD_S

    def is_gone(self, now: float) -> bool:
        return self.due < now - KEEP_S


class Front(NamedTuple):
    """Those before a waiter: the first ones, and how many more stand between them and it."""

    first: list[Waiter]
    others: int

    @property
    def size(self) -> int:
        return len(self.first) + self.others


class _Entry(NamedTuple):
    number: Number
    waiter: Waiter


@dataclass
class Line:
    """The waiters of one limit, in order."""

    key: str
    _entries: list[_Entry] = field(default_factory=list)
    _last_gone: dict[int, int] = field(default_factory=dict)
    _last_of_run: dict[tuple[int, str], int] = field(default_factory=dict)
    _arrivals: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def join(self, waiter: Waiter) -> None:
        """Give a waiter its place. One who has a place keeps it."""
        if self.key in waiter.numbers:
            return
        self._arrivals += 1
        priority = waiter.priority
        share = max(self._last_gone.get(priority, 0), self._last_of_run.get((priority, waiter.run), 0)) + 1
        self._last_of_run[priority, waiter.run] = share
        waiter.numbers[self.key] = number = (priority, share, self._arrivals)
        insort(self._entries, _Entry(number, waiter), key=lambda entry: entry.number)

    def leave(self, waiter: Waiter, *, went: bool) -> None:
        """Take a waiter out. `went`: its call is made."""
        number = waiter.numbers.pop(self.key, None)
        if number is None:
            return
        del self._entries[self._index(number)]
        priority, share, _ = number
        own = priority, waiter.run
        if went:
            self._last_gone[priority] = max(self._last_gone.get(priority, 0), share)
        elif self._last_of_run.get(own) == share:
            self._last_of_run[own] = share - 1
        if len(self._last_of_run) > 2 * len(self._entries) + 100:
            self._forget_runs()

    def _forget_runs(self) -> None:
        """Those whose share is no larger than anybody's."""
        gone = self._last_gone
        self._last_of_run = {own: last for own, last in self._last_of_run.items() if last > gone.get(own[0], 0)}

    def ahead(self, waiter: Waiter) -> Iterator[Waiter]:
        """Those who stand before a waiter, the first of the line first."""
        for entry in islice(self._entries, self._index(waiter.numbers[self.key])):
            yield entry.waiter

    def front(self, waiter: Waiter, now: float, most: int) -> Front:
        """Those who stand before a waiter and are not late."""
        found, seen = list[Waiter](), 0
        for ahead in self.ahead(waiter):
            if len(found) == most:
                break
            seen += 1
            if not ahead.is_late(now):
                found.append(ahead)
        return Front(found, self.place(waiter) - 1 - seen)

    def place(self, waiter: Waiter) -> int:
        """1 for the first."""
        return self._index(waiter.numbers[self.key]) + 1

    def _index(self, number: Number) -> int:
        return bisect_left(self._entries, number, key=lambda entry: entry.number)
