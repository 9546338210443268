"""What is told of an attempt that ended without a result and will be followed by another one. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

RetryKind = Literal["retry", "wait"]


@dataclass(frozen=True)
class RetryNotice:
    """Why a node is tried again, and when.

    Attributes:
        retryAt: Not before this moment; ISO 8601 in UTC with milliseconds.
        kind: `retry` after a failure, `wait` after an attempt that does not count as one.
    """

    code: str
    message: str
    retryAt: str  # as it travels
    kind: RetryKind

    def to_wire(self) -> dict[str, str]:
        return asdict(self)


def notice_of(
    found: ApplicationError, kind: RetryKind, *, attempt: int, policy: RetryPolicy | None, now: datetime
) -> RetryNotice | None:
    """What to tell of a failure that goes to the server; None when it is final.

    `attempt`: as the server counts, from 1. `policy`: the server's, which sets the delay unless the failure has one.
    """
    if found.non_retryable:
        return None
    delay = found.next_retry_delay if found.next_retry_delay is not None else _delay(policy or RetryPolicy(), attempt)
    return RetryNotice(found.type or "node_failed", found.message, iso(now + delay), kind)


def _delay(policy: RetryPolicy, attempt: int) -> timedelta:
    longest = policy.maximum_interval or 100 * policy.initial_interval
    try:
        seconds = policy.initial_interval.total_seconds() * policy.backoff_coefficient ** (attempt - 1)
    except OverflowError:  # after a thousand attempts
        return longest
    return timedelta(seconds=min(seconds, longest.total_seconds()))


def iso(moment: datetime) -> str:
    """A moment as clients see it: ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
