"""How far a message is, by what Temporal says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from innkeeper.gateway.deliveries.callback_progress import next_check, progress_of, shown_delivery
from innkeeper.gateway.store.callbacks import Progress
from innkeeper.gateway.store.models import CallbackRow
from innkeeper.workflows.engine.callback_workflow import MEMO, Delivery

NOW = 1_800_000_000_000
RUNNING, ENDED = WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.TERMINATED


def row(**more: Any) -> CallbackRow:
    known = {"run": "r", "position": 0, "event": "complete", "status": "pending", "attempts": 1, "created_at": NOW}
    return CallbackRow(**{**known, **more})


def described(status: WorkflowExecutionStatus, memo: dict[str, Any]) -> Any:
    async def decoded() -> dict[str, Any]:
        return memo

    return SimpleNamespace(status=status, memo=decoded)


async def test_what_the_memo_says_counts() -> None:
    told = Delivery("pending", 2, 503, "busy", next_attempt_at=1_800_000_005.5).to_json()
    found = await progress_of(row(), described(RUNNING, {MEMO: told}))
    assert found == Progress("pending", 2, 503, "busy", 1_800_000_005_500)


@pytest.mark.parametrize("memo", [{}, {MEMO: "x"}, {MEMO: {"status": "odd"}}])
async def test_without_one_that_can_be_read_nothing_has_changed(memo: dict[str, Any]) -> None:
    assert (await progress_of(row(), described(RUNNING, memo))).status == "pending"
    assert (await progress_of(row(), described(ENDED, memo))).status == "failed"


async def test_a_workflow_that_was_ended_from_outside_did_not_deliver_it() -> None:
    told = Delivery("pending", 2, 503, "busy", next_attempt_at=1.0).to_json()
    assert (await progress_of(row(), described(ENDED, {MEMO: told}))).status == "failed"


def test_it_is_looked_at_after_its_next_attempt_and_else_ever_more_seldom() -> None:
    in_hours = Progress("pending", 5, next_attempt_at=NOW + 14_400_000)
    assert next_check(row(), in_hours, NOW) == NOW + 14_400_500
    nothing_new = Progress("pending")
    pauses = [next_check(row(), nothing_new, NOW + since) - NOW - since for since in (0, 10_000, 86_400_000)]
    assert pauses == [500, 5_000, 60_000]


def test_clients_see_no_time_of_an_attempt_that_will_not_be() -> None:
    found = shown_delivery(row(status="failed", next_attempt_at=NOW, delivered_at=None))
    assert found == {"id": "callback-r-0-complete", "event": "complete", "status": "failed", "attempts": 1}
    assert shown_delivery(row(status="new"))["status"] == "pending"
