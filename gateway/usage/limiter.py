"""The limits that all workers share: which call may be made now, and when the others may ask again.

Everything is in memory and done at once, so that a call gets all that it needs, or nothing. `snapshot` and `restore`
are what survives a restart; the line does not, because its waiters ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from innkeeper.gateway.usage.gcra import MINUTE_S, Booking, Bucket, wait_s
from innkeeper.gateway.usage.learned import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    Endpoint,
    LearnedLimit,
    Learner,
    Ramp,
    endpoint_of,
)
from innkeeper.gateway.usage.leases import Leases
from innkeeper.gateway.usage.limits import Limit
from innkeeper.gateway.usage.line import SOON_S, Front, Line, Place, Waiter
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.nodes.services.llm.call_messages import start_from_json, start_to_json
from innkeeper.nodes.services.llm.estimates import CHARS_PER_TOKEN

MAX_WAITERS = 100_000
"""Further ones are told to ask again, without a place."""
CROWDED_S = 30.0
EXACTLY_SEEN = 250
"""Of those who stand before a waiter, so many are looked at one by one. The others count as many as these would: its
turn is far off, and it asks again. Else each of ten thousand would look at all others, and nothing else would run."""
FRONT = 16
"""So many of those who wait for a place among concurrent calls ask often, so that none stays free for long."""
USUAL_CALL_S = 5.0
MAX_ASKS_PER_S, MAX_RAMP_ASKS_PER_S = 20, 100
LATE_CALL_S = 600.0
"""A call whose worker was silent is remembered so long: it may have been silent only."""
_SHORTEST_S, _ASK_SHARE, _LONGEST_ASK_S = 0.25, 0.05, 5.0
_SMOOTHING = 0.2
_LEARNED = "learned"


@dataclass(frozen=True)
class Wait:
    """A call may not be made now.

    Attributes:
        seconds: When to ask again.
        limit: What stands in its way, for people.
        place: In the line; 1 is next.
    """

    seconds: float
    limit: str
    place: int

    @property
    def reason(self) -> str:
        return f"{self.limit}, place {self.place} in the line"


@dataclass
class _Call:
    """A call that was let go.

    Attributes:
        taken: Key of a rate, to the number in its bucket and the seconds that one unit takes.
        lost_at: Since when its worker is silent.
    """

    start: CallStart
    began: float
    taken: dict[str, tuple[int, float]] = field(default_factory=dict)
    concurrent: tuple[str, ...] = ()
    lost_at: float | None = None
    kept: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        # What was taken for it stays taken over a restart: to give it back needs more than one number.
        self.kept = {"start": start_to_json(self.start), "began": self.began}


@dataclass(frozen=True)
class _Demand:
    """What one call needs of one limit."""

    key: str
    name: str
    cost: float
    limit: Limit | None = None
    learned: LearnedLimit | None = None
    ramp: Ramp | None = None


class Limiter:
    """See the module.

    Args:
        clock: Seconds that nobody can set.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._concurrent: dict[str, set[str]] = {}
        self._call_s: dict[str, float] = {}
        self._lines: dict[str, Line] = {}
        self._waiters: dict[Place, Waiter] = {}
        self._places: dict[tuple[str, str], set[Place]] = {}
        self._calls: dict[str, _Call] = {}
        self._leases = Leases()
        self._learner = Learner()

    @property
    def waiting(self) -> int:
        """Nodes that wait."""
        return len(self._places)

    @property
    def under_way(self) -> int:
        return len(self._leases)

    # --- calls ----------------------------------------------------------------------------------------------------

    def take(self, start: CallStart, limits: Sequence[Limit]) -> Wait | None:
        """Let a call go, with all that it takes of its limits; or tell when to ask again. The same id goes once."""
        now = self._clock()
        if start.id in self._calls:
            self._renew(start.id, now)
            return None
        demands = self._demands(start, limits)
        waiter = self._join(start, demands, now)
        if waiter is None:
            return Wait(CROWDED_S, f"{MAX_WAITERS:,} nodes that wait already", MAX_WAITERS)
        waits = [(self._wait_s(demand, waiter, now), demand) for demand in demands]
        longest, binding = max(waits, key=lambda found: found[0], default=(0.0, None))
        if binding is None or longest <= 0:
            self._leave(waiter, went=True)
            # It is answered: where else it stood, it needs nothing any more.
            for place in list(self._places.get(waiter.place[:2], ())):
                self._leave(self._waiters[place], went=False)
            self._go(start, demands, now)
            return None
        waiter.due = now + longest
        line = self._lines[binding.key]
        return Wait(_ask_in(longest, binding, len(line)), binding.name, line.place(waiter))

    def learned_rate(self, start: CallStart) -> float | None:
        """Requests a minute, as its provider has shown; None: it has refused nothing lately."""
        learned = self._learner.limits.get(endpoint_of(start))
        return None if learned is None else learned.per_minute

    def put_back(self, id: str) -> None:
        """The call is not made after all: all that it took is given back as if it had never been taken."""
        self.end(CallEnd(id, "not_sent"))

    def renew(self, ids: Sequence[str]) -> list[str]:
        """Their workers are alive; gives the ids that are not known."""
        now = self._clock()
        return [id for id in ids if not self._renew(id, now)]

    def calls_of(self, origin: CallOrigin) -> list[str]:
        """The calls of one attempt whose ends were not told, the oldest first."""
        asked = origin.run, origin.node, origin.attempt
        origins = ((id, call.start.origin) for id, call in self._calls.items())
        return [id for id, found in origins if (found.run, found.node, found.attempt) == asked]

    def adopt(self, start: CallStart) -> None:
        """A call that an earlier gateway let go. It is lost, or lost once more, if nobody renews it."""
        now = self._clock()
        if not self._renew(start.id, now):
            self._calls[start.id] = _Call(start, now)
            self._leases.hold(start.id, now)

    def end(self, end: CallEnd) -> CallStart | None:
        """A call has ended: what it really took is put in the place of what was taken for it. Its start, if known."""
        call = self._calls.pop(end.id, None)
        if call is None:
            return None
        now = self._clock()
        self._leases.free(end.id)
        self._free(call)
        for key, (number, unit_s) in call.taken.items():
            bucket = self._buckets.get(key)
            if bucket is not None:
                bucket.settle(number, unit_s * spent(key, call.start, end), now)
        if end.outcome in ("ok", "cut"):
            self._note_length(call, now - call.began)
        self._learner.end(call.start, call.began, end, now)
        return call.start

    def forget_run(self, run: str) -> None:
        """A run has ended: nobody comes back for its places."""
        for waiter in [waiter for waiter in self._waiters.values() if waiter.run == run]:
            self._leave(waiter, went=False)

    def sweep(self) -> list[str]:
        """Drop what is over. To be called every second; gives calls whose workers are gone."""
        now = self._clock()
        lost = self._leases.drop_expired(now)
        for id in lost:
            call = self._calls[id]
            call.lost_at = now
            self._free(call)
            self._learner.end(call.start, call.began, CallEnd(id, "cut"), now)
        for id in [id for id, call in self._calls.items() if call.lost_at and call.lost_at < now - LATE_CALL_S]:
            self._forget_call(id)
        for waiter in [waiter for waiter in self._waiters.values() if waiter.is_gone(now)]:
            self._leave(waiter, went=False)
        for key in [key for key, bucket in self._buckets.items() if bucket.is_idle(now)]:
            del self._buckets[key]
        self._learner.forget_old(now)
        return lost

    # --- what a call needs ----------------------------------------------------------------------------------------

    def _demands(self, start: CallStart, limits: Sequence[Limit]) -> list[_Demand]:
        demands = [_Demand(limit.key, str(limit), limit.cost(start), limit) for limit in limits]
        endpoint = endpoint_of(start)
        if (learned := self._learner.limits.get(endpoint)) is not None:
            name = f"the limit that {start.host} has shown for {start.model!r}"
            demands.append(_Demand(" ".join((_LEARNED, *endpoint)), name, 1, learned=learned))
        elif not any(limit.kind == "requests" and not limit.key.startswith("requests user") for limit in limits):
            name = f"{start.host}, which may have a limit and is begun with slowly"
            demands.append(_Demand(" ".join((_LEARNED, *endpoint)), name, 1, ramp=self._learner.ramp(start)))
        return demands

    def _wait_s(self, demand: _Demand, waiter: Waiter, now: float) -> float:
        front = self._lines[demand.key].front(waiter, now, EXACTLY_SEEN)
        if demand.limit is not None and demand.limit.kind == "concurrent":
            return self._wait_for_place(demand, front, now)
        if demand.learned is not None:
            return _wait_for_provider(demand.learned, front, now)
        if demand.ramp is not None:
            if demand.ramp.has_answered_more(front.size, now):
                return 0.0
            booked = [Booking(ahead.due, 1) for ahead in front.first]
            wait = wait_s(demand.ramp.tat, demand.ramp.rate, 1, booked, now=now)
            return wait + front.others * demand.ramp.rate.unit_s
        assert demand.limit is not None
        tat = self._buckets[demand.key].tat if demand.key in self._buckets else 0.0
        booked = [Booking(ahead.due, ahead.costs[demand.key]) for ahead in front.first]
        rate = demand.limit.rate
        wait = wait_s(tat, rate, demand.cost, booked, now=now)
        if not front.others:
            return wait
        usual = sum(rate.needed(booking.cost) for booking in booked) / len(booked)
        return wait + front.others * usual * rate.unit_s

    def _wait_for_place(self, demand: _Demand, before: Front, now: float) -> float:
        """Ends of calls cannot be foreseen: the first of the line ask often, the others about when they are first."""
        assert demand.limit is not None
        usual = self._call_s.get(demand.key, USUAL_CALL_S)
        free = demand.limit.amount - len(self._concurrent.get(demand.key, ()))
        asks_every = min(max(usual * _ASK_SHARE, _SHORTEST_S), _LONGEST_ASK_S)
        if free > before.others + sum(ahead.is_present(now, asks_every) for ahead in before.first):
            return 0.0
        front = min(demand.limit.amount, FRONT)
        rounds = (before.size + 1 - front) / demand.limit.amount
        return max(asks_every, rounds * usual)

    def _join(self, start: CallStart, demands: Sequence[_Demand], now: float) -> Waiter | None:
        origin = start.origin
        # A node that may be answered by several endpoints stands in the lines of all of them.
        endpoint = " ".join((start.channel, *endpoint_of(start)))
        place = (origin.run, origin.node if origin.run else start.id, endpoint)
        costs = {demand.key: demand.cost for demand in demands}
        waiter = self._waiters.get(place)
        if waiter is None:
            if len(self._waiters) >= MAX_WAITERS:
                return None
            waiter = self._waiters[place] = Waiter(place, costs, now, start.priority)
            self._places.setdefault(place[:2], set()).add(place)
        for key in [key for key in waiter.numbers if key not in costs]:
            self._leave_line(key, waiter, went=False)
        waiter.costs = costs
        for demand in demands:
            self._lines.setdefault(demand.key, Line(demand.key)).join(waiter)
        return waiter

    def _leave(self, waiter: Waiter, *, went: bool) -> None:
        self._waiters.pop(waiter.place, None)
        places = self._places.get(waiter.place[:2], set())
        places.discard(waiter.place)
        if not places:
            self._places.pop(waiter.place[:2], None)
        for key in list(waiter.numbers):
            self._leave_line(key, waiter, went=went)

    def _leave_line(self, key: str, waiter: Waiter, *, went: bool) -> None:
        line = self._lines[key]
        line.leave(waiter, went=went)
        if not line:
            del self._lines[key]

    def _go(self, start: CallStart, demands: Sequence[_Demand], now: float) -> None:
        call = _Call(start, now)
        for demand in demands:
            if demand.limit is None:
                continue
            if demand.limit.kind == "concurrent":
                self._concurrent.setdefault(demand.key, set()).add(start.id)
                call.concurrent = (*call.concurrent, demand.key)
            else:
                rate = demand.limit.rate
                number = self._buckets.setdefault(demand.key, Bucket()).take(rate.seconds(demand.cost), now)
                call.taken[demand.key] = (number, rate.unit_s)
        self._calls[start.id] = call
        self._leases.hold(start.id, now)
        self._learner.begin(start, now)

    def _renew(self, id: str, now: float) -> bool:
        call = self._calls.get(id)
        if call is None:
            return False
        if call.lost_at is not None:  # it was only silent: its place is taken again, though others may have it now
            call.lost_at = None
            self._hold_places(call)
        self._leases.hold(id, now)
        return True

    def _hold_places(self, call: _Call) -> None:
        for key in call.concurrent:
            self._concurrent.setdefault(key, set()).add(call.start.id)

    def _free(self, call: _Call) -> None:
        for key in call.concurrent:
            held = self._concurrent.get(key, set())
            held.discard(call.start.id)
            if not held:
                self._concurrent.pop(key, None)

    def _forget_call(self, id: str) -> None:
        call = self._calls.pop(id)
        for key, (number, _) in call.taken.items():
            if key in self._buckets:
                self._buckets[key].keep(number)

    def _note_length(self, call: _Call, seconds: float) -> None:
        for key in call.concurrent:
            known = self._call_s.get(key, seconds)
            self._call_s[key] = known + _SMOOTHING * (seconds - known)

    # --- what survives a restart ----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """JSON; times are those of the clock."""
        return {
            "buckets": {key: bucket.tat for key, bucket in self._buckets.items()},
            "learned": [
                [*endpoint, limit.told, limit.per_minute, limit.burst, limit.until, limit.tat]
                for endpoint, limit in self._learner.limits.items()
            ],
            "calls": [[call.kept, call.concurrent, call.lost_at is not None] for call in self._calls.values()],
        }

    def restore(self, state: Mapping[str, Any], elapsed_s: float, was_s: float) -> None:
        """Go on from a snapshot that was made at `was_s` of its clock, `elapsed_s` ago.

        Raises:
            ValueError: It is none of this version; nothing of it is taken.
        """
        now = self._clock()
        shift = now - elapsed_s - was_s
        try:
            # No rate is spent for longer than `Bucket.settle` allows.
            latest = now + 2 * MINUTE_S
            buckets = {str(key): Bucket(min(tat + shift, latest)) for key, tat in state["buckets"].items()}
            learned = dict(_learned_before(row, shift, now) for row in state["learned"])
            calls = [_call_before(row, shift, now) for row in state["calls"]]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"it is no state of limits ({type(error).__name__})") from error
        self._buckets = buckets
        self._learner.limits |= learned
        for call in calls:
            self._calls[call.start.id] = call
            if call.lost_at is None:
                # Its worker could not renew while the gateway was away.
                self._leases.hold(call.start.id, now)
                self._hold_places(call)


