"""Circuit breakers: when they open, who may ask meanwhile, and what old requests still say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.services.llm.breaker import MAX_CIRCUITS, Breaker, BreakerRules, Refusal, Ticket, Verdict
from tests.effort import examples

RULES = BreakerRules(failures=3, cool_down_s=10, growth=2, longest_s=30, probe_s=60, again_s=5)
NAME = ("channel",)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def start() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(RULES, clock), clock


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.take([NAME]).tell(["failed"], "server_error")


def opened() -> tuple[Breaker, Clock]:
    breaker, clock = start()
    fail(breaker, 3)
    return breaker, clock


def wait_s(breaker: Breaker) -> float:
    refusal = breaker.refusal([NAME])
    return refusal.wait_s if refusal else 0


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker, _ = start()
    for verdict in ("succeeded", "failed", "failed", "succeeded", "failed", "failed"):
        breaker.take([NAME]).tell([verdict])
    assert breaker.refusal([NAME]) is None
    fail(breaker)
    assert breaker.refusal([NAME]) == Refusal(10, 1, "server_error")


def test_a_server_that_is_dead_for_days_is_still_asked_now_and_then() -> None:
    breaker, clock = opened()
    for _ in range(1_100):  # no float holds 2 to the power of 1,024
        clock.now += wait_s(breaker)
        fail(breaker)
    assert wait_s(breaker) == RULES.longest_s


def test_answers_that_say_nothing_of_its_health_change_nothing() -> None:
    breaker, _ = start()
    fail(breaker, 2)
    for verdict in ("answered", "none"):
        breaker.take([NAME]).tell([verdict])
    assert breaker.refusal([NAME]) is None
    fail(breaker)
    assert wait_s(breaker) == 10


def test_one_probe_at_a_time_is_let_through_after_the_cool_down() -> None:
    breaker, clock = opened()
    clock.now += 9.5
    assert wait_s(breaker) == 0.5
    clock.now += 0.5
    assert wait_s(breaker) == 0
    breaker.take([NAME])
    assert wait_s(breaker) == RULES.again_s


def test_the_cool_down_grows_with_each_failed_probe_up_to_its_bound() -> None:
    breaker, clock = opened()
    waits = []
    for _ in range(4):
        waits.append(wait_s(breaker))
        clock.now += waits[-1]
        fail(breaker)
    assert waits == [10, 20, 30, 30]


def test_a_probe_that_is_answered_closes_it_even_with_a_refusal() -> None:
    for verdict in ("succeeded", "answered"):
        breaker, clock = opened()
        clock.now += 10
        breaker.take([NAME]).tell([verdict])
        assert wait_s(breaker) == 0
        fail(breaker, 2)
        assert wait_s(breaker) == 0
        fail(breaker)
        assert wait_s(breaker) == 10, "the cool-down begins small again"


def test_a_cancelled_probe_lets_the_next_one_try_at_once() -> None:
    breaker, clock = opened()
    clock.now += 10
    breaker.take([NAME]).tell(["none"])
    assert wait_s(breaker) == 0


def test_a_probe_that_never_ends_does_not_close_the_way_for_ever() -> None:
    breaker, clock = opened()
    clock.now += 10
    lost = breaker.take([NAME])
    clock.now += RULES.probe_s
    assert wait_s(breaker) == 0
    probe = breaker.take([NAME])
    lost.tell(["failed"])
    assert wait_s(breaker) == RULES.again_s, "what the lost one says is outdated"
    probe.tell(["succeeded"])
    assert wait_s(breaker) == 0


def test_requests_that_fail_together_open_it_once() -> None:
    breaker, _ = start()
    together = [breaker.take([NAME]) for _ in range(100)]
    for ticket in together:
        ticket.tell(["failed"])
    assert breaker.refusal([NAME]) == Refusal(10, 1, "")


def test_old_requests_do_not_open_it_again_after_it_closed() -> None:
    breaker, clock = start()
    old = [breaker.take([NAME]) for _ in range(10)]
    fail(breaker, 3)
    clock.now += 10
    breaker.take([NAME]).tell(["succeeded"])
    for ticket in old:
        ticket.tell(["failed"])
    assert wait_s(breaker) == 0


def test_a_stream_that_began_and_then_broke_off_is_one_failure() -> None:
    breaker, clock = opened()
    clock.now += 10
    probe = breaker.take([NAME])
    probe.tell(["succeeded"])
    assert wait_s(breaker) == 0, "others need not wait until a long answer is over"
    probe.tell(["failed"])
    fail(breaker, 1)
    assert wait_s(breaker) == 0
    fail(breaker, 1)
    assert wait_s(breaker) == 10


def test_a_model_that_fails_leaves_the_others_of_its_channel_alone() -> None:
    breaker, _ = start()
    for _ in range(3):
        breaker.take([NAME, ("channel", "m")]).tell(["answered", "failed"])
    assert breaker.refusal([NAME, ("channel", "m")]) is not None
    assert breaker.refusal([NAME, ("channel", "other")]) is None
    for _ in range(3):
        breaker.take([NAME, ("channel", "other")]).tell(["failed", "none"])
    assert breaker.refusal([NAME, ("channel", "third")]) is not None


def test_a_clock_that_stands_still_or_names_without_end_do_no_harm() -> None:
    breaker, _ = opened()
    for index in range(MAX_CIRCUITS + 10):
        breaker.take([("channel", str(index))])
    assert wait_s(breaker) == 0, "the least used one is forgotten"


@given(st.lists(st.tuples(st.sampled_from(["ask", "succeeded", "failed", "answered", "none"]), st.floats(0, 50))))
@examples(200)
def test_whatever_happens_it_is_asked_again_in_time_and_by_one_at_once(steps: list[tuple[str, float]]) -> None:
    breaker, clock = start()
    open_tickets: list[Ticket] = []
    for action, pause_s in steps:
        clock.now += pause_s
        if action == "ask":
            refusal = breaker.refusal([NAME])
            if refusal is None:
                open_tickets.append(breaker.take([NAME]))
            else:
                assert 0 < refusal.wait_s <= max(RULES.longest_s, RULES.again_s)
        elif open_tickets:
            verdict: Verdict = action  # type: ignore[assignment] - the other words are verdicts
            open_tickets.pop(0).tell([verdict])
    clock.now += max(RULES.longest_s, RULES.probe_s)
    assert wait_s(breaker) == 0
