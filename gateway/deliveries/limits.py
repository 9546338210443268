"""What is known of the recent deliveries of triggers: open runs, queues, and how often they fired. In memory; the store
says the same after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field

from innkeeper.gateway.triggers.decisions import State, debounce_limit, rate_limit
from innkeeper.gateway.triggers.mapping import Reading
from innkeeper.gateway.triggers.model import Trigger
from innkeeper.gateway.triggers.token_bucket import Bucket, Limit, take

MAX_BUCKETS = 10_000
"""Of one trigger. A key is made of what strangers send; the oldest is forgotten, and counts as new."""


@dataclass
class Recent:
    """Of one trigger.

    Attributes:
        open_runs: By concurrency key: runs that have not ended, the oldest first.
        queued: By concurrency key: how many deliveries wait.
    """

    open_runs: dict[str, dict[str, None]] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    debounce: dict[str, Bucket] = field(default_factory=dict)
    rate: dict[str, Bucket] = field(default_factory=dict)

    def state(self, reading: Reading) -> State:
        """For a decision on this delivery."""
        key = reading.concurrency_key
        return State(
            open_runs={key: tuple(self.open_runs.get(key, ()))},
            queued={key: self.queued.get(key, 0)},
            debounce=self.debounce,
            rate=self.rate,
        )

    def spend(self, trigger: Trigger, debounce_key: str, rate_key: str, now_ms: int) -> None:
        """A delivery with these keys was taken."""
        for buckets, limit, key in (
            (self.debounce, debounce_limit(trigger), debounce_key),
            (self.rate, rate_limit(trigger), rate_key),
        ):
            if limit is not None:
                buckets[key] = take(buckets.pop(key, None), limit, now_ms)
                if len(buckets) > MAX_BUCKETS:
                    del buckets[next(iter(buckets))]

    def give_back(self, trigger: Trigger, debounce_key: str, rate_key: str) -> None:
        """It was none, after all."""
        for buckets, limit, key in (
            (self.debounce, debounce_limit(trigger), debounce_key),
            (self.rate, rate_limit(trigger), rate_key),
        ):
            if limit is not None and key in buckets:
                buckets[key] = _given_back(buckets[key], limit)

    def opened(self, key: str, run: str) -> None:
        self.open_runs.setdefault(key, {})[run] = None

    def ended(self, key: str, run: str) -> None:
        runs = self.open_runs.get(key, {})
        runs.pop(run, None)
        if not runs:
            self.open_runs.pop(key, None)

    def waits(self, key: str, change: int) -> None:
        """More or fewer deliveries wait."""
        left = self.queued.get(key, 0) + change
        if left > 0:
            self.queued[key] = left
        else:
            self.queued.pop(key, None)


def _given_back(bucket: Bucket, limit: Limit) -> Bucket:
    return Bucket(min(limit.full, bucket.parts + limit.per_ms), bucket.at_ms)
