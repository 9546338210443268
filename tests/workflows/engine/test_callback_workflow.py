"""When a message is sent again, and when it is given up."""

from __future__ import annotations

import itertools

import pytest

from innkeeper.nodes.call import CallbackAnswer
from innkeeper.workflows.engine.callback_workflow import (
    GIVE_UP_AFTER_S,
    MAX_PAUSE_S,
    Clock,
    Delivery,
    after_attempt,
    pause_s,
)

NOW = 1_800_000_000.0


def after(answer: CallbackAnswer, attempts: int = 1, *, began: float = NOW, jitter: float = 0.0) -> Delivery:
    return after_attempt(attempts, answer, Clock(began, NOW, jitter))


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_every_2xx_is_delivered(status: int) -> None:
    assert after(CallbackAnswer(status), 2) == Delivery("delivered", 2, status, delivered_at=NOW)


@pytest.mark.parametrize("status", [100, 302, 400, 401, 404, 409, 429, 500, 503, 599])
def test_every_other_status_is_tried_again(status: int) -> None:
    found = after(CallbackAnswer(status))
    assert (found.status, found.last_status, found.next_attempt_at) == ("pending", status, NOW + 5)


def test_410_stops() -> None:
    assert after(CallbackAnswer(410)).status == "stopped"


def test_what_no_attempt_can_mend_is_given_up_at_once() -> None:
    found = after(CallbackAnswer(error="it leads to a private address", is_final=True))
    assert (found.status, found.last_error) == ("failed", "it leads to a private address")


def test_attempts_fill_a_day_and_end() -> None:
    now, attempts = 0.0, 0
    moments = []
    while True:
        attempts += 1
        moments.append(now)
        found = after_attempt(attempts, CallbackAnswer(500), Clock(0.0, now))
        if found.next_attempt_at is None:
            break
        now = found.next_attempt_at
    assert found.status == "failed"
    assert f"given up after {attempts} attempts" in str(found.last_error)
    assert 10 <= attempts <= 20
    assert GIVE_UP_AFTER_S - MAX_PAUSE_S < moments[-1] <= GIVE_UP_AFTER_S
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [(503, 60.0, 60.0), (429, 60.0, 60.0), (503, 1.0, 5.0), (503, 1e9, 14_400.0), (500, 60.0, 5.0), (503, None, 5.0)],
)
def test_a_busy_receiver_says_how_long_within_bounds(status: int, asked: float | None, pause: float) -> None:
    assert pause_s(1, CallbackAnswer(status, retry_after_s=asked), 0.0) == pause


def test_pauses_differ_by_a_fifth_and_do_not_grow_for_ever() -> None:
    answer = CallbackAnswer(500)
    assert [pause_s(1, answer, jitter) for jitter in (-1.0, 1.0)] == [4.0, 6.0]
    assert pause_s(10_000, answer, 0.0) == MAX_PAUSE_S


def test_a_redirect_says_why_it_is_none() -> None:
    assert after(CallbackAnswer(302)).last_error == "the receiver answered 302; redirects are not followed"
