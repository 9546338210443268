"""Whether a delivery starts a run: the one place where filter, dedupe, debounce, concurrency and rate meet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from innkeeper.gateway.triggers.mapping import Reading
from innkeeper.gateway.triggers.model import Trigger
from innkeeper.gateway.triggers.token_bucket import Bucket, Limit, take, wait_ms

Outcome = Literal["fire", "filtered", "duplicate", "skipped", "queued", "refused"]

MAX_QUEUED = 1_000
"""Deliveries that wait behind open runs, for one concurrency key."""
MAX_DEPTH = 10
"""Runs that started each other by triggers. A workflow that starts itself would go on for ever."""


@dataclass(frozen=True)
class State:
    """What is known of a trigger's recent deliveries. Keys are those of a `Reading`; a key that is missing is new.

    Attributes:
        open_runs: By concurrency key: ids of runs that have not ended, the oldest first.
        queued: By concurrency key: how many deliveries wait.
        seen: By dedupe key: the id of the run that the first delivery started, or will start.
        debounce: By debounce key: the bucket of what fired.
        rate: By rate key: the same.
    """

    open_runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queued: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    debounce: Mapping[str, Bucket] = field(default_factory=dict)
    rate: Mapping[str, Bucket] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What is done with a delivery.

    Attributes:
        reason: Why it does not fire now; "" when it does.
        run_id: Of a duplicate: the run of the first delivery.
        cancels: Runs to cancel before this one starts, the oldest first.
        retry_after_s: When it may be sent again with better luck; None where that is not a matter of time.
    """

    outcome: Outcome
    reason: str = ""
    run_id: str | None = None
    cancels: tuple[str, ...] = ()
    retry_after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        """Will a run come of it? Only then its dedupe key is kept and its tokens are spent."""
        return self.outcome in ("fire", "queued")


def decide(trigger: Trigger, state: State, reading: Reading, *, now_ms: int, depth: int = 0) -> Decision:
    """Decide on a delivery; the first reason against it counts.

    A duplicate comes before all that depends on time: a delivery that is sent again is told of its run, not of a rate.

    Args:
        reading: Of `mapping.read_delivery`.
        now_ms: Milliseconds since 1970.
        depth: How many runs, each started by the end of the one before, led to this delivery.
    """
    found = _against_delivery(trigger, reading, depth) or _duplicate(state, reading)
    found = found or _debounced(trigger, state, reading, now_ms)
    decision = found or _beside_open_runs(trigger, state, reading)
    if not decision.is_taken:
        return decision
    # Last, and for what is queued too: a rate counts the runs that come of it.
    return _over_rate(trigger, state, reading, now_ms) or decision


def after(trigger: Trigger, state: State, reading: Reading, *, now_ms: int, run_id: str) -> State:
    """The state after a delivery was taken as `run_id`; without its open runs and queue, which others count."""
    seen = {**state.seen, reading.dedupe_key: run_id} if reading.dedupe_key is not None else state.seen
    debounce, rate = dict(state.debounce), dict(state.rate)
    if (limit := debounce_limit(trigger)) is not None:
        debounce[reading.debounce_key] = take(debounce.get(reading.debounce_key), limit, now_ms)
    if (limit := rate_limit(trigger)) is not None:
        rate[reading.rate_key] = take(rate.get(reading.rate_key), limit, now_ms)
    return State(state.open_runs, state.queued, seen, debounce, rate)


def debounce_limit(trigger: Trigger) -> Limit | None:
    return None if trigger.debounce is None else Limit(1, _milliseconds(trigger.debounce.seconds))


def rate_limit(trigger: Trigger) -> Limit | None:
    return None if trigger.rate is None else Limit(trigger.rate.limit, _milliseconds(trigger.rate.per_seconds))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1_000))


def event_fits(pattern: str, name: str) -> bool:
    """Does an event's name fit a pattern in which `*` stands for any characters, also none?

    Example:
        >>> event_fits("orders.*.paid", "orders.eu.paid")
        True
    """
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for part in middle:  # the first place that fits leaves the most for the rest
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _against_delivery(trigger: Trigger, reading: Reading, depth: int) -> Decision | None:
    if not trigger.enabled:
        return Decision("refused", "the trigger is disabled")
    if depth > MAX_DEPTH:
        return Decision("refused", f"more than {MAX_DEPTH} runs have started each other")
    if reading.refusal is not None:
        return Decision("refused", reading.refusal)
    if not reading.passes:
        return Decision("filtered", "the filter gave false")
    return None


def _duplicate(state: State, reading: Reading) -> Decision | None:
    run_id = None if reading.dedupe_key is None else state.seen.get(reading.dedupe_key)
    if run_id is None:
        return None
    return Decision("duplicate", "the same delivery came before", run_id=run_id)


def _debounced(trigger: Trigger, state: State, reading: Reading, now_ms: int) -> Decision | None:
    limit = debounce_limit(trigger)
    if limit is None:
        return None
    wait_s = wait_ms(state.debounce.get(reading.debounce_key), limit, now_ms) / 1_000
    if wait_s == 0:
        return None
    return Decision("skipped", f"another delivery fired less than {limit.per_ms / 1_000:g} s before")


def _beside_open_runs(trigger: Trigger, state: State, reading: Reading) -> Decision:
    concurrency = trigger.concurrency
    open_runs = state.open_runs.get(reading.concurrency_key, ())
    queued = state.queued.get(reading.concurrency_key, 0)
    # Whoever waits goes first, also when a run has just ended.
    is_free = len(open_runs) < concurrency.at_once and not (concurrency.policy == "queue" and queued)
    if concurrency.policy == "allow" or is_free:
        return Decision("fire")
    told = f"{len(open_runs)} of at most {concurrency.at_once} runs are open"
    if concurrency.policy == "skip":
        return Decision("skipped", told)
    if concurrency.policy == "cancel_running":
        return Decision("fire", cancels=open_runs[: len(open_runs) - concurrency.at_once + 1])
    if queued >= MAX_QUEUED:
        return Decision("refused", f"{queued} deliveries wait already", retry_after_s=60.0)
    return Decision("queued", f"{told}, {queued} deliveries wait before this one")


def _over_rate(trigger: Trigger, state: State, reading: Reading, now_ms: int) -> Decision | None:
    limit = rate_limit(trigger)
    if limit is None:
        return None
    wait_s = wait_ms(state.rate.get(reading.rate_key), limit, now_ms) / 1_000
    if wait_s == 0:
        return None
    reason = f"more than {limit.count} deliveries in {limit.per_ms / 1_000:g} s"
    return Decision("refused", reason, retry_after_s=wait_s)
