"""Limits that nobody has written down: learned from a provider's 429, per server, key and model. Pure.

An endpoint that is new is begun with slowly, so that its first 429 comes before everything was sent. Two kinds of
servers are met: some refill a bucket steadily, others open a window each minute.

* The rate is what the provider tells (`x-ratelimit-limit-requests`), else what it took in the minute before.
* `Retry-After` says when to begin again. Without it one request at a time asks, after 1, 2, 4, 8, 8 … seconds.
* Whoever was closed for much longer than a bucket takes to gain something has a new window then, and takes as many at
  once as before.
* Each success raises a rate that was guessed by a hundredth, each further 429 lowers it by three tenths.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from innkeeper.gateway.usage.gcra import MINUTE_S, Rate, taken
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 8.0
MAX_RETRY_AFTER_S = 3_600.0
WINDOW_S = 10.0
"""A server that refuses for longer, though it took more in the minute before, counts by windows."""
GROWTH, DECREASE, LEEWAY = 1.01, 0.7, 0.95
PROBE_S = 2.0
"""Refusals come at once: a request that has had no answer for so long was taken."""
FORGET_S = 600.0
"""A limit that was not needed for so long is forgotten: it may have been raised."""
MAX_ENDPOINTS = 1_000
MAX_NOTED = 10_000
START_BURST, START_PER_S = 20, 15
"""With an endpoint that has shown nothing yet: so many at once, and so many a second."""
PEAK_PER_START = 5
"""One more of both for each few that it has answered in a minute."""
MAX_PER_MINUTE = 1e9
MAX_BROKEN = 3
"""So often it may refuse what it has told that it takes, until it is not believed any more."""
_LIMIT_HEADERS = ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")
Endpoint = tuple[str, str, str]


def endpoint_of(start: CallStart) -> Endpoint:
    """Whom a provider counts together, as far as we can know."""
    return start.host, start.key, start.model


def was_refused(end: CallEnd) -> bool:
    """Was it a 429?"""
    return end.outcome != "ok" and end.code == "rate_limit_error"


def told_limit(headers: Mapping[str, str]) -> float | None:
    """Requests a minute, when the provider says so."""
    for name in _LIMIT_HEADERS:
        text = headers.get(name, "").partition(",")[0].strip()
        if text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0:
            return float(text)
    return None


@dataclass
class LearnedLimit:
    """What is known of one endpoint since it has refused a request.

    Attributes:
        per_minute: Requests a minute; `told`: by the provider.
        burst: How many it took at once.
        until: Nothing is sent before.
        empty_since: When it was known to have nothing left.
        held_at: When `until` was set last; what was sent earlier tells nothing new.
        pause_s: Without `Retry-After`, how long the next pause is.
        is_probing: One request at a time asks whether it takes requests again; `probe` is its id.
        is_first_wave: What was under way when the first 429 came is still ending.
        broken: How often it refused what it had told that it takes.
        tat: As in `gateway.usage.gcra`.
    """

    per_minute: float = 1.0
    told: bool = False
    burst: float = 1.0
    until: float = 0.0
    empty_since: float = 0.0
    held_at: float | None = None
    pause_s: float = FIRST_PAUSE_S
    is_probing: bool = False
    probe: str = ""
    probe_at: float = 0.0
    used_at: float = 0.0
    refused_probe: bool = False
    is_first_wave: bool = True
    broken: int = 0
    tat: float = 0.0

    @property
    def rate(self) -> Rate:
        return Rate(self.per_minute, self.burst)

    def refuse(self, end: CallEnd, started: float, accepted: int, now: float) -> None:
        """A 429 came. `accepted`: what it took in the minute before."""
        self.used_at = now
        after = None if end.retry_after_s is None else min(max(end.retry_after_s, 0.0), MAX_RETRY_AFTER_S)
        was_known = self.held_at is not None and started > self.held_at
        if self.is_first_wave and not was_known:
            self._estimate(told_limit(end.headers), accepted, after, now)
        if self.held_at is not None and not was_known:
            self._hold(max(self.until, now + (after or 0.0)), after)
            return
        if self.is_probing and end.id == self.probe:
            self.refused_probe = True
            self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
        elif self.held_at is not None:
            self._lower(after)
            self.pause_s, self.refused_probe = FIRST_PAUSE_S, False
            self._empty(now)
        self.is_probing, self.probe = after is None, ""
        self.held_at = now
        self._hold(now + (self.pause_s if after is None else after), after)

    def accept(self, id: str, started: float, now: float) -> None:
        """A request was answered."""
        if self.held_at is None or started <= self.held_at:
            return
        self.is_first_wave = False
        if not self.is_probing or id != self.probe:
            if not self.told:
                self._set_rate(min(self.per_minute * GROWTH, MAX_PER_MINUTE), now)
            return
        waited = max(started - self.empty_since, FIRST_PAUSE_S)
        if self.refused_probe and self._is_window(waited):
            self.tat = taken(started, self.rate.unit_s, started)
        elif not self.told:
            guess = MINUTE_S / waited
            self.per_minute = guess if self.refused_probe else max(guess, self.per_minute)
            self._empty(started)
        self.is_probing, self.probe, self.until = False, "", now
        self.pause_s, self.refused_probe = FIRST_PAUSE_S, False

    def begin(self, id: str, now: float) -> None:
        """A request is sent."""
        self.used_at = now
        self.tat = taken(self.tat, self.rate.unit_s, now)
        if self.is_probing:
            self.probe, self.probe_at = id, now

    def forget_probe(self, id: str) -> None:
        """It told nothing: another one has to ask."""
        if self.probe == id:
            self.probe = ""

    def not_before(self, now: float) -> float:
        """Nothing is sent earlier."""
        if self.probe and now > self.probe_at + PROBE_S:
            self.accept(self.probe, self.probe_at, now)
        return max(self.until, now + FIRST_PAUSE_S) if self.probe else self.until

    def _hold(self, until: float, after: float | None) -> None:
        self.until = until
        if after is not None and self._is_window(after):
            self.tat = until

    def _estimate(self, limit: float | None, accepted: int, after: float | None, now: float) -> None:
        self.told = limit is not None
        self.burst = max(1.0, float(accepted))
        at_least = MINUTE_S / max(after, FIRST_PAUSE_S) if after is not None else 1.0
        self.per_minute = limit if limit is not None else max(self.burst, at_least)
        self._empty(now)

    def _lower(self, after: float | None) -> None:
        """It refused what came at the rate that is believed. It takes at least one request per `Retry-After`."""
        if self.told:  # enforced by the second, perhaps, where a hair's breadth is too early
            self.broken += 1
            self.told = self.broken < MAX_BROKEN
            self.per_minute *= LEEWAY
            return
        at_least = 1.0 if after is None else min(self.per_minute, MINUTE_S / max(after, FIRST_PAUSE_S))
        self.per_minute = max(self.per_minute * DECREASE, at_least)

    def _is_window(self, pause_s: float) -> bool:
        """Has it been closed for longer than a bucket takes to gain something?"""
        return pause_s >= WINDOW_S and pause_s > 3 * self.rate.unit_s

    def _set_rate(self, per_minute: float, now: float) -> None:
        # What is left to work off are requests: at another rate they take another time.
        self.tat = now + max(self.tat - now, 0.0) * self.per_minute / per_minute
        self.per_minute = per_minute

    def _empty(self, now: float) -> None:
        self.empty_since = now
        self.tat = now + self.burst * self.rate.unit_s


@dataclass
class Ramp:
    """How an endpoint that has refused nothing is begun with: if it has a limit, that is known after a few requests.

    Attributes:
        taken: When requests were made in the last minute, those that were refused left out.
        answered: When those were made that were answered.
        peak: The most that it has answered in a minute.
        tat: As in `gateway.usage.gcra`.
    """

    taken: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_NOTED))
    answered: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_NOTED))
    peak: int = 0
    tat: float = 0.0

    @property
    def rate(self) -> Rate:
        trusted = self.peak / PEAK_PER_START
        return Rate(MINUTE_S * (START_PER_S + trusted), START_BURST + trusted)

    def has_answered_more(self, ahead: int, now: float) -> bool:
        """Has it answered more in a minute than it would have got with one more, and those ahead of it?"""
        _drop_old(self.taken, now)
        return len(self.taken) + ahead < self.peak

    def begin(self, now: float) -> None:
        self.tat = taken(self.tat, self.rate.unit_s, now)
        self.taken.append(now)
        _drop_old(self.taken, now)

    def accept(self, started: float, now: float) -> None:
        self.answered.append(started)
        _drop_old(self.answered, now)
        self.peak = max(self.peak, len(self.answered))

    def refuse(self, now: float) -> int:
        """Gives how many were taken in the last minute."""
        _drop_old(self.taken, now)
        if self.taken:
            self.taken.pop()  # which of them it was does not matter: they are of one moment, or nearly
        self.peak = min(self.peak, len(self.taken))
        return len(self.taken)


@dataclass
class Learner:
    """All endpoints that were asked lately."""

    limits: dict[Endpoint, LearnedLimit] = field(default_factory=dict)
    _ramps: OrderedDict[Endpoint, Ramp] = field(default_factory=OrderedDict)

    def ramp(self, start: CallStart) -> Ramp:
        """Of the endpoint that is asked."""
        endpoint = endpoint_of(start)
        found = self._ramps.setdefault(endpoint, Ramp())
        self._ramps.move_to_end(endpoint)
        if len(self._ramps) > MAX_ENDPOINTS:
            self._ramps.popitem(last=False)
        return found

    def begin(self, start: CallStart, now: float) -> None:
        """A call is made."""
        if (limit := self.limits.get(endpoint_of(start))) is not None:
            limit.begin(start.id, now)
        self.ramp(start).begin(now)

    def end(self, start: CallStart, started: float, end: CallEnd, now: float) -> None:
        """It has ended."""
        endpoint, ramp = endpoint_of(start), self.ramp(start)
        limit = self.limits.get(endpoint)
        if was_refused(end):
            if limit is None:
                limit = self.limits[endpoint] = LearnedLimit()
                while len(self.limits) > MAX_ENDPOINTS:
                    del self.limits[next(iter(self.limits))]
            limit.refuse(end, started, ramp.refuse(now), now)
            return
        if end.outcome == "ok":
            ramp.accept(started, now)
        if limit is not None and end.outcome == "ok":
            limit.accept(start.id, started, now)
        elif limit is not None:
            limit.forget_probe(start.id)

    def forget_old(self, now: float) -> list[Endpoint]:
        """Drop what was not needed for long; gives the endpoints."""
        old = [endpoint for endpoint, limit in self.limits.items() if limit.used_at < now - FORGET_S]
        for endpoint in old:
            del self.limits[endpoint]
        return old


def _drop_old(taken: deque[float], now: float) -> None:
    while taken and taken[0] <= now - MINUTE_S:
        taken.popleft()
