"""Buckets of tokens: never more than the limit, never less."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.token_bucket import Bucket, Limit, refill, take, wait_ms
from tests.effort import examples

LIMITS = st.builds(Limit, st.integers(1, 50), st.integers(1, 100_000))


def taken_at(limit: Limit, moments: list[int]) -> list[int]:
    """The moments at which there was a token."""
    bucket: Bucket | None = None
    taken = []
    for moment in moments:
        if wait_ms(bucket, limit, moment) == 0:
            bucket = take(bucket, limit, moment)
            taken.append(moment)
    return taken


def test_burst_then_one_by_one() -> None:
    assert taken_at(Limit(3, 3_000), [0, 0, 0, 0, 999, 1_000, 1_001, 2_000, 9_000, 9_000, 9_000, 9_000]) == [
        *(0, 0, 0, 1_000, 2_000, 9_000, 9_000, 9_000)
    ]


def test_one_token_is_a_debounce() -> None:
    assert taken_at(Limit(1, 500), [0, 100, 499, 500, 700, 1_100]) == [0, 500, 1_100]


@examples(300)
@given(LIMITS, st.lists(st.integers(0, 5_000), min_size=1, max_size=80))
def test_no_window_has_more_than_its_burst_and_its_share(limit: Limit, gaps: list[int]) -> None:
    taken = taken_at(limit, list(accumulate(gaps)))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = limit.count + (taken[last] - taken[first]) * limit.count / limit.per_ms
            assert last - first + 1 <= allowed + 1e-9


@examples(300)
@given(LIMITS, st.lists(st.integers(0, 5_000), min_size=1, max_size=40))
def test_wait_is_enough_and_not_a_millisecond_too_long(limit: Limit, gaps: list[int]) -> None:
    bucket: Bucket | None = None
    for now in accumulate(gaps):
        wait = wait_ms(bucket, limit, now)
        assert wait_ms(bucket, limit, now + wait) == 0
        assert wait == 0 or wait_ms(bucket, limit, now + wait - 1) > 0
        assert 0 <= wait <= limit.per_ms
        bucket = take(bucket, limit, now) if wait == 0 else bucket


@given(LIMITS, st.integers(-10, 10**7), st.integers(0, 10**15), st.integers(0, 10**15))
def test_bucket_stays_within_its_limit_whatever_the_clock_does(limit: Limit, parts: int, at: int, now: int) -> None:
    filled = refill(Bucket(parts, at), limit, now)
    assert 0 <= filled.parts <= limit.full
    if now < at:  # set back: nothing is won, and the next token is not a day away
        assert filled.parts <= max(0, parts)
        assert wait_ms(filled, limit, now) <= limit.per_ms
