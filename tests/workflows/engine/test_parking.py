"""Nodes that wait for long hold nothing: the run waits in their place, by a clock of the test's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ActivityError, ApplicationError

from innkeeper.nodes.call import BUDGET_REACHED, NODE_PARKED
from innkeeper.workflows.engine import activation
from innkeeper.workflows.engine.parking import Before, Parking
from innkeeper.workflows.plan import RunPlan
from tests.workflows.engine.control_toys import compiled, step
from tests.workflows.engine.time_machine import BEGUN, TimeMachine
from tests.workflows.toy_graphs import node
from tests.workflows.toys import node as toy

HOUR_S = 3_600.0
Json = dict[str, Any]


def parked(attempt: int = 1, delay_s: float = HOUR_S, **counted: Any) -> ApplicationError:
    """What an activity ends with whose node must wait for long."""
    about = {"delayS": delay_s, "code": "waiting", "kind": "wait", "reason": "60 requests a minute of channel x"}
    told = {"attempt": attempt, "retryable": True, "details": {"limit": "x"}, "parked": {**about, "counted": counted}}
    return ApplicationError("full", told, type=NODE_PARKED, non_retryable=True)


def out_of_budget(attempt: int = 1, **counted: Any) -> ApplicationError:
    about = {"scope": "run", "limit": {"tokens": 100}, "used": {"tokens": 90}, "needed": {"tokens": 25}}
    told = {"attempt": attempt, "retryable": False, "details": about, "parked": {"counted": counted}}
    return ApplicationError("the run may spend 100 tokens", told, type=BUDGET_REACHED, non_retryable=True)


@pytest.fixture(params=[False, True], ids=["cached", "evicted"])
def evicted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def machine(evicted: bool, *errors: ApplicationError, **options: Any) -> TimeMachine:
    plan = compiled([step("a"), step("b"), step("free")], "a.out > b.a")
    return TimeMachine(plan, evicted=evicted, failures={"a": list(errors)}, **options)


def statuses(run: TimeMachine) -> Json:
    assert run.result is not None
    return {id: entry["status"] for id, entry in run.result["nodes"].items()}


def told(run: TimeMachine, type: str, path: str = "a") -> list[Json]:
    return [payload for at, kind, payload in run.facts if (at, kind) == (path, type)]


def test_a_parked_node_goes_on_at_its_moment_with_what_was_counted(evicted: bool) -> None:
    run = machine(evicted, parked(3, failures=2, deaths=1))
    assert [call.path for call in run.calls] == ["a", "free"]
    run.travel(seconds=HOUR_S - 1)
    assert run.result is None
    run.travel(seconds=1)
    assert statuses(run) == {"a": "complete", "b": "complete", "free": "complete"}
    again = run.calls[2]
    assert (again.path, again.base_attempt, again.counted) == ("a", 3, {"failures": 2, "deaths": 1})
    assert (again.max_failures, again.may_park) == (run.calls[0].max_failures, True)
    assert run.result is not None
    assert not {"parked", "wait"} & run.result["nodes"]["a"].keys()


def test_what_it_waits_for_is_told_with_the_moment_and_the_reason(evicted: bool) -> None:
    run = machine(evicted, parked())
    payload = told(run, "NODE_RETRY")[0]
    assert datetime.fromisoformat(payload["retryAt"]) == BEGUN + timedelta(seconds=HOUR_S)
    assert payload["reason"] == "60 requests a minute of channel x"
    assert {key: payload[key] for key in ("attempt", "code", "message", "kind", "details")} == {
        **{"attempt": 1, "code": "waiting", "message": "full", "kind": "wait", "details": {"limit": "x"}},
    }


def test_a_node_may_be_parked_again_and_again_and_in_new_histories(evicted: bool) -> None:
    run = machine(evicted, *(parked(attempt, failures=attempt) for attempt in range(1, 9)))
    for _ in range(4):
        run.is_long = True
        run.travel(seconds=2 * HOUR_S)
    assert run.histories > 3
    assert statuses(run)["b"] == "complete"
    assert [call.base_attempt for call in run.calls if call.path == "a"] == list(range(9))
    assert run.now == BEGUN + timedelta(seconds=8 * HOUR_S)


def test_a_paused_run_starts_nothing_when_the_moment_has_come(evicted: bool) -> None:
    run = machine(evicted, parked())
    run.signal("pause", True)
    run.travel(days=3)
    assert len(run.calls) == 2
    run.signal("pause", False)
    assert statuses(run)["b"] == "complete"


def test_a_paused_run_whose_moment_has_come_goes_on_in_a_new_history(evicted: bool) -> None:
    run = machine(evicted, parked(4))
    run.signal("pause", True)
    run.is_long = True
    run.travel(days=3)
    run.signal("pause", True)
    assert run.histories == 2
    run.signal("pause", False)
    assert statuses(run)["b"] == "complete"
    assert run.calls[2].base_attempt == 4


def test_an_interrupted_run_does_not_wait(evicted: bool) -> None:
    run = machine(evicted, parked())
    run.cancel()
    assert run.result is not None
    assert run.result["status"] == "interrupted"
    assert statuses(run) == {"a": "interrupted", "b": "interrupted", "free": "complete"}
    assert "wait" not in run.result["nodes"]["a"]


def test_the_time_that_it_waits_is_not_of_the_time_for_all_attempts(evicted: bool) -> None:
    run = machine(evicted, parked(), parked(2, delay_s=400 * 86_400.0))
    run.travel(days=401)
    assert statuses(run)["a"] == "complete"
    spans = [item.schedule_to_close_timeout.ToTimedelta() for item in run.started if item.activity_id == "a"]
    assert spans == [timedelta(seconds=900)] * 3


def test_time_that_its_activities_take_is_of_it(evicted: bool) -> None:
    run = machine(evicted, parked(), parked(2), held=["a"])
    run.travel(seconds=600)
    run.finish("a")
    run.travel(seconds=HOUR_S)
    run.travel(seconds=600)
    run.finish("a")
    run.travel(seconds=HOUR_S)
    spans = [item.schedule_to_close_timeout.ToTimedelta() for item in run.started if item.activity_id == "a"]
    assert spans == [timedelta(seconds=900), timedelta(seconds=300), timedelta(seconds=10)]


def test_a_parked_node_that_nobody_needs_any_more_is_left_out(evicted: bool) -> None:
    nodes = [step("slow"), step("quick"), node("m", "core:Merge", {})]
    plan = compiled(nodes, "slow.out > m.values", "quick.out > m.values")
    assert plan.by_id["slow"].spare  # type: ignore[index]
    run = TimeMachine(plan, evicted=evicted, failures={"slow": [out_of_budget()]}, held=["quick"])
    run.finish("quick")
    assert statuses(run) == {"slow": "skipped", "quick": "complete", "m": "complete"}
    assert run.now == BEGUN


# --- a budget -----------------------------------------------------------------------------------------------------


def test_a_node_out_of_budget_asks_and_goes_on_with_the_new_limit(evicted: bool) -> None:
    run = machine(evicted, out_of_budget(2, failures=1))
    assert run.timers_set  # a task without a command would be given to another worker together with the answer
    (asked, *_) = told(run, "BUDGET_REACHED")
    about = {"kind": "budget", "approvalId": "a", "attempt": 2, "until": None, "scope": "run"}
    assert about.items() <= asked.items()
    assert (asked["limit"], asked["used"], asked["needed"]) == ({"tokens": 100}, {"tokens": 90}, {"tokens": 25})
    assert [item["key"] for item in asked["form"]] == ["tokens"]
    run.travel(days=4_000)
    assert run.result is None
    run.answer("a", {"approved": True, "values": {"tokens": 200}, "by": "me"})
    run.travel(seconds=1)
    assert statuses(run)["b"] == "complete"
    answer = {"approved": True, "values": {"tokens": 200}, "by": "me"}
    assert told(run, "APPROVAL_ANSWERED")[0] == {"approvalId": "a", "attempt": 2, "answer": answer}
    assert (run.calls[2].base_attempt, run.calls[2].counted) == (2, {"failures": 1})


def test_a_node_that_is_stopped_fails_with_what_it_asked(evicted: bool) -> None:
    run = machine(evicted, out_of_budget())
    run.answer("a", {"approved": False, "by": "me"})
    run.travel(seconds=1)
    assert statuses(run) == {"a": "error", "b": "skipped", "free": "complete"}
    assert run.result is not None
    error = run.result["nodes"]["a"]["error"]
    assert (error["code"], error["message"]) == ("budget_reached", "the run may spend 100 tokens; it was stopped by me")
    amounts = {"limit": {"tokens": 100}, "used": {"tokens": 90}, "needed": {"tokens": 25}}
    assert error["details"] == {"scope": "run", **amounts}
    assert not {"parked", "wait"} & run.result["nodes"]["a"].keys()


@pytest.mark.parametrize(
    "answer",
    [
        {"approved": True},
        {"approved": True, "values": {}},
        {"approved": True, "values": {"tokens": 0}},
        {"approved": True, "values": {"tokens": -5}},
        {"approved": True, "values": {"tokens": "many"}},
        {"approved": True, "values": {"tokens": True}},
        {"approved": True, "values": {"tokens": float("nan")}},
        {"approved": True, "values": {"euros": 5}},
        {"values": {"tokens": 5}},
    ],
)
def test_an_answer_that_raises_nothing_is_refused(answer: Json) -> None:
    run = machine(False, out_of_budget())
    run.answer("a", answer)
    run.travel(seconds=1)
    assert (run.answers, run.result) == (["rejected"], None)


def test_it_is_asked_again_when_that_was_not_enough_and_in_a_new_history(evicted: bool) -> None:
    run = machine(evicted, out_of_budget(1), out_of_budget(2))
    run.is_long = True
    run.answer("a", {"approved": True, "values": {"tokens": 150}})
    run.travel(seconds=1)
    run.is_long = True
    run.signal("event", "x", {})
    assert run.histories >= 2
    assert [payload["attempt"] for payload in _distinct(told(run, "BUDGET_REACHED"))] == [1, 2]
    run.answer("a", {"approved": True, "values": {"tokens": 900}})
    run.travel(seconds=1)
    assert statuses(run)["b"] == "complete"
    assert [payload["attempt"] for payload in _distinct(told(run, "APPROVAL_ANSWERED"))] == [1, 2]


def _distinct(payloads: list[Json]) -> list[Json]:
    """Without those that were told again in a replay."""
    return [payload for number, payload in enumerate(payloads) if payload not in payloads[:number]]


def test_an_answer_to_an_earlier_question_is_none_to_the_next_one() -> None:
    run = machine(False, out_of_budget(1), out_of_budget(2))
    raised = {"approved": True, "values": {"tokens": 150}}
    run.answer("a", {**raised, "attempt": 1})
    run.travel(seconds=1)
    run.answer("a", {**raised, "attempt": 1})
    assert run.answers[-1] == "rejected"
    run.answer("a", {**raised, "attempt": 2})
    run.travel(seconds=1)
    assert statuses(run)["b"] == "complete"


def spending(evicted: bool, **options: Any) -> TimeMachine:
    return TimeMachine(compiled([step(id) for id in "abcd"]), evicted=evicted, **options)


@pytest.mark.parametrize(("approved", "status"), [(True, "complete"), (False, "error")])
def test_one_answer_counts_for_all_that_wait_for_the_same_budget(evicted: bool, approved: bool, status: str) -> None:
    day = out_of_budget()
    day.details[0]["details"]["scope"] = "day"
    failures = {"a": [out_of_budget()], "b": [out_of_budget()], "c": [out_of_budget()], "d": [day]}
    run = spending(evicted, failures=failures, held=["c"])
    run.travel(seconds=5)
    run.answer("a", {"approved": approved, "values": {"tokens": 500}})
    run.travel(seconds=5)
    assert starts(run, "b") == ([0, 1] if approved else [0])
    assert starts(run, "d") == [0]
    run.finish("c")  # it was refused before that answer, and comes to ask after it
    assert "APPROVAL_ANSWERED" in [type for path, type, _ in run.facts if path == "c"]
    run.travel(seconds=1)
    if approved:
        run.finish("c")
    run.answer("d", {"approved": False})
    run.travel(seconds=1)
    assert statuses(run) == {**dict.fromkeys("abc", status), "d": "error"}


def test_who_is_refused_after_the_answer_asks_again(evicted: bool) -> None:
    run = spending(evicted, failures={"a": [out_of_budget(), out_of_budget(2)]}, held=["b"])
    run.answer("a", {"approved": True, "values": {"tokens": 500}})
    run.travel(days=1)
    assert starts(run, "a") == [0, 1]
    assert run.result is None
    assert [payload["attempt"] for payload in _distinct(told(run, "BUDGET_REACHED"))] == [1, 2]


def test_a_wait_for_a_moment_takes_no_answer() -> None:
    run = machine(False, parked())
    run.answer("a", {"approved": True, "values": {"tokens": 5}})
    assert run.answers == ["rejected"]


# --- streams ------------------------------------------------------------------------------------------------------


def streamed(evicted: bool, **options: Any) -> TimeMachine:
    """`c` reads the streams of `p` and `q` while they come; `q` waits for `a`."""
    plan = RunPlan((toy("a"), toy("p"), toy("q", "echo", "a"), toy("c", beside=("p", "q"))))
    return TimeMachine(plan, evicted=evicted, **options)


def starts(run: TimeMachine, path: str) -> list[int]:
    return [call.base_attempt for call in run.calls if call.path == path]


def test_a_producer_that_goes_on_starts_no_consumer_that_waits_for_another_one(evicted: bool) -> None:
    run = streamed(evicted, failures={"p": [parked()]}, held=["a", "c"])
    run.travel(seconds=HOUR_S)
    assert (starts(run, "p"), starts(run, "c")) == ([0, 1], [])
    run.finish("a")
    assert starts(run, "c") == [0]
    run.finish("c")
    assert statuses(run) == dict.fromkeys("apqc", "complete")


def test_a_consumer_waits_for_its_parked_producer_and_is_not_started_twice(evicted: bool) -> None:
    run = streamed(evicted, failures={"p": [parked()]}, held=["c"])
    run.travel(seconds=HOUR_S)
    assert (starts(run, "p"), starts(run, "c")) == ([0, 1], [0])
    run.finish("c")
    assert statuses(run) == dict.fromkeys("apqc", "complete")


def test_a_full_history_does_not_keep_a_producer_from_its_consumers(
    evicted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it, and the end of the history for them."""
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 8)  # of which the third task is beyond
    run = streamed(evicted, failures={"p": [parked()]}, held=["c"])
    run.travel(seconds=HOUR_S)
    assert starts(run, "p") == [0, 1]
    run.finish("c")
    assert statuses(run) == dict.fromkeys("apqc", "complete")


