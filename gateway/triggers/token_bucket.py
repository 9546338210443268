"""How often something may happen, counted with tokens. Pure: the time is given. In integers, so exact."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """What was left at `at_ms` (milliseconds since 1970). `parts` of a token: as many as the limit's `per_ms` are one.

    A bucket belongs to its limit: with another limit, start with none.
    """

    parts: int
    at_ms: int


@dataclass(frozen=True)
class Limit:
    """At most `count` in a burst, and `count` in each further `per_ms` milliseconds."""

    count: int
    per_ms: int

    @property
    def full(self) -> int:
        return self.count * self.per_ms


def refill(bucket: Bucket | None, limit: Limit, now_ms: int) -> Bucket:
    """The bucket as it stands now; None is one that nobody has used: full.

    A clock that was set back gives nothing and takes nothing.
    """
    if bucket is None:
        return Bucket(limit.full, now_ms)
    gained = max(0, now_ms - bucket.at_ms) * limit.count
    return Bucket(min(limit.full, max(0, bucket.parts) + gained), now_ms)


def wait_ms(bucket: Bucket | None, limit: Limit, now_ms: int) -> int:
    """Milliseconds until there is a token; 0 when there is one."""
    missing = max(0, limit.per_ms - refill(bucket, limit, now_ms).parts)
    return -(-missing // limit.count)


def take(bucket: Bucket | None, limit: Limit, now_ms: int) -> Bucket:
    """The bucket with a token less. Ask `wait_ms` before."""
    return Bucket(max(0, refill(bucket, limit, now_ms).parts - limit.per_ms), now_ms)
