"""Answers to approvals: is this one acceptable? Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from temporalio.exceptions import ApplicationError

from innkeeper.nodes.definition import Input
from innkeeper.workflows.document.slot_values import is_number, value_complaint
from innkeeper.workflows.engine.workflow_context import Wait, WorkflowContext

MAX_COMMENT_CHARS = 10_000
ASKING = frozenset({"approval", "budget"})
"""Kinds of waits that somebody answers."""


def check(context: WorkflowContext, approval: str, answer: Any) -> None:
    """Raises ApplicationError: nothing waits under this id, it was answered already, or the answer is no fit."""
    wait = context.waits.get(approval)
    if wait is None or wait.kind not in ASKING:
        if approval in context.answered:
            raise _refusal("approval_answered", f"approval {approval!r} was answered already")
        raise _refusal("approval_not_found", f"nothing waits for an approval {approval!r}")
    if wait.answer is not None or _is_to_another(context, approval, answer):
        raise _refusal("approval_answered", f"approval {approval!r} was answered already")
    if not isinstance(answer, Mapping) or not isinstance(answer.get("approved"), bool):
        raise _refusal("invalid_answer", "an answer is an object with 'approved': true or false")
    if wait.kind == "budget" and answer["approved"] and not any(_is_raise(value) for value in _values(answer)):
        raise _refusal("invalid_answer", f"approval {approval!r}: 'values' must hold the new limit, over 0")
    for complaint in complaints(wait.form, answer, wait.present):
        raise _refusal("invalid_answer", f"approval {approval!r}: {complaint}")


def _is_to_another(context: WorkflowContext, approval: str, answer: Any) -> bool:
    """Does it answer what the node has asked in another attempt?"""
    _, asked = context.announcements.get(approval, ("", {}))
    if not isinstance(answer, Mapping) or "attempt" not in asked:
        return False
    return bool(answer.get("attempt", asked["attempt"]) != asked["attempt"])


def _values(answer: Mapping[str, Any]) -> list[Any]:
    values = answer.get("values")
    return list(values.values()) if isinstance(values, Mapping) else []


def _is_raise(value: Any) -> bool:
    return is_number(value) and bool(value > 0)


def complaints(form: list[dict[str, Any]], answer: Mapping[str, Any], present: Collection[str] = ()) -> list[str]:
    """What is wrong with an answer. `present`: fields that the data has a value for, and which may stay as they are."""
    values = answer.get("values")
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        return ["'values' must be an object of field to value"]
    comment = answer.get("comment")
    found = [] if comment is None or isinstance(comment, str) else ["'comment' must be a text"]
    fields = {str(item.get("key")): item for item in form}
    known = ", ".join(map(repr, fields)) or "none"
    found += [f"the form has no field {key!r}; fields are {known}" for key in values if key not in fields]
    for key, item in fields.items():
        if key in values and (wrong := value_complaint(values[key], _slot(item))):
            found.append(f"field {key!r} {wrong}")
        elif key not in values and (key in present or _default(item) is not None):
            continue
        elif item.get("required") and answer.get("approved") and values.get(key) is None:
            found.append(f"field {key!r} needs a value")
    return found


def _slot(item: Mapping[str, Any]) -> Input:
    categories = tuple(str(name) for name in item.get("matchCategories") or ())
    return Input(
        str(item.get("dataFlowType", "WILDCARD")), match_categories=categories, config=item.get("config") or {}
    )


def _default(item: Mapping[str, Any]) -> Any:
    return (item.get("config") or {}).get("default")


def fields_in(form: list[dict[str, Any]], data: Any) -> list[str]:
    """The fields of a form that the data has a value for; data that is no object is the field `data` itself."""
    fields = data if isinstance(data, Mapping) else {"data": data}
    return [key for item in form if fields.get(key := str(item.get("key"))) is not None]


def asks_for_data(form: list[dict[str, Any]]) -> bool:
    """Does it depend on the data what the form needs?"""
    return any(item.get("required") or _default(item) is not None for item in form)


def with_defaults(answer: Mapping[str, Any], wait: Wait) -> dict[str, Any]:
    """An approval with the defaults of the fields that neither it nor the data has a value for."""
    values = dict(answer.get("values") or {})
    if answer["approved"]:
        defaults = {str(item.get("key")): _default(item) for item in wait.form if _default(item) is not None}
        values = {**{key: value for key, value in defaults.items() if key not in wait.present}, **values}
    return {**answer, "values": values}


def normal(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an answer that count."""
    kept = {"approved": bool(answer["approved"]), "values": dict(answer.get("values") or {})}
    more = {key: str(answer[key])[:MAX_COMMENT_CHARS] for key in ("comment", "by") if answer.get(key)}
    return {**kept, **more}


def _refusal(code: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=code, non_retryable=True)
