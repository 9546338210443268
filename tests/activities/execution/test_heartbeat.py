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
    assert EarlierAttempts.of(6, told[-1]) == EarlierAttempts(
        waits=1, failures=3, deaths=1, timeouts=1, exceeded_limit=True
    )


async def test_waits_of_a_kind_are_added_up_over_attempts() -> None:
    told: list[Any] = []

    async def waits() -> None:
        Heartbeat(EarlierAttempts(waits=1, waited={"loading": 30.0})).count_wait("loading", 20.0)
        Heartbeat(EarlierAttempts(waits=1)).count_wait("loading", 0.01)
        Heartbeat(EarlierAttempts(waits=1)).count_wait("", 20.0)

    env = ActivityEnvironment()
    env.on_heartbeat = lambda *details: told.append(details)
    await env.run(waits)
    found = [EarlierAttempts.of(3, details) for details in told]
    # None is free, so that a server that asks for nothing at all is not asked for ever.
    assert [earlier.waited for earlier in found] == [{"loading": 50.0}, {"loading": 1.0}, {}]
    assert {earlier.waits for earlier in found} == {2}


def test_what_was_counted_before_the_node_was_parked_goes_on() -> None:
    before = EarlierAttempts(waits=3, failures=2, deaths=1, timeouts=1, waited={"loading": 60.0})
    now = EarlierAttempts(waits=1, failures=1, waited={"loading": 5.0, "other": 1.0}).after(before.counted())
    assert (now.failures, now.deaths, now.timeouts) == (3, 1, 1)
    assert now.waited == {"loading": 65.0, "other": 1.0}
    assert EarlierAttempts(failures=1).after({}) == EarlierAttempts(failures=1)
