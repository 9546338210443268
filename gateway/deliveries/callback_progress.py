"""How far a message is: what Temporal says of it, when to look again, and what clients see. No I/O but decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from innkeeper.gateway.deliveries.callback_message import message_id, shown_event
from innkeeper.gateway.moments import iso
from innkeeper.gateway.store.callbacks import DELIVERED, FAILED, OPEN, PENDING, STOPPED, Progress
from innkeeper.gateway.store.models import CallbackRow
from innkeeper.workflows.engine.callback_workflow import MEMO

FIRST_CHECK_MS = 500
LAST_CHECK_MS = 60_000
"""A message of which nothing new is known is looked at ever more seldom: its worker may be away for hours."""
STATUSES = frozenset({PENDING, DELIVERED, FAILED, STOPPED})
_ENDED = "Temporal ended its workflow"


async def progress_of(row: CallbackRow, found: WorkflowExecutionDescription) -> Progress:
    """What Temporal says of a message."""
    told = (await found.memo()).get(MEMO)
    if not isinstance(told, Mapping) or told.get("status") not in STATUSES:
        return as_it_is(row) if found.status == WorkflowExecutionStatus.RUNNING else unknown(row, _ENDED)
    progress = Progress(
        status=str(told["status"]),
        attempts=int(told.get("attempts") or 0),
        last_status=told.get("last_status"),
        last_error=told.get("last_error"),
        next_attempt_at=_ms(told.get("next_attempt_at")),
        delivered_at=_ms(told.get("delivered_at")),
    )
    is_lost = progress.status == PENDING and found.status != WorkflowExecutionStatus.RUNNING
    return unknown(row, _ENDED) if is_lost else progress


def unknown(row: CallbackRow, reason: str) -> Progress:
    """Nobody knows whether it was delivered."""
    return Progress(FAILED, row.attempts, row.last_status, reason)


def as_it_is(row: CallbackRow) -> Progress:
    """What was known of it before."""
    return Progress(row.status, row.attempts, row.last_status, row.last_error, row.next_attempt_at, row.delivered_at)


def _ms(seconds: Any) -> int | None:
    return int(seconds * 1000) if isinstance(seconds, int | float) else None


def next_check(row: CallbackRow, progress: Progress, now: int) -> int:
    """When to look at a message again (milliseconds since 1970): soon after its next attempt, else ever more seldom."""
    if progress.next_attempt_at is not None and progress.next_attempt_at > now:
        return progress.next_attempt_at + FIRST_CHECK_MS
    since = now - (progress.next_attempt_at or row.created_at)
    return now + min(max(since // 2, FIRST_CHECK_MS), LAST_CHECK_MS)


def shown_delivery(row: CallbackRow) -> dict[str, Any]:
    """A message in the status of its run."""
    told = {
        "id": message_id(row.run, row.position, row.event),
        "event": shown_event(row.event),
        "nodeId": row.node,
        "status": PENDING if row.status in OPEN else row.status,
        "attempts": row.attempts,
        "lastStatus": row.last_status,
        "lastError": row.last_error,
        "nextAttemptAt": iso(row.next_attempt_at) if row.next_attempt_at and row.status == PENDING else None,
        "deliveredAt": iso(row.delivered_at) if row.delivered_at and row.status == DELIVERED else None,
    }
    return {key: value for key, value in told.items() if value is not None}
