"""Statuses that alternate, and approvals, in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from innkeeper.gateway.events.fence import RunLogState, decide, fact_message, fold, resumed_message, status_message

Json = dict[str, Any]


def log(*messages: Mapping[str, Any]) -> list[Json]:
    """The events that messages leave; a restarted gateway reads the same state from them."""
    state, events = RunLogState(), []
    for message in messages:
        for event in decide(state, {"run": "r", **message}, 1000).events:
            state.apply(event)
            events.append(event)
    assert fold(events) == state
    return events


def statuses(*messages: Mapping[str, Any]) -> list[str]:
    return [event["payload"]["status"] for event in log(*messages)]


QUEUED, RUNNING, PAUSED, INTERRUPTING = (
    status_message(name) for name in ("queued", "running", "paused", "interrupting")
)


@pytest.mark.parametrize(
    ("messages", "logged"),
    [
        ([RUNNING, PAUSED, PAUSED], ["running", "paused"]),
        ([RUNNING, PAUSED, RUNNING, QUEUED], ["running", "paused"]),
        ([RUNNING, PAUSED, resumed_message("running"), resumed_message("running")], ["running", "paused", "running"]),
        ([RUNNING, PAUSED, resumed_message("running"), PAUSED], ["running", "paused", "running", "paused"]),
        ([QUEUED, PAUSED, resumed_message("queued"), RUNNING], ["queued", "paused", "queued", "running"]),
        ([RUNNING, resumed_message("queued")], ["running"]),
        ([RUNNING, PAUSED, status_message("interrupted"), PAUSED], ["running", "paused", "interrupted"]),
        ([RUNNING, status_message("complete"), PAUSED, resumed_message("running")], ["running", "complete"]),
    ],
)
def test_paused_alternates_and_what_was_said_before_undoes_nothing(messages: list[Json], logged: list[str]) -> None:
    assert statuses(*messages) == logged


@pytest.mark.parametrize(
    ("messages", "logged"),
    [
        ([RUNNING, INTERRUPTING, INTERRUPTING, RUNNING], ["running", "interrupting"]),
        ([RUNNING, PAUSED, INTERRUPTING, resumed_message("running")], ["running", "paused", "interrupting"]),
        ([INTERRUPTING, PAUSED, status_message("complete")], ["interrupting", "complete"]),
        ([RUNNING, status_message("interrupted"), INTERRUPTING], ["running", "interrupted"]),
    ],
)
def test_only_the_end_follows_interrupting(messages: list[Json], logged: list[str]) -> None:
    assert statuses(*messages) == logged


def test_approval_is_told_once_with_an_address_for_what_is_stored_apart() -> None:
    blob = {"$blob": "0" * 64, "size": 9000}
    asked = fact_message("g/a b", "APPROVAL_REQUIRED", {"kind": "approval", "approvalId": "g/a b", "data": blob})
    answered = fact_message("g/a b", "APPROVAL_ANSWERED", {"approvalId": "g/a b", "answer": {"approved": True}})
    events = log(asked, asked, answered, answered, asked)
    assert [event["type"] for event in events] == ["APPROVAL_REQUIRED", "APPROVAL_ANSWERED"]
    assert events[0]["payload"]["data"] == {**blob, "url": "/api/prompt/r/approvals/g/a%20b/data"}
