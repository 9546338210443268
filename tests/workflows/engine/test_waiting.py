"""How waits begin, what fits them, and what they give: no clock is read here."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from innkeeper.workflows.document.times import MAX_WAIT_S
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.waiting import BEGIN, announcement, decide, matches, was_answered
from innkeeper.workflows.engine.workflow_context import Wait

NOW = 1_000_000_000.0  # 2001-09-09T01:46:40Z


def begin(kind: str, inputs: dict[str, Any] | None = None, **config: Any) -> Wait:
    return BEGIN[f"core:{kind}"]("g/w", inputs or {}, config, NOW)


@pytest.mark.parametrize(("seconds", "after"), [(0, 0), (1.5, 1.5), ("2", 2), (MAX_WAIT_S, MAX_WAIT_S)])
def test_delay(seconds: Any, after: float) -> None:
    assert begin("Delay", {"seconds": seconds}).deadline == NOW + after


@pytest.mark.parametrize("seconds", [-1, MAX_WAIT_S + 1, "soon", None, True, [1], "nan", "inf", 10**400])
def test_delay_of_nonsense_fails_the_node(seconds: Any) -> None:
    with pytest.raises(ApplicationError, match=r"node 'g/w': 'seconds' must be") as raised:
        begin("Delay", {"seconds": seconds})
    assert raised.value.type == "invalid_input"


@pytest.mark.parametrize(
    ("time", "moment"),
    [("2001-09-09T01:46:50Z", NOW + 10), ("2001-09-09T03:46:50+02:00", NOW + 10), ("2001-09-09T01:46:50", NOW + 10),
     (" 2001-09-09 01:46:50.500 ", NOW + 10.5), ("2001-09-10", NOW + 80_000), (NOW + 3, NOW + 3),
     ("1999-01-01T00:00:00Z", NOW), (0, NOW), ("0001-01-01", NOW)],
)  # fmt: skip
def test_wait_until(time: Any, moment: float) -> None:
    assert begin("WaitUntil", {"time": time}).deadline == moment


@pytest.mark.parametrize("time", ["tomorrow", "", None, "2001-13-01", True, [], 1e300, float("nan"), 10**30])
def test_wait_until_nonsense_fails_the_node(time: Any) -> None:
    with pytest.raises(ApplicationError, match="'time' must be a moment"):
        begin("WaitUntil", {"time": time})


def test_wait_until_far_away_fails_the_node() -> None:
    with pytest.raises(ApplicationError, match="ten years"):
        begin("WaitUntil", {"time": "2999-01-01T00:00:00Z"})


@pytest.mark.parametrize(("timeout", "deadline"), [(None, None), (0, None), ("", None), (60, NOW + 60)])
def test_time_limit(timeout: Any, deadline: float | None) -> None:
    assert begin("Approval", timeoutSeconds=timeout).deadline == deadline
    assert begin("WaitForEvent", name="e", timeoutSeconds=timeout).deadline == deadline


@pytest.mark.parametrize("bad", [[1], "text", 5, {"a": {"operator": "like"}}, {"a": {"operator": ["equals"]}}])
def test_a_filter_that_is_none_fails_the_node(bad: Any) -> None:
    with pytest.raises(ApplicationError, match="'filter'"):
        begin("WaitForEvent", {"filter": bad}, name="e")


def test_a_filter_from_an_edge_goes_before_the_setting() -> None:
    assert begin("WaitForEvent", {"filter": {"a": 1}}, name="e", filter={"b": 2}).filter == {"a": 1}
    assert begin("WaitForEvent", name="e", filter={"b": 2}).filter == {"b": 2}


@pytest.mark.parametrize(
    ("wanted", "data", "fit"),
    [({}, None, True), ({}, [1], True), ({"id": 7}, {"id": "7", "more": 1}, True), ({"id": 7}, {"id": 8}, False),
     ({"id": 7}, {}, False), ({"id": 7}, "id", False), ({"n": {"operator": "greater", "value": 3}}, {"n": 4}, True),
     ({"n": {"operator": "greater", "value": 3}}, {"n": None}, False),
     ({"a": 1, "b": {"operator": "empty"}}, {"a": 1, "b": ""}, True),
     ({"a": 1, "b": {"operator": "empty"}}, {"a": 1}, False)],
)  # fmt: skip
def test_event_fits_filter(wanted: dict[str, Any], data: Any, fit: bool) -> None:
    wait = begin("WaitForEvent", name="paid", filter=wanted)
    assert matches(wait, "paid", data) is fit
    assert not matches(wait, "other", data)


def test_an_event_that_came_already_is_not_replaced() -> None:
    wait = begin("WaitForEvent", name="paid")
    wait.answer = {"data": 1}
    assert not matches(wait, "paid", 2)


def test_what_waits_give() -> None:
    assert decide(begin("Delay", {"seconds": 1}), {"value": 5}) == NodeDecision({"value": 5})
    event = begin("WaitForEvent", name="paid")
    assert decide(event, {}) == NodeDecision({"timeout": True}, ("data",), "timed_out")
    event.answer = {"data": {"id": 7}}
    assert decide(event, {}) == NodeDecision({"data": {"id": 7}}, ("timeout",), "not_chosen")


def test_what_approvals_give() -> None:
    wait = begin("Approval")
    assert decide(wait, {"data": 1}) == NodeDecision({"timeout": 1}, ("approved", "rejected", "answer"), "timed_out")
    wait.answer = {"approved": True, "values": {}}
    assert decide(wait, {"data": 1}) == NodeDecision(
        {"approved": 1, "answer": wait.answer}, ("rejected", "timeout"), "not_chosen"
    )
    wait.answer = {"approved": False, "values": {}}
    assert decide(wait, {}) == NodeDecision(
        {"rejected": None, "answer": wait.answer}, ("approved", "timeout"), "not_chosen"
    )


def test_what_users_hear_of_a_wait() -> None:
    assert announcement(begin("Delay", {"seconds": 60}), {}) == (
        "NODE_WAITING",
        {"kind": "delay", "until": "2001-09-09T01:47:40+00:00"},
    )
    assert announcement(begin("WaitForEvent", name="paid"), {}) == (
        "NODE_WAITING",
        {"kind": "event", "until": None, "name": "paid"},
    )
    form = [{"key": "text", "dataFlowType": "STRING"}]
    assert announcement(begin("Approval", form=form), {"data": 1}) == (
        "APPROVAL_REQUIRED",
        {"kind": "approval", "until": None, "approvalId": "g/w", "form": form, "data": 1},
    )


def test_which_entries_were_answered() -> None:
    assert was_answered("core:Approval", {"output": {"rejected": 1, "answer": {}}})
    assert not was_answered("core:Approval", {"output": {"timeout": 1}})
    assert not was_answered("core:Approval", {"wait": {}})
    assert not was_answered("toy:Step", {"output": {"answer": 1}})
