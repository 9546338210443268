"""Nodes that must wait for long: their activity ends, the run waits in its place and then starts them anew. Pure.

Such a wait is state of the run, like that of a control node: it takes no slot of a worker and none of the activity's
time, and it outlives the history and every process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from innkeeper.nodes.call import BUDGET_REACHED, NODE_PARKED
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.document.times import MAX_WAIT_S
from innkeeper.workflows.engine.workflow_context import Wait
from innkeeper.workflows.plan import NodeId

PARKED = "parked"
BUDGET = "budget"
"""Kinds of `Wait`."""
SCOPES = ("run", "workflow", "user", "day")
MAX_DETAILS_BYTES = 4_000
"""Of an error, in the node table: a run may park many nodes."""
_FIELDS = {
    "tokens": {"key": "tokens", "displayName": "Tokens", "dataFlowType": "INTEGER", "config": {"min": 1}},
    "money": {"key": "money", "displayName": "Money", "dataFlowType": "FLOAT", "config": {"min": 0}},
}


@dataclass(frozen=True)
class Before:
    """What was before an activity of a node.

    Attributes:
        attempts: How many there were.
        fused: Those of them that were made in segments.
        counted: How they ended (`NodeCall.counted`).
        spent_s: How long the activities before it were under way together.
    """

    attempts: int = 0
    fused: int = 0
    counted: Mapping[str, Any] = field(default_factory=dict)
    spent_s: float = 0.0

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Before | None:
        """By the entry of a node that was parked; None of one that was not."""
        told = entry.get("parked")
        if told is None:
            return None
        return cls(told["attempts"], told["fused"], told["counted"], told["spentS"])


@dataclass(frozen=True)
class Parking:
    """Why a node waits now, and the event that says so.

    Attributes:
        entry: What the node's entry of the node table holds of it, beside `wait`.
    """

    wait: Wait
    event: str
    payload: dict[str, Any]
    entry: dict[str, Any]

    @classmethod
    def of(cls, path: str, error: BaseException, before: Before, *, spent_s: float, now: float) -> Parking | None:
        """The parking that an activity ended with; None: it has failed, or gives itself out for parked.

        Args:
            before: What was before that activity.
            spent_s: How long it was under way.
            now: Seconds since 1970.
        """
        cause = error.cause if isinstance(error, ActivityError) else None
        if not isinstance(cause, ApplicationError) or cause.type not in (NODE_PARKED, BUDGET_REACHED):
            return None
        begin = _asking if cause.type == BUDGET_REACHED else _resting
        try:
            details = cause.details[0]
            entry = {
                "attempts": int(details["attempt"]),
                "fused": before.fused,
                "counted": dict(details["parked"]["counted"]),
                "spentS": round(before.spent_s + spent_s, 3),
            }
            wait, event, payload = begin(path, cause.message, details, now)
        except (LookupError, TypeError, ValueError, ArithmeticError):  # the code of a plugin may raise what it likes
            return None
        return cls(wait, event, payload, {**entry, "event": [event, payload]})


def _resting(path: str, message: str, details: Mapping[str, Any], now: float) -> tuple[Wait, str, dict[str, Any]]:
    told = details["parked"]
    # By this clock: that of the worker may be another one.
    delay_s = float(told["delayS"])
    deadline = now + (min(max(delay_s, 0.0), MAX_WAIT_S) if math.isfinite(delay_s) else 0.0)
    moment = datetime.fromtimestamp(deadline, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    code, kind = str(told.get("code")), "retry" if told.get("kind") == "retry" else "wait"
    payload = {"attempt": details["attempt"], "code": code, "message": message, "retryAt": moment, "kind": kind}
    payload["parked"] = True
    found = details.get("details")
    if found and json_size(found) <= MAX_DETAILS_BYTES:
        payload["details"] = found
    if told.get("reason"):
        payload["reason"] = str(told["reason"])
    return Wait(path, PARKED, deadline), "NODE_RETRY", payload


def _asking(path: str, message: str, details: Mapping[str, Any], now: float) -> tuple[Wait, str, dict[str, Any]]:
    found = details.get("details")
    about: Mapping[str, Any] = found if isinstance(found, Mapping) and json_size(found) <= MAX_DETAILS_BYTES else {}
    limit, used = (dict(about[key]) if isinstance(about.get(key), Mapping) else {} for key in ("limit", "used"))
    form = [item for key, item in _FIELDS.items() if key in limit] or list(_FIELDS.values())
    payload = {
        **{"kind": BUDGET, "approvalId": path, "attempt": details["attempt"], "until": None, "form": form},
        **{
            "scope": scope if (scope := about.get("scope")) in SCOPES else "run",
            "limit": limit,
            "used": used,
            "message": message,
        },
    }
    if isinstance(needed := about.get("needed"), Mapping) and needed:
        payload["needed"] = dict(needed)
    return Wait(path, BUDGET, form=form), "BUDGET_REACHED", payload


def answered(asked: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event of an answer: type and payload. `asked`: the payload of the question.

    A node may run out of budget again and again: `attempt` says which of its questions it answers.
    """
    about = {key: asked[key] for key in ("approvalId", "attempt")}
    return "APPROVAL_ANSWERED", {**about, "answer": dict(answer)}


def is_stopped(wait: Wait) -> bool:
    """Did somebody say that no more may be spent?"""
    return wait.kind == BUDGET and wait.answer is not None and not wait.answer["approved"]


def stop_error(payload: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a node fails with that may not spend more. `payload`: of the event that asked."""
    by = f" by {answer['by']}" if answer.get("by") else ""
    details = {key: payload[key] for key in ("scope", "limit", "used", "needed") if key in payload}
    message = f"{payload['message']}; it was stopped{by}"
    return {"message": message, "code": BUDGET_REACHED, "retryable": False, "details": details}


def parked_nodes(table: Mapping[NodeId, Mapping[str, Any]]) -> frozenset[NodeId]:
    """The nodes of a table that were parked and have not gone on."""
    return frozenset(node for node, entry in table.items() if "parked" in entry and entry["status"] == "waiting")
