"""GCRA: the bound holds in every window, what is given back was not worked off, and another implementation agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from throttled import MemoryStore, RateLimiterType, Throttled, rate_limiter

from innkeeper.gateway.usage.gcra import Booking, Bucket, Rate, taken, units, wait_s
from tests.effort import examples

RATES = st.builds(Rate.of, st.sampled_from([1.0, 6.0, 60.0, 600.0, 90_000.0]), st.none() | st.floats(1, 50))
GAPS = st.lists(st.floats(0, 30), min_size=1, max_size=40)


def take_now(bucket: Bucket, rate: Rate, cost: float, now: float) -> bool:
    if wait_s(bucket.tat, rate, cost, (), now=now) > 0:
        return False
    bucket.take(rate.seconds(cost), now)
    return True


@given(RATES, GAPS, st.floats(0, 1e8))
@examples(300)
def test_no_window_gets_more_than_burst_and_rate(rate: Rate, gaps: list[float], start: float) -> None:
    bucket, now, granted = Bucket(), start, list[float]()
    for gap in gaps:
        now += gap
        while len(granted) < 500 and take_now(bucket, rate, 1, now):
            granted.append(now)
    for first, begin in enumerate(granted):
        for last in range(first, len(granted)):
            allowed = rate.burst + (granted[last] - begin) / rate.unit_s
            assert last - first + 1 <= allowed + 1e-2


@given(RATES, st.floats(0, 200), st.floats(0, 100))
@examples(200)
def test_after_the_wait_there_is_enough_and_not_before(rate: Rate, used: float, cost: float) -> None:
    tat = taken(0.0, rate.seconds(used), 1_000.0)
    wait = wait_s(tat, rate, cost, (), now=1_000.0)
    assert wait_s(tat, rate, cost, (), now=1_000.0 + wait + 1e-3) == 0
    assert wait < 1e-3 or wait_s(tat, rate, cost, (), now=1_000.0 + wait * 0.99 - 1e-3) > 0


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 10), st.floats(0, 1), st.floats(0, 20)), min_size=1, max_size=12)
)
@examples(400)
def test_settled_calls_leave_what_the_right_amounts_would_have_left(
    calls: list[tuple[float, float, float, float]],
) -> None:
    """Each call: pause before it, what is reserved, which share of it is used, how long it takes."""
    moments: list[tuple[float, int, str]] = []
    now = 0.0
    for index, (gap, _, _, lasts) in enumerate(calls):
        now += gap
        moments += [(now, index, "take"), (now + lasts, index, "settle")]
    bucket, right, numbers = Bucket(), 0.0, dict[int, int]()
    for moment, index, what in sorted(moments, key=lambda found: (found[0], found[2] == "settle", found[1])):
        _, reserved, share, _ = calls[index]
        if what == "take":
            numbers[index] = bucket.take(reserved, moment)
            right = taken(right, reserved * share, moment)
        else:
            bucket.settle(numbers[index], reserved * share, moment)
    end = max(moment for moment, _, _ in moments)
    assert max(bucket.tat - end, 0) == pytest.approx(max(right - end, 0), abs=1e-6)
    assert bucket._open == {}
    assert bucket._lows == []


def test_idle_time_is_not_given_back() -> None:
    bucket = Bucket()
    call = bucket.take(10, 0)
    bucket.take(10, 100)  # the first is worked off, 90 s were idle
    bucket.settle(call, 0, 101)
    assert bucket.tat == 110


def test_a_call_that_took_more_than_was_thought_is_charged_to_the_next() -> None:
    bucket = Bucket()
    call = bucket.take(1, 0)
    bucket.settle(call, 5, 2)
    assert bucket.tat == 2 + 4


def test_a_provider_that_tells_absurd_usage_closes_nothing_for_long() -> None:
    bucket = Bucket()
    call = bucket.take(1, 0)
    bucket.settle(call, 1e18, 2)
    assert bucket.tat == 2 + 120


def test_a_call_larger_than_the_burst_goes_when_the_limit_is_idle_and_is_charged_whole() -> None:
    rate = Rate.of(600, burst=10)
    bucket = Bucket()
    assert take_now(bucket, rate, 50, 0)
    assert wait_s(bucket.tat, rate, 1, (), now=0) == pytest.approx(4.1)


def test_a_graph_that_asks_for_a_billion_tokens_closes_the_limit_for_a_minute_at_most() -> None:
    rate = Rate.of(1_000)
    bucket = Bucket()
    assert take_now(bucket, rate, 1e9, 0)
    assert bucket.tat == 60


def test_the_default_burst_is_six_seconds_worth_and_at_least_one() -> None:
    assert (Rate.of(60).burst, Rate.of(3).burst, Rate.of(60, 20).burst) == (6, 1, 20)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12))
@examples(60)
def test_another_implementation_grants_the_same(costs: list[int]) -> None:
    """`throttled-py` reads the clock itself: all calls come at once, so that only the burst counts."""
    theirs = Throttled(
        using=RateLimiterType.GCRA.value, quota=rate_limiter.per_min(6, burst=10), store=MemoryStore(), timeout=-1
    )
    rate, bucket = Rate(6, 10), Bucket()
    for cost in costs:
        assert take_now(bucket, rate, cost, 1_000.0) == (not theirs.limit("key", cost).limited)


def test_who_is_ahead_keeps_what_was_promised() -> None:
    rate = Rate(60, 1)
    tat = taken(0, 1, 0)  # all is taken: one a second from now on
    assert wait_s(tat, rate, 1, [Booking(1, 1), Booking(2, 1)], now=0) == pytest.approx(3)
    # Promised for later than the line needs: what is between goes to whom it makes nobody late.
    assert wait_s(tat, rate, 1, [Booking(5, 1)], now=0) == pytest.approx(1)
    # Who is late still has its unit.
    assert wait_s(0, rate, 1, [Booking(-1, 1)], now=0) == pytest.approx(1)


def test_small_calls_do_not_starve_a_large_one() -> None:
    rate = Rate(60, 10)
    tat = taken(0, 8, 0)  # 2 are there
    assert wait_s(tat, rate, 1, [Booking(8, 10)], now=0) > 8
    assert wait_s(tat, rate, 1, [Booking(20, 10)], now=0) == 0


@given(
    RATES,
    st.lists(st.tuples(st.floats(0, 60), st.floats(1, 5)), max_size=10),
    st.floats(0, 60),
)
@examples(200)
def test_nobody_ahead_is_made_late(rate: Rate, ahead: list[tuple[float, float]], used: float) -> None:
    now, tat = 0.0, taken(0, used * rate.unit_s, 0)
    booked: list[Booking] = []
    for _, cost in ahead:  # each gets its turn as those before it have theirs
        booked.append(Booking(now + wait_s(tat, rate, cost, booked, now=now), cost))
    for booking in sorted(booked, key=lambda found: found.due):
        assert units(tat, rate, booking.due) >= rate.needed(booking.cost) - 1e-6
        tat = taken(tat, rate.needed(booking.cost) * rate.unit_s, booking.due)
