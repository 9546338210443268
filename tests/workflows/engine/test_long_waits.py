"""Waits of days and years, by a clock of the test's own: they end at their moment, whatever happens in between."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from innkeeper.workflows.document.times import MAX_WAIT_S
from tests.workflows.engine.control_toys import compiled, step
from tests.workflows.engine.time_machine import BEGUN, TimeMachine
from tests.workflows.toy_graphs import node

DAY_S = 86_400.0
YEARS = 366 * DAY_S
Json = dict[str, Any]


def wait(type: str, config: Json | None = None, **inputs: Any) -> Json:
    return node("w", f"core:{type}", inputs, configValues=config or {})


def moment(days: float) -> str:
    return (BEGUN + timedelta(days=days)).isoformat()


@pytest.fixture(params=[False, True], ids=["cached", "evicted"])
def evicted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def machine(evicted: bool, *nodes: Json, edges: tuple[str, ...] = ()) -> TimeMachine:
    return TimeMachine(compiled(list(nodes), *edges), evicted=evicted)


def outputs(run: TimeMachine, id: str = "w") -> Json:
    assert run.result is not None
    found: Json = run.result["nodes"][id]["output"]
    return found


@pytest.mark.parametrize(
    ("item", "days"),
    [
        (wait("Delay", seconds=3 * DAY_S, value=7), 3),
        (wait("Delay", seconds=5 * YEARS, value=7), 5 * 366),
        (wait("Delay", seconds=MAX_WAIT_S, value=7), 3660),
        (wait("WaitUntil", time=moment(9 * 365), value=7), 9 * 365),
        (wait("WaitUntil", time=moment(-400), value=7), 0),
    ],
)
def test_a_wait_ends_at_its_moment_and_not_before(evicted: bool, item: Json, days: float) -> None:
    run = machine(evicted, item, step("after"), edges=("w.value > after.a",))
    if days:
        run.travel(days=days, seconds=-1)
        assert run.result is None
        run.travel(seconds=1)
    assert run.result is not None
    assert run.now == BEGUN + timedelta(days=days)
    assert outputs(run, "after") == {"out": "after(7)"}
    assert run.histories == 1
    assert len(run.timers_set) == bool(days)


def test_what_is_told_of_a_wait_is_when_it_ends(evicted: bool) -> None:
    run = machine(evicted, wait("Delay", seconds=5 * YEARS))
    (told,) = [payload for _, type, payload in run.facts if type == "NODE_WAITING"]
    assert datetime.fromisoformat(told["until"]) == BEGUN + timedelta(seconds=5 * YEARS)


@pytest.mark.parametrize(
    ("item", "given"),
    [
        (wait("Approval", {"timeoutSeconds": 400 * DAY_S}, data=5), {"timeout": 5}),
        (wait("WaitForEvent", {"name": "paid", "timeoutSeconds": 400 * DAY_S}), {"timeout": True}),
    ],
)
def test_nobody_answers_for_400_days(evicted: bool, item: Json, given: Json) -> None:
    run = machine(evicted, item)
    run.travel(days=399.9)
    assert run.result is None
    run.travel(days=0.1)
    assert outputs(run) == given


@pytest.mark.parametrize("days", [0, 1, 399])
def test_somebody_answers_before_the_400_days_are_over(evicted: bool, days: int) -> None:
    run = machine(evicted, wait("Approval", {"timeoutSeconds": 400 * DAY_S}, data=5))
    run.travel(days=days)
    run.answer("w", {"approved": True})
    run.travel(seconds=1)  # an answer counts as soon as the server has kept it
    assert outputs(run)["approved"] == 5
    assert run.answers == ["accepted", "completed"]


@pytest.mark.parametrize("days", [0, 399, 4_000])
def test_an_event_comes_after_years(evicted: bool, days: int) -> None:
    run = machine(evicted, wait("WaitForEvent", {"name": "paid"}))
    run.signal("event", "other", {})
    run.travel(days=days)
    run.signal("event", "paid", {"order": 7})
    assert outputs(run) == {"data": {"order": 7}}


def test_waits_go_on_in_a_new_history_with_what_is_left_of_them(evicted: bool) -> None:
    """The moments count from the beginning of each wait, not from the beginning of the history."""
    nodes = (
        node("d", "core:Delay", {"seconds": 3 * DAY_S, "value": 1}),
        node("years", "core:Delay", {"seconds": 5 * YEARS, "value": 2}),
        node("until", "core:WaitUntil", {"time": moment(9 * 365), "value": 3}),
        node("ask", "core:Approval", {"data": 4}, configValues={"timeoutSeconds": 400 * DAY_S}),
        node("event", "core:WaitForEvent", configValues={"name": "paid", "timeoutSeconds": 400 * DAY_S}),
        step("s"),
    )
    run = machine(evicted, *nodes, edges=("d.value > s.a",))
    run.is_long = True
    run.travel(days=3)
    assert run.histories == 2
    run.is_long = True
    run.travel(days=396)
    assert run.result is None
    run.answer("ask", {"approved": False})
    run.travel(days=1)
    assert run.histories == 3
    ends = {"event": 400, "years": 5 * 366, "until": 9 * 365}
    run.travel(days=4_000)
    assert run.result is not None
    entries = run.result["nodes"]
    assert {id: entry["status"] for id, entry in entries.items()} == dict.fromkeys(entries, "complete")
    assert outputs(run, "event") == {"timeout": True}
    assert outputs(run, "ask")["rejected"] == 4
    for id, days in ends.items():
        assert datetime.fromisoformat(entries[id]["endedAt"]) == BEGUN + timedelta(days=days), id


def test_an_approval_that_is_answered_right_before_its_limit_has_one_end(evicted: bool) -> None:
    ask = wait("Approval", {"timeoutSeconds": 400 * DAY_S}, data=5)
    run = machine(evicted, ask, step("s"), edges=("w.approved > s.a",))
    run.travel(days=400, milliseconds=-1)
    run.answer("w", {"approved": True})
    run.travel(days=1)
    assert outputs(run, "s") == {"out": "s(5)"}
    assert [type for path, type, _ in run.facts if path == "w"].count("NODE_COMPLETE") == 1


def test_a_run_that_is_paused_for_years_goes_on_where_it_was(evicted: bool) -> None:
    run = machine(evicted, wait("Delay", seconds=3 * DAY_S, value=1), step("s"), edges=("w.value > s.a",))
    run.signal("pause", True)
    run.travel(days=4_000)
    assert run.result is None
    assert "NODE_COMPLETE" in [type for path, type, _ in run.facts if path == "w"]
    run.signal("pause", False)
    assert outputs(run, "s") == {"out": "s(1)"}
