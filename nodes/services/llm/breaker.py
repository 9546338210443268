"""Circuit breakers: an endpoint that keeps failing is left alone for a while, then one request finds out how it is.

`Circuit` is the pure state of one endpoint, `Breaker` holds those of a worker process. Times are of a monotonic clock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

MAX_CIRCUITS = 1_000
MAX_GROWTHS = 100
Verdict = Literal["succeeded", "failed", "answered", "none"]
"""`answered`: it is there, but refused the request or was busy, which says nothing of its health. `none`: it is not
known, because the request was cancelled or never made."""


@dataclass(frozen=True)
class BreakerRules:
    """When circuits open, and for how long.

    Attributes:
        failures: So many in a row open it.
        cool_down_s: Pause after it opened; each probe that fails makes it `growth` times as long, up to `longest_s`.
        probe_s: A probe that has not answered after so long no longer keeps others from trying.
        again_s: Who meets a probe under way comes again after this.
    """

    failures: int = 5
    cool_down_s: float = 5.0
    growth: float = 2.0
    longest_s: float = 60.0
    probe_s: float = 60.0
    again_s: float = 5.0


@dataclass(frozen=True)
class Circuit:
    """The health of one endpoint.

    Attributes:
        failures: In a row, while it is closed.
        openings: How often it has opened since it last answered; 0 is closed.
        until: Nobody asks before. While a probe is under way: until it counts as lost.
        is_probed: One request is under way that finds out.
        code: Why the last request failed.
        generation: Grows when it opens, closes or is probed. What older requests say does not count any more: a
            hundred that fail together open it once.
    """

    failures: int = 0
    openings: int = 0
    until: float = 0.0
    is_probed: bool = False
    code: str = ""
    generation: int = 0

    def wait_s(self, now: float, rules: BreakerRules) -> float:
        """Seconds until it is worth asking again; 0 when it may be asked now."""
        left = max(self.until - now, 0.0) if self.openings else 0.0
        return min(left, rules.again_s) if self.is_probed else left

    def taken(self, now: float, rules: BreakerRules) -> Circuit:
        """One asks it now. While it is open, this is the probe."""
        if not self.openings:
            return self
        return replace(self, is_probed=True, until=now + rules.probe_s, generation=self.generation + 1)

    def after(self, verdict: Verdict, now: float, rules: BreakerRules, code: str = "") -> Circuit:
        """How it is after a request of this generation."""
        if verdict == "succeeded" or (verdict == "answered" and self.openings):
            changes = 1 if self.openings else 0
            return Circuit(generation=self.generation + changes)
        if verdict == "failed":
            return self._failed(now, rules, code)
        # A probe that found nothing out: the next one may try at once.
        return replace(self, is_probed=False, until=now) if self.is_probed else self

    def _failed(self, now: float, rules: BreakerRules, code: str) -> Circuit:
        failures = self.failures + 1
        if not self.openings and failures < rules.failures:
            return replace(self, failures=failures, code=code)
        # Of a server that is dead for a day, no float could hold the power.
        growth = rules.growth ** min(self.openings, MAX_GROWTHS)
        pause_s = min(rules.cool_down_s * growth, rules.longest_s)
        return Circuit(
            failures=failures,
            openings=self.openings + 1,
            until=now + pause_s,
            code=code,
            generation=self.generation + 1,
        )


@dataclass(frozen=True)
class Refusal:
    """Why it is not asked now.

    Attributes:
        openings: As of `Circuit`: more than one says that a probe has failed, too.
    """

    wait_s: float
    openings: int
    code: str


Name = tuple[str, ...]


class Breaker:
    """The circuits of a worker process, by name. All attempts of nodes share them.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, rules: BreakerRules = BreakerRules(), clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._circuits: OrderedDict[Name, Circuit] = OrderedDict()

    def refusal(self, names: Sequence[Name]) -> Refusal | None:
        """Why a request that needs all these is not worth making now; None when it is."""
        now = self._clock()
        circuits = [self._circuits.get(name, Circuit()) for name in names]
        slowest = max(circuits, key=lambda circuit: circuit.wait_s(now, self._rules))
        wait_s = slowest.wait_s(now, self._rules)
        return Refusal(wait_s, slowest.openings, slowest.code) if wait_s > 0 else None

    def take(self, names: Sequence[Name]) -> Ticket:
        """Make a request that needs all these; the ticket must be told how it went, also when it was cancelled."""
        now = self._clock()
        generations = {}
        for name in names:
            circuit = self._circuits.pop(name, Circuit()).taken(now, self._rules)
            self._circuits[name] = circuit
            generations[name] = circuit.generation
        while len(self._circuits) > MAX_CIRCUITS:
            self._circuits.popitem(last=False)
        return Ticket(self, generations)

    def settle(self, name: Name, generation: int, verdict: Verdict, code: str) -> int:
        """Take what a request says, unless it is outdated; gives the generation that it belongs to from now on."""
        circuit = self._circuits.get(name, Circuit())
        if circuit.generation != generation:
            return generation
        after = circuit.after(verdict, self._clock(), self._rules, code)
        self._circuits[name] = after
        return after.generation


class Ticket:
    """One request, and what it tells of the endpoints that it needs."""

    def __init__(self, breaker: Breaker, generations: dict[Name, int]) -> None:
        self._breaker = breaker
        self._generations = generations

    def tell(self, verdicts: Sequence[Verdict], code: str = "") -> None:
        """How it went, for each endpoint in the order of `Breaker.take`. Of a stream first that it began, then how it
        ended."""
        for (name, generation), verdict in zip([*self._generations.items()], verdicts, strict=False):
            self._generations[name] = self._breaker.settle(name, generation, verdict, code)
