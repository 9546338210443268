"""Nodes that wait: for a moment, for a person, for an event. Pure: how a wait begins, and what it gives in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from temporalio.exceptions import ApplicationError

from innkeeper.workflows.document.cases import OPERATORS, fits, unknown_operator
from innkeeper.workflows.document.times import MAX_WAIT_S, moment_of, seconds_of
from innkeeper.workflows.engine.control import NodeDecision
from innkeeper.workflows.engine.workflow_context import Wait

LOADED = frozenset({"seconds", "time", "filter"})
"""Inputs that the wait itself reads; what only passes through stays a reference."""
USER_VALUES = frozenset({"answer", "data"})
"""Outputs that hold what came from outside: an answer, the data of an event."""
APPROVAL = "core:Approval"
TIMED_OUT = "timed_out"
NOT_CHOSEN = "not_chosen"


def _invalid(path: str, message: str) -> ApplicationError:
    return ApplicationError(f"node {path!r}: {message}", type="invalid_input", non_retryable=True)


def _read(path: str, slot: str, read: Callable[[Any], float], value: Any) -> float:
    try:
        return read(value)
    except ValueError as wrong:
        raise _invalid(path, f"{slot!r} {wrong}") from None


def _deadline(path: str, config: Mapping[str, Any], now: float) -> float | None:
    """`timeoutSeconds`: nothing or 0 waits for ever."""
    value = config.get("timeoutSeconds")
    seconds = _read(path, "timeoutSeconds", seconds_of, value) if value not in (None, "") else 0.0
    return now + seconds if seconds > 0 else None


def _delay(path: str, inputs: Mapping[str, Any], config: Mapping[str, Any], now: float) -> Wait:
    return Wait(path, "delay", now + _read(path, "seconds", seconds_of, inputs.get("seconds", 0)))


def _until(path: str, inputs: Mapping[str, Any], config: Mapping[str, Any], now: float) -> Wait:
    moment = _read(path, "time", moment_of, inputs.get("time"))
    if moment > now + MAX_WAIT_S:
        raise _invalid(path, "'time' is more than ten years away")
    return Wait(path, "until", max(moment, now))


def _approval(path: str, inputs: Mapping[str, Any], config: Mapping[str, Any], now: float) -> Wait:
    return Wait(path, "approval", _deadline(path, config, now), form=list(config.get("form") or []))


def _event(path: str, inputs: Mapping[str, Any], config: Mapping[str, Any], now: float) -> Wait:
    wanted = inputs.get("filter", config.get("filter")) or {}
    if not isinstance(wanted, Mapping):
        raise _invalid(path, "'filter' must be an object of field to value")
    if any(unknown_operator(case) for case in wanted.values()):
        raise _invalid(path, f"'filter' has an unknown operator; operators are {', '.join(OPERATORS)}")
    return Wait(path, "event", _deadline(path, config, now), name=str(config.get("name") or ""), filter=dict(wanted))


Begin = Callable[[str, Mapping[str, Any], Mapping[str, Any], float], Wait]
BEGIN: dict[str, Begin] = {
    "core:Delay": _delay,
    "core:WaitUntil": _until,
    APPROVAL: _approval,
    "core:WaitForEvent": _event,
}
"""Node type to how its wait begins: path, inputs, config, now in seconds since 1970."""


def stored(wait: Wait) -> dict[str, Any]:
    return asdict(wait)


def announcement(wait: Wait, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event that announces a wait to users: type and payload."""
    until = None if wait.deadline is None else datetime.fromtimestamp(wait.deadline, UTC).isoformat()
    base: dict[str, Any] = {"kind": wait.kind, "until": until}
    if wait.kind != "approval":
        return "NODE_WAITING", {**base, **({"name": wait.name} if wait.name else {})}
    return "APPROVAL_REQUIRED", {**base, "approvalId": wait.path, "form": wait.form, "data": inputs.get("data")}


def matches(wait: Wait, name: str, data: Any) -> bool:
    """Is an event the one a node waits for? Every field of its filter must fit the event's field of that name."""
    if wait.kind != "event" or wait.name != name or wait.answer is not None:
        return False
    fields = data if isinstance(data, Mapping) else {}
    return all(key in fields and fits(fields[key], case) for key, case in wait.filter.items())


def receive_event(wait: Wait, name: str, data: Any) -> bool:
    """End a wait by the event that it waits for; another event changes nothing."""
    fit = matches(wait, name, data)
    if fit:
        wait.answer = {"data": data}
    return fit


def decide(wait: Wait, inputs: Mapping[str, Any]) -> NodeDecision:
    """What a node gives when its wait is over, by an answer or by time. `data` has the user's edits already."""
    if wait.kind in ("delay", "until"):
        return NodeDecision({"value": inputs.get("value")})
    if wait.kind == "event":
        if wait.answer is None:
            return NodeDecision({"timeout": True}, ("data",), TIMED_OUT)
        return NodeDecision({"data": wait.answer.get("data")}, ("timeout",), NOT_CHOSEN)
    return _approval_decision(wait, inputs.get("data"))


def was_answered(kind: str, entry: Mapping[str, Any]) -> bool:
    """Is this entry of the node table that of an approval which somebody has answered?"""
    return kind == APPROVAL and "answer" in (entry.get("output") or ())


def _approval_decision(wait: Wait, data: Any) -> NodeDecision:
    if wait.answer is None:
        return NodeDecision({"timeout": data}, ("approved", "rejected", "answer"), TIMED_OUT)
    chosen, other = ("approved", "rejected") if wait.answer["approved"] else ("rejected", "approved")
    return NodeDecision({chosen: data, "answer": wait.answer}, (other, "timeout"), NOT_CHOSEN)