def _learned_before(row: Sequence[Any], shift: float, now: float) -> tuple[Endpoint, LearnedLimit]:
    host, key, model, told, per_minute, burst, until, tat = row
    limit = LearnedLimit(
        per_minute,
        told,
        burst,
        until=until + shift,
        empty_since=now,
        held_at=now,
        used_at=now,
        is_first_wave=False,
        tat=tat + shift,
    )
    return (str(host), str(key), str(model)), limit


def _call_before(row: Sequence[Any], shift: float, now: float) -> _Call:
    kept, concurrent, is_lost = row
    call = _Call(start_from_json(kept["start"]), kept["began"] + shift, concurrent=tuple(map(str, concurrent)))
    call.lost_at = now if is_lost else None
    return call


def _wait_for_provider(learned: LearnedLimit, before: Front, now: float) -> float:
    first = max(now, learned.not_before(now))
    unit_s = learned.rate.unit_s
    if not learned.is_probing:
        booked = [Booking(max(ahead.due, first), 1) for ahead in before.first]
        return first - now + wait_s(learned.tat, learned.rate, 1, booked, now=first) + before.others * unit_s
    if first <= now and not any(ahead.is_present(now, FIRST_PAUSE_S) for ahead in before.first):
        return 0.0
    return max(first - now, FIRST_PAUSE_S) + before.size * unit_s


def _ask_in(seconds: float, binding: _Demand, waiting: int) -> float:
    """When one shall ask again whose turn seems to come in `seconds`: earlier, when that is far off or a guess."""
    if binding.learned is not None and binding.learned.is_probing:
        return min(seconds, max(LONGEST_PAUSE_S, waiting / MAX_ASKS_PER_S))
    if binding.ramp is not None:
        return min(seconds, max(FIRST_PAUSE_S, waiting / MAX_RAMP_ASKS_PER_S))
    return seconds if seconds <= SOON_S else max(SOON_S, seconds / 2)


def spent(key: str, start: CallStart, end: CallEnd) -> float:
    """What a call took of the rate `key`, as far as anybody knows."""
    if end.outcome == "not_sent":
        return 0.0
    if not key.startswith("tokens"):
        return 1.0
    if end.usage is not None and (told := _total(end.usage)) is not None:
        return told
    if end.outcome == "failed":
        return 0.0  # refused, or not reached: nothing was worked on
    return start.input_tokens + end.output_chars / CHARS_PER_TOKEN


def _total(usage: Mapping[str, Any]) -> float | None:
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    given = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    total = usage.get("total_tokens")
    if given:
        return float(sum(given))
    return float(total) if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None
