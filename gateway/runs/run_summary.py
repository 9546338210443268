"""A run as lists show it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.events.fence import INTERRUPTING
from innkeeper.gateway.moments import iso
from innkeeper.gateway.runs.stuck_runs import Stuck
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, json_of, lineage

MAX_WAITS = 10
"""Kinds of waits, and names of events, that are listed of one run."""


def shown_status(row: RunRow, activity: Activity | None) -> str:
    """The status as clients see it: beside the stored ones `interrupting`, `paused`, and `waiting` while nodes wait
    and none works."""
    if row.status in ENDED:
        return row.status
    if row.interrupt_requested:
        return INTERRUPTING
    if row.paused:
        return "paused"
    return "waiting" if row.status == "running" and activity is not None and activity.only_waits else row.status


def safe_summary(row: RunRow, activity: Activity | None = None, stuck: Stuck | None = None) -> JsonObject:
    """A run in lists. A row that is damaged is no reason not to show the others: it shows its id."""
    try:
        return _summary(row, activity, stuck)
    except (TypeError, ValueError, OverflowError, OSError, AttributeError):
        return {"promptId": str(row.id), "status": str(row.status), "submittedAt": iso(0)}


def _summary(row: RunRow, activity: Activity | None = None, stuck: Stuck | None = None) -> JsonObject:
    """A run in lists (PromptInfo)."""
    info: JsonObject = {
        "promptId": row.id,
        "status": shown_status(row, activity),
        "openApprovals": (activity.approvals or None) if activity and row.status not in ENDED else None,
        "stuck": stuck.to_json(iso) if stuck is not None and row.status not in ENDED else None,
        "workflowId": row.workflow_id,
        "workflowName": row.workflow_name,
        **lineage(row),
        "submittedAt": iso(row.submitted_at),
        "startedAt": iso(row.started_at) if row.started_at else None,
    }
    if row.ended_at is not None:
        info["completedAt"] = iso(row.ended_at)
        info["durationMs"] = row.ended_at - (row.started_at or row.submitted_at)
    return {key: value for key, value in info.items() if value is not None}


def list_item(
    row: RunRow, activity: Activity | None = None, stuck: Stuck | None = None, cost: Mapping[str, Any] | None = None
) -> JsonObject:
    """A run in the list of all runs, and in RUN_UPDATE: the summary, and why it waits or failed."""
    is_open = row.status not in ENDED
    waits = waits_of(activity) if activity is not None and is_open else []
    return {
        **safe_summary(row, activity, stuck),
        "openApprovals": activity.approvals if activity is not None and is_open else 0,
        **({"waiting": waits} if waits else {}),
        **({"errorInfo": error} if (error := json_of(row.error)) and not is_open else {}),
        **(cost or {}),
    }


def waits_of(activity: Activity) -> list[JsonObject]:
    """What the nodes of a run wait for: kinds, most nodes first, with the first node of each."""
    first: dict[tuple[str, str], str] = {}
    for path, wait in activity.waiting.items():
        first.setdefault(wait, path)
    return [
        {"kind": kind, "nodes": count, "nodeId": first[kind, name], **({"name": name} if name else {})}
        for (kind, name), count in Counter(activity.waiting.values()).most_common(MAX_WAITS)
    ]
