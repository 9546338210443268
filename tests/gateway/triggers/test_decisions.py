"""Whether a delivery fires: the first reason against it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from innkeeper.gateway.triggers.decisions import MAX_DEPTH, MAX_QUEUED, Decision, State, after, decide, event_fits
from innkeeper.gateway.triggers.mapping import Reading
from innkeeper.gateway.triggers.model import Trigger
from tests.effort import examples
from tests.gateway.triggers.definitions import trigger

NOW = 1_800_000_000_000
READING = Reading(dedupe_key="id:1")


def outcome(state: State, reading: Reading = READING, *, now_ms: int = NOW, depth: int = 0, **fields: Any) -> Decision:
    return decide(trigger(**fields), state, reading, now_ms=now_ms, depth=depth)


def test_delivery_fires() -> None:
    assert outcome(State()) == Decision("fire")


@pytest.mark.parametrize(
    ("fields", "reading", "depth", "expected", "reason"),
    [
        ({"enabled": False}, READING, 0, "refused", "disabled"),
        ({}, READING, MAX_DEPTH, "fire", ""),
        ({}, READING, MAX_DEPTH + 1, "refused", "started each other"),
        ({}, Reading(refusal="the filter gave null"), 0, "refused", "the filter gave null"),
        ({}, Reading(passes=False), 0, "filtered", "gave false"),
    ],
)
def test_reasons_of_the_delivery_itself(
    fields: dict[str, Any], reading: Reading, depth: int, expected: str, reason: str
) -> None:
    decision = outcome(State(), reading, depth=depth, **fields)
    assert decision.outcome == expected
    assert reason in decision.reason


def test_duplicate_is_told_of_the_first_run_also_when_the_rate_is_spent() -> None:
    fields: dict[str, Any] = {"rate": {"limit": 1, "perSeconds": 60}, "debounce": {"seconds": 60}}
    state = after(trigger(**fields), State(), READING, now_ms=NOW, run_id="run-1")
    decision = outcome(state, now_ms=NOW + 1, **fields)
    assert (decision.outcome, decision.run_id) == ("duplicate", "run-1")


def test_delivery_without_a_key_is_never_a_duplicate() -> None:
    reading = Reading(dedupe_key=None)
    state = after(trigger(), State(), reading, now_ms=NOW, run_id="run-1")
    assert state.seen == {}
    assert outcome(state, reading).outcome == "fire"


def test_debounce_skips_what_follows_within_its_time_for_the_same_key() -> None:
    fields: dict[str, Any] = {"debounce": {"seconds": 2}}
    reading = Reading(debounce_key="a")
    state = after(trigger(**fields), State(), reading, now_ms=NOW, run_id="r")
    assert outcome(state, reading, now_ms=NOW + 1_999, **fields).outcome == "skipped"
    assert outcome(state, reading, now_ms=NOW + 2_000, **fields).outcome == "fire"
    assert outcome(state, Reading(debounce_key="b"), now_ms=NOW + 1, **fields).outcome == "fire"


def test_rate_refuses_and_says_when_to_come_again() -> None:
    fields: dict[str, Any] = {"rate": {"limit": 2, "perSeconds": 10}}
    state = State()
    for _ in range(2):
        assert outcome(state, **fields, reading=Reading()).outcome == "fire"
        state = after(trigger(**fields), state, Reading(), now_ms=NOW, run_id="r")
    decision = outcome(state, Reading(), **fields)
    assert (decision.outcome, decision.retry_after_s) == ("refused", 5.0)
    assert outcome(state, Reading(rate_key="other"), **fields).outcome == "fire"
    assert outcome(state, Reading(), now_ms=NOW + 5_000, **fields).outcome == "fire"


@pytest.mark.parametrize(
    ("policy", "open_runs", "expected", "cancels"),
    [
        ("allow", 50, "fire", 0),
        ("skip", 1, "fire", 0),
        ("skip", 2, "skipped", 0),
        ("queue", 1, "fire", 0),
        ("queue", 2, "queued", 0),
        ("cancel_running", 1, "fire", 0),
        ("cancel_running", 2, "fire", 1),
        ("cancel_running", 5, "fire", 4),  # the limit was larger before
    ],
)
def test_beside_open_runs(policy: str, open_runs: int, expected: str, cancels: int) -> None:
    concurrency = {"policy": policy} if policy == "allow" else {"policy": policy, "limit": 2}
    runs = tuple(f"run-{number}" for number in range(open_runs))
    decision = outcome(State(open_runs={"k": runs}), Reading(concurrency_key="k"), concurrency=concurrency)
    assert decision.outcome == expected
    assert decision.cancels == runs[:cancels]
    other = outcome(State(open_runs={"k": runs}), Reading(concurrency_key="o"), concurrency=concurrency)
    assert other == Decision("fire")


def test_queue_keeps_the_order_and_has_an_end() -> None:
    concurrency = {"policy": "queue"}
    assert outcome(State(queued={"": 1}), concurrency=concurrency).outcome == "queued"  # free, but others wait
    full = outcome(State(open_runs={"": ("r",)}, queued={"": MAX_QUEUED}), concurrency=concurrency)
    assert (full.outcome, full.retry_after_s) == ("refused", 60.0)


def test_what_does_not_fire_spends_no_token_and_is_no_duplicate_later() -> None:
    assert [Decision(word).is_taken for word in ("fire", "queued")] == [True, True]  # type: ignore[arg-type]
    for word in ("filtered", "duplicate", "skipped", "refused"):
        assert not Decision(word).is_taken  # type: ignore[arg-type]


def test_after_changes_nothing_of_the_state_before() -> None:
    before = State()
    limited = trigger(rate={"limit": 1, "perSeconds": 1}, debounce={"seconds": 1})
    later = after(limited, before, READING, now_ms=NOW, run_id="r")
    assert before == State()
    assert (later.seen, set(later.rate), set(later.debounce)) == ({"id:1": "r"}, {""}, {""})


class Deliveries(RuleBasedStateMachine):
    """Deliveries as they come, sent again, and runs that end, beside a plain count of what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.trigger: Trigger = trigger(
            concurrency={"policy": "queue", "key": "k", "limit": 2}, rate={"limit": 3, "perSeconds": 1}
        )
        self.state = State()
        self.now = NOW
        self.started: dict[str, str] = {}
        self.taken: list[int] = []

    @rule(delivery=st.integers(0, 30), key=st.sampled_from("ab"), wait=st.sampled_from((0, 0, 1, 100, 400, 5_000)))
    def deliver(self, delivery: int, key: str, wait: int) -> None:
        self.now += wait
        reading = Reading(dedupe_key=f"id:{delivery}", concurrency_key=key)
        decision = decide(self.trigger, self.state, reading, now_ms=self.now)
        known = self.started.get(f"id:{delivery}")
        assert (decision.outcome == "duplicate") == (known is not None)
        assert decision.run_id == known
        if not decision.is_taken:
            assert decision.reason
            return
        run_id = f"run-{len(self.started)}"
        self.started[f"id:{delivery}"] = run_id
        self.taken.append(self.now)
        self.state = after(self.trigger, self.state, reading, now_ms=self.now, run_id=run_id)
        if decision.outcome == "fire":
            runs = self.state.open_runs.get(key, ())
            self.state = replace(self.state, open_runs={**self.state.open_runs, key: (*runs, run_id)})
        else:
            self.state = replace(self.state, queued={**self.state.queued, key: self.state.queued.get(key, 0) + 1})

    @rule(key=st.sampled_from("ab"))
    def end_a_run(self, key: str) -> None:
        runs = self.state.open_runs.get(key, ())[1:]
        waiting = self.state.queued.get(key, 0)
        if waiting and len(runs) < 2:
            runs = (*runs, "from the queue")
            self.state = replace(self.state, queued={**self.state.queued, key: waiting - 1})
        self.state = replace(self.state, open_runs={**self.state.open_runs, key: runs})

    @invariant()
    def at_most_two_runs_of_a_key_are_open(self) -> None:
        assert all(len(runs) <= 2 for runs in self.state.open_runs.values())

    @invariant()
    def no_second_has_more_than_its_burst_and_its_share(self) -> None:
        for first, at in enumerate(self.taken):
            assert sum(at <= moment < at + 1_000 for moment in self.taken[first:]) <= 6


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = examples(120)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("orders.paid", "orders.paid", True),
        ("orders.paid", "orders.paid2", False),
        ("orders.*", "orders.eu.paid", True),
        ("orders.*", "orders.", True),
        ("orders.*", "orders", False),
        ("*", "", True),
        ("*.paid", "orders.paid", True),
        ("ab*ba", "aba", False),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "acb", False),
        ("a?c", "abc", False),  # '*' is the only sign
        ("a[b]", "ab", False),
    ],
)
def test_event_name_fits_pattern(pattern: str, name: str, fits: bool) -> None:
    assert event_fits(pattern, name) is fits


@examples(400)
@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_event_fits_as_the_plain_definition_says(pattern: str, name: str) -> None:
    def plain(rest: str, left: str) -> bool:
        if not rest:
            return not left
        if rest[0] == "*":
            return any(plain(rest[1:], left[skipped:]) for skipped in range(len(left) + 1))
        return left[:1] == rest[0] and plain(rest[1:], left[1:])

    assert event_fits(pattern, name) is plain(pattern, name)
