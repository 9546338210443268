"""How earlier attempts ended, by what their heartbeats told."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution.heartbeat import EarlierAttempts, Heartbeat


@pytest.mark.parametrize(
    ("attempt", "details", "expected"),
    [
        (1, [], EarlierAttempts()),
        (4, [], EarlierAttempts(deaths=3)),
        (4, [{"waits": 1, "failures": 1, "chunks": 0}], EarlierAttempts(waits=1, failures=1, deaths=1)),
        (3, [{"waits": 0, "failures": 2, "late": True}], EarlierAttempts(failures=2, exceeded_limit=True)),
        # Of an older worker: it counted waits only.
        (4, [{"waits": 1, "chunks": 7}], EarlierAttempts(waits=1, failures=2)),
        (2, ["odd"], EarlierAttempts(deaths=1)),
        (2, [{"waits": 5, "failures": 5}], EarlierAttempts(waits=5)),
    ],
)
def test_what_was_no_wait_and_no_told_failure_was_a_death(
    attempt: int, details: list[Any], expected: EarlierAttempts
) -> None:
    assert EarlierAttempts.of(attempt, details) == expected


async def test_an_attempt_counts_as_one_failure_however_often_it_is_told() -> None:
    """At its limit, and once more when it has stopped."""
    told: list[Any] = []

    async def fails() -> None:
        heartbeat = Heartbeat(EarlierAttempts(waits=1, failures=2, deaths=1))
        heartbeat.count_failure(late=True)
        heartbeat.count_failure()

    env = ActivityEnvironment()
    env.on_heartbeat = lambda *details: told.append(details)
    await env.run(fails)
    assert EarlierAttempts.of(6, told[-1]) == EarlierAttempts(waits=1, failures=3, deaths=1, exceeded_limit=True)
