"""Nodes, a provider and the limiter on a clock that is only counted: many minutes in some milliseconds."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from innkeeper.gateway.usage.limiter import Limiter
from innkeeper.gateway.usage.limits import Limit
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart


class Server(Protocol):
    """A provider. `ask` says whether it takes a request now, and otherwise in how many seconds it would."""

    def ask(self, now: float) -> tuple[bool, float]: ...


@dataclass
class BucketServer:
    """Refills steadily."""

    per_minute: float
    capacity: float
    level: float = -1
    at: float = 0.0

    def ask(self, now: float) -> tuple[bool, float]:
        if self.level < 0:
            self.level, self.at = self.capacity, now
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        if self.level < 1:
            return False, (1 - self.level) * 60 / self.per_minute
        self.level -= 1
        return True, 0.0


@dataclass
class SlidingServer:
    """At most so many in any last minute."""

    per_minute: int
    taken: deque[float] = field(default_factory=deque)

    def ask(self, now: float) -> tuple[bool, float]:
        while self.taken and self.taken[0] <= now - 60:
            self.taken.popleft()
        if len(self.taken) >= self.per_minute:
            return False, self.taken[0] + 60 - now
        self.taken.append(now)
        return True, 0.0


@dataclass
class FixedServer:
    """So many from one full minute to the next."""

    per_minute: int
    minute: int = -1
    count: int = 0

    def ask(self, now: float) -> tuple[bool, float]:
        if (minute := int(now // 60)) != self.minute:
            self.minute, self.count = minute, 0
        self.count += 1
        return self.count <= self.per_minute, (minute + 1) * 60 - now


@dataclass
class World:
    """Nodes that come back when they are told to, a little late.

    Attributes:
        sent: When each request was made, and whether it was taken.
        went: When each node's request was made that was taken, by place.
    """

    limits: Sequence[Limit] = ()
    server: Server | None = None
    tells_wait: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    answers_s: tuple[float, float] = (0.5, 3.0)
    refused_s: float = 0.05
    tokens: tuple[int, int] = (100, 100)
    lateness_s: tuple[float, float] = (0.02, 0.15)
    now: float = 1_000.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    sent: list[tuple[float, bool]] = field(default_factory=list)
    went: dict[tuple[str, str], float] = field(default_factory=dict)
    ended: float = 0.0
    asked: int = 0

    def __post_init__(self) -> None:
        self.limiter = Limiter(lambda: self.now)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._tries: dict[tuple[str, str], int] = {}

    def at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), do))

    def add(self, run: str, nodes: int, *, at: float = 0.0, per_s: float = 100.0) -> None:
        """Nodes of a run, which begin one after the other."""
        for index in range(nodes):
            self.at(self.now + at + index / per_s, lambda place=(run, f"n{index}"): self._ask(place))  # type: ignore[misc]

    def play(self, until: float = 3_600.0) -> None:
        """Until nothing is left to happen, with a sweep each second."""
        end, sweep = self.now + until, self.now
        while self._events and self.now < end:
            moment, _, do = heapq.heappop(self._events)
            while sweep < moment:
                self.now = sweep
                self.limiter.renew(list(self.limiter._calls))
                self.limiter.sweep()
                sweep += 1.0
            self.now = max(self.now, moment)
            do()

    def starts(self) -> Iterator[float]:
        return iter(sorted(self.went.values()))

    def _ask(self, place: tuple[str, str]) -> None:
        self.asked += 1
        number = self._tries[place] = self._tries.get(place, 0) + 1
        start = CallStart(
            f"{place}/{number}",
            CallOrigin(*place, attempt=number),
            "x",
            "host:443",
            "openai",
            "m",
            "key",
            *self.tokens,
        )
        wait = self.limiter.take(start, self.limits)
        if wait is not None:
            self.at(self.now + wait.seconds + self.chance.uniform(*self.lateness_s), lambda: self._ask(place))
        else:
            self._send(place, start)

    def _send(self, place: tuple[str, str], start: CallStart) -> None:
        taken, wait = self.server.ask(self.now) if self.server is not None else (True, 0.0)
        self.sent.append((self.now, taken))
        if taken:
            self.went[place] = self.now
            self.at(self.now + self.chance.uniform(*self.answers_s), lambda: self._answered(start))
        else:
            self.at(self.now + self.refused_s, lambda: self._refused(place, start, wait))

    def _answered(self, start: CallStart) -> None:
        self.ended = self.now
        self.limiter.end(CallEnd(start.id, "ok", headers=self.headers))

    def _refused(self, place: tuple[str, str], start: CallStart, wait: float) -> None:
        told = max(1.0, float(-(-wait // 1))) if self.tells_wait else None
        end = CallEnd(start.id, "failed", "rate_limit_error", retry_after_s=told, headers=self.headers)
        self.limiter.end(end)
        again = told if told is not None else self.chance.uniform(0.5, 4)
        self.at(self.now + again + self.chance.uniform(*self.lateness_s), lambda: self._ask(place))
