"""Limits that all workers share: played with a counted clock, many nodes and providers of several kinds."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.usage.leases import LEASE_S
from innkeeper.gateway.usage.limiter import LATE_CALL_S, Limiter, Wait, spent
from innkeeper.gateway.usage.limits import Limit
from innkeeper.gateway.usage.line import KEEP_S
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from tests.effort import examples
from tests.gateway.usage.simulation import World

MINUTE = Limit("requests channel x", "requests", "channel 'x'", 60)
TOKENS = Limit("tokens channel x", "tokens", "channel 'x'", 60_000)
TWO_AT_ONCE = Limit("concurrent channel x", "concurrent", "channel 'x'", 2)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def start(id: str, *, run: str = "run", tokens: tuple[int, int] = (100, 900)) -> CallStart:
    return CallStart(id, CallOrigin(run, id), "x", "host:443", "openai", "m", "key", *tokens)


def limiter() -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(clock), clock


def take_all(limits: Limiter, of: Sequence[Limit], count: int, prefix: str = "c") -> list[Wait | None]:
    return [limits.take(start(f"{prefix}{number}"), of) for number in range(count)]


def ideal_s(nodes: int, limit: Limit) -> float:
    return (nodes - limit.rate.burst) * limit.rate.unit_s


def test_a_hundred_nodes_use_all_that_a_minute_allows_and_no_more() -> None:
    world = World(limits=[MINUTE])
    world.add("run", 100)
    world.play()
    starts = list(world.starts())
    assert len(starts) == len(world.sent) == 100
    assert starts[-1] - starts[0] <= 1.05 * ideal_s(100, MINUTE)
    for first in range(100):
        for last in range(first, 100):
            allowed = MINUTE.rate.burst + (starts[last] - starts[first]) / MINUTE.rate.unit_s
            assert last - first + 1 <= allowed + 1e-3
    assert world.asked < 800


def test_a_run_with_a_thousand_waiting_nodes_does_not_starve_another() -> None:
    world = World(limits=[MINUTE])
    world.add("big", 1_000, per_s=1_000)
    world.add("small", 5, at=30)
    world.play(120)
    small = sorted(at - 1_030 for place, at in world.went.items() if place[0] == "small")
    assert len(small) == 5
    assert small[0] < 10
    assert small[4] < 30


@pytest.mark.parametrize("limit", [MINUTE, TOKENS, TWO_AT_ONCE])
def test_a_place_in_a_long_line_costs_no_more_than_one_in_a_short_line(limit: Limit) -> None:
    limits, _ = limiter()
    took: list[float] = []
    for count in (250, 2_000):
        take_all(limits, [limit], count, prefix=f"of{count}-")
        began = time.thread_time()
        take_all(limits, [limit], 20, prefix=f"last{count}-")
        took.append(time.thread_time() - began)
    assert took[1] < 4 * took[0]  # nine times as many wait


@pytest.mark.parametrize("limit", [MINUTE, TOKENS])
def test_a_turn_far_off_is_guessed_well_though_not_all_are_looked_at(limit: Limit) -> None:
    limits, _ = limiter()
    waits = take_all(limits, [limit], 1_000)
    last = waits[-1]
    assert last is not None
    rate = limit.rate
    cost = rate.needed(1_000 if limit is TOKENS else 1)
    expected = (1_000 * cost - rate.burst) * rate.unit_s
    assert last.place > 900
    assert last.seconds == pytest.approx(expected / 2, rel=0.05)  # who waits long asks again at half time


def test_what_is_told_names_the_limit_and_the_place() -> None:
    limits, _ = limiter()
    waits = [wait for wait in take_all(limits, [MINUTE], 9) if wait is not None]
    assert [wait.reason for wait in waits] == [
        f"60 requests a minute of channel 'x', place {place} in the line" for place in (1, 2, 3)
    ]
    assert [wait.seconds for wait in waits] == [pytest.approx(1), pytest.approx(2), pytest.approx(3)]


def test_a_call_takes_all_of_its_limits_or_nothing() -> None:
    limits, _ = limiter()
    slow = Limit("requests user u", "requests", "each user", 1)
    assert limits.take(start("a"), [MINUTE, slow]) is None
    waits = [limits.take(start(f"b{number}"), [MINUTE, slow]) for number in range(50)]
    assert all(wait is not None and "each user" in wait.limit for wait in waits)
    # Those who wait for another limit take nothing of this one, nor hold it.
    assert take_all(limits, [MINUTE], 5) == [None] * 5


def test_the_same_id_is_let_go_once() -> None:
    limits, _ = limiter()
    assert [limits.take(start("same"), [MINUTE]) for _ in range(20)] == [None] * 20
    assert take_all(limits, [MINUTE], 5) == [None] * 5


def test_a_waiter_that_never_comes_back_blocks_nobody() -> None:
    limits, clock = limiter()
    take_all(limits, [MINUTE], 6)
    for number in range(10):
        limits.take(start(f"gone{number}", run="gone"), [MINUTE])
    clock.now += 10 + 6 + 3  # their turns have come, and are over
    assert take_all(limits, [MINUTE], 6, "later") == [None] * 6
    clock.now += KEEP_S
    limits.sweep()
    assert limits.waiting == 0


def test_a_waiter_that_is_late_goes_before_those_who_came_later() -> None:
    limits, clock = limiter()
    take_all(limits, [MINUTE], 6)
    late = start("late")
    assert limits.take(late, [MINUTE]) is not None
    clock.now += 30
    take_all(limits, [MINUTE], 6, "others")
    assert limits.take(start("next"), [MINUTE]) is not None
    wait = limits.take(late, [MINUTE])
    assert wait is not None
    assert wait.place == 1


def test_the_places_of_a_run_that_ended_are_free() -> None:
    limits, _ = limiter()
    take_all(limits, [MINUTE], 6)
    for number in range(100):
        limits.take(start(f"n{number}", run="ended"), [MINUTE])
    limits.forget_run("ended")
    wait = limits.take(start("next", run="other"), [MINUTE])
    assert wait is not None
    assert (wait.place, wait.seconds) == (1, pytest.approx(1))


def test_a_node_that_two_channels_may_answer_keeps_its_place_at_both() -> None:
    limits, clock = limiter()
    other = Limit("requests channel y", "requests", "channel 'y'", 60)

    def asks(node: str) -> list[Wait | None]:
        """First one channel, then the other, as nodes do whose first channel must wait."""
        waits: list[Wait | None] = []
        for channel, limit in (("x", MINUTE), ("y", other)):
            waits.append(
                limits.take(replace(start(f"{node} {channel}"), channel=channel, origin=CallOrigin("r", node)), [limit])
            )
            if waits[-1] is None:
                break
        return waits

    for number in range(12):
        assert asks(f"full{number}")[-1] is None
    for number in range(3):
        asks(f"n{number}")
    places = [[wait.place for wait in asks(f"n{number}") if wait is not None] for number in (2, 0, 1)]
    assert places == [[3, 3], [1, 1], [2, 2]]
    clock.now += 1
    assert asks("n0") == [None]
    assert limits.waiting == 2
    assert [wait.place for wait in asks("n1") if wait is not None] == [1]


def test_tokens_are_taken_as_estimated_and_settled_into_the_same_window() -> None:
    limits, _ = limiter()  # a burst of 6,000 tokens
    for number in range(6):
        assert limits.take(start(f"c{number}"), [TOKENS]) is None
    assert limits.take(start("more"), [TOKENS]) is not None
    for number in range(6):
        limits.end(CallEnd(f"c{number}", "ok", usage={"prompt_tokens": 100, "completion_tokens": 100}))
    assert take_all(limits, [TOKENS], 4, "d") == [None] * 4  # 1,200 were used: 4,800 are left


@pytest.mark.parametrize(
    ("end", "tokens"),
    [
        (CallEnd("c", "ok", usage={"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 99}), 12),
        (CallEnd("c", "ok", usage={"total_tokens": 99}), 99),
        (CallEnd("c", "ok", usage={"total_tokens": -5}, output_chars=40), 110),
        (CallEnd("c", "cut", output_chars=400), 200),
        (CallEnd("c", "failed", "rate_limit_error"), 0),
        (CallEnd("c", "not_sent"), 0),
    ],
)
def test_what_a_call_took(end: CallEnd, tokens: float) -> None:
    assert spent("tokens channel x", start("c"), end) == tokens
    assert spent("requests channel x", start("c"), end) == (0 if end.outcome == "not_sent" else 1)


def test_what_is_not_sent_costs_nothing() -> None:
    limits, _ = limiter()
    for number in range(50):
        assert limits.take(start(f"c{number}"), [MINUTE, TOKENS, TWO_AT_ONCE]) is None
        limits.put_back(f"c{number}")
    assert limits.under_way == 0


def test_the_leases_of_a_killed_worker_end_by_themselves() -> None:
    limits, clock = limiter()
    take_all(limits, [TWO_AT_ONCE], 2)
    assert limits.take(start("waits"), [TWO_AT_ONCE]) is not None
    clock.now += LEASE_S - 1
    assert limits.renew(["c0"]) == []
    clock.now += 1
    assert limits.sweep() == ["c1"]
    assert limits.take(start("waits"), [TWO_AT_ONCE]) is None
    assert limits.take(start("more"), [TWO_AT_ONCE]) is not None


def test_a_worker_that_was_only_silent_has_its_lease_again() -> None:
    limits, clock = limiter()
    take_all(limits, [TWO_AT_ONCE], 2)
    clock.now += LEASE_S
    assert limits.sweep() == ["c0", "c1"]
    assert limits.renew(["c0", "c1", "unknown"]) == ["unknown"]
    assert limits.take(start("more"), [TWO_AT_ONCE]) is not None
    clock.now += LEASE_S
    limits.sweep()
    clock.now += LATE_CALL_S + 1
    limits.sweep()
    assert limits.renew(["c0"]) == ["c0"]


def test_ends_that_come_twice_or_of_unknown_calls_free_nothing() -> None:
    limits, _ = limiter()
    take_all(limits, [TWO_AT_ONCE], 2)
    for id in ("c0", "c0", "stranger"):
        limits.end(CallEnd(id, "ok"))
    assert limits.take(start("one"), [TWO_AT_ONCE]) is None
    assert limits.take(start("two"), [TWO_AT_ONCE]) is not None


def test_concurrent_places_are_not_left_empty_for_long() -> None:
    world = World(limits=[TWO_AT_ONCE], answers_s=(5, 5))
    world.add("run", 20)
    world.play()
    assert len(world.went) == 20
    assert world.ended - 1_000 <= 1.2 * 50  # ten rounds of 5 s


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(5, 40))
@examples(40)
def test_never_more_at_once_than_allowed(seed: int, at_once: int, nodes: int) -> None:
    limit = Limit("concurrent", "concurrent", "x", at_once)
    world = World(limits=[limit, MINUTE], answers_s=(0.1, 20), chance=random.Random(seed))
    world.add("run", nodes)
    taken: list[int] = []
    real = world.limiter.take

    def watched(begun: CallStart, limits: Sequence[Limit]) -> Wait | None:
        found = real(begun, limits)
        taken.append(world.limiter.under_way)
        return found

    world.limiter.take = watched  # type: ignore[method-assign]
    world.play()
    assert max(taken) <= at_once
    assert len(world.went) == nodes


def test_a_small_call_is_not_paid_for_by_a_large_one_that_waits() -> None:
    limits, clock = limiter()
    take_all(limits, [TOKENS], 6)  # the burst is spent
    large = start("large", tokens=(6_000, 0))
    assert limits.take(large, [TOKENS]) is not None
    for second in range(1, 9):
        clock.now = 1_000.0 + second * 0.7
        limits.take(start(f"small{second}", run=f"other{second}", tokens=(100, 0)), [TOKENS])
    clock.now = 1_006.1
    assert limits.take(large, [TOKENS]) is None


def test_what_was_spent_survives_a_restart() -> None:
    limits, clock = limiter()
    take_all(limits, [MINUTE, TWO_AT_ONCE], 2)
    take_all(limits, [MINUTE], 6, "d")
    kept = limits.snapshot()
    later = Clock()
    later.now = 5.0  # another boot: another clock
    again = Limiter(later)
    again.restore(kept, elapsed_s=2.0, was_s=clock.now)
    assert again.take(start("concurrent"), [TWO_AT_ONCE]) is not None
    # Six were the burst, and two seconds have brought two.
    assert [found is None for found in take_all(again, [MINUTE], 3, "e")] == [True, True, False]
    assert again.renew(["c0", "c1"]) == []
    later.now += LEASE_S
    assert {"c0", "c1"} <= set(again.sweep())
    assert again.take(start("concurrent"), [TWO_AT_ONCE]) is None


def test_nothing_is_kept_of_limits_that_are_idle() -> None:
    limits, clock = limiter()
    take_all(limits, [MINUTE, TOKENS, TWO_AT_ONCE], 2)
    for number in range(2):
        limits.end(CallEnd(f"c{number}", "ok"))
    clock.now += 60
    limits.sweep()
    assert limits.snapshot() == {"buckets": {}, "learned": [], "calls": []}
