"""What is told of an attempt that another one follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from innkeeper.activities.link.retry_notice import RetryNotice, notice_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=0.2), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)


def failed(delay: timedelta | None = None, *, final: bool = False) -> ApplicationError:
    return ApplicationError("busy", type="overloaded", non_retryable=final, next_retry_delay=delay)


@pytest.mark.parametrize(
    ("attempt", "policy", "expected"),
    [
        (1, POLICY, "2026-01-01T00:00:00.200Z"),
        (3, POLICY, "2026-01-01T00:00:00.800Z"),
        (50, POLICY, "2026-01-01T00:00:10.000Z"),
        (5_000, POLICY, "2026-01-01T00:00:10.000Z"),
        (9, RetryPolicy(initial_interval=timedelta(seconds=1)), "2026-01-01T00:01:40.000Z"),
        (1, None, "2026-01-01T00:00:01.000Z"),
    ],
)
def test_the_next_attempt_is_told_as_the_server_reckons_it(
    attempt: int, policy: RetryPolicy | None, expected: str
) -> None:
    found = notice_of(failed(), "retry", attempt=attempt, policy=policy, now=NOW)
    assert found == RetryNotice("overloaded", "busy", expected, "retry")


def test_a_delay_of_the_failure_itself_counts_before_the_policy() -> None:
    found = notice_of(failed(timedelta(seconds=7)), "wait", attempt=3, policy=POLICY, now=NOW)
    assert found is not None
    assert (found.retryAt, found.kind) == ("2026-01-01T00:00:07.000Z", "wait")


def test_of_a_final_failure_there_is_nothing_to_tell() -> None:
    assert notice_of(failed(final=True), "retry", attempt=1, policy=POLICY, now=NOW) is None