def test_producer_and_consumer_that_are_both_parked_begin_together_in_a_new_history(evicted: bool) -> None:
    failures = {"p": [parked(2)], "c": [parked(5, delay_s=10 * HOUR_S)]}
    run = streamed(evicted, failures=failures, held=["c"])
    run.is_long = True
    run.finish("c")
    run.signal("event", "x", {})  # what a task finds in its history counts in the next one
    assert run.histories == 2
    run.travel(seconds=HOUR_S)
    assert (starts(run, "p"), starts(run, "c")) == ([0, 2], [0, 5])
    run.finish("c")
    assert statuses(run) == dict.fromkeys("apqc", "complete")


# --- what is no parking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cause",
    [
        ApplicationError("x", {"attempt": 1}, type=NODE_PARKED),
        ApplicationError("x", {"attempt": 1, "parked": 5}, type=BUDGET_REACHED),
        ApplicationError("x", type=NODE_PARKED),
        ApplicationError("x", {"attempt": 1, "parked": {}}, type="node_failed"),
        # What the code of a plugin may raise.
        ApplicationError("x", {"attempt": 1, "parked": {"counted": {}}}, type=NODE_PARKED),
        ApplicationError("x", {"attempt": "one", "parked": {"counted": {}, "delayS": 1}}, type=NODE_PARKED),
        ApplicationError("x", {"attempt": 1, "parked": {"counted": 7, "delayS": 1}}, type=NODE_PARKED),
        ApplicationError("x", {"attempt": 1, "parked": {"counted": {}, "delayS": "soon"}}, type=NODE_PARKED),
        ApplicationError("x", ["attempt"], type=BUDGET_REACHED),
    ],
)
def test_other_ends_are_failures(cause: ApplicationError) -> None:
    error = ActivityError(
        "x", scheduled_event_id=1, started_event_id=2, identity="", activity_type="", activity_id="", retry_state=None
    )
    error.__cause__ = cause
    assert Parking.of("a", error, Before(), spent_s=0, now=0) is None


@pytest.mark.parametrize("delay_s", [-5.0, 1e300])
def test_a_wait_of_any_length_has_an_end(delay_s: float) -> None:
    run = machine(False, parked(delay_s=delay_s))
    run.travel(days=3_700)
    assert statuses(run)["b"] == "complete"


def test_large_details_stay_out_of_the_node_table() -> None:
    run = machine(False, parked())
    assert "details" in told(run, "NODE_RETRY")[0]
    about = parked()
    about.details[0]["details"] = {"x": "y" * 5_000}
    assert "details" not in told(machine(False, about), "NODE_RETRY")[0]
