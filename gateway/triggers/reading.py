"""Reading the definition of a trigger from outside: every problem at once, each with its path."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from innkeeper.gateway.triggers.model import KINDS, Trigger
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.json_values import MAX_DEPTH, NotJsonData, encode_json

MAX_BYTES = 256 * 1024
MAX_PROBLEMS = 100
MAX_SHOWN_CHARS = 80
_UNSHOWN = ("expression", "filter", "literal", "inputs", "config", "labels", "callback")
"""What stands here is the user's own content."""
_BRANCHES = frozenset({"[key]", "#number", "#span", "#word", "#key"})
"""What pydantic adds to the place in the JSON."""
_IN_JSON = {
    "a valid boolean": "true or false",
    "a valid string": "a text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid array": "a list",
    "a valid tuple": "a list",
    "a valid dictionary": "an object",
    "True": "true",
    "Tuple": "List",
}
_JSON_KINDS = {dict: "an object", list: "a list", type(None): "null"}


@dataclass(frozen=True)
class TriggerProblem:
    """One thing wrong. `path` as in `mapping.title.expression` or `schedule.calendar[0].hour`; "" is the trigger."""

    path: str
    message: str

    def to_json(self) -> dict[str, str]:
        return {"path": self.path, "message": self.message}


class InvalidTrigger(InnkeeperError):
    """The definition of a trigger is wrong. `details` holds `{"problems": [{"path", "message"}]}`."""

    code = "invalid_trigger"

    def __init__(self, problems: Sequence[TriggerProblem]) -> None:
        self.problems = tuple(problems)[:MAX_PROBLEMS]
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__(
            f"the trigger has {count} {noun}; first: {self.problems[0].message}",
            details={"problems": [problem.to_json() for problem in self.problems]},
        )


def read_trigger(raw: Any) -> Trigger:
    """The checked definition.

    Args:
        raw: A JSON value, from whomever.

    Raises:
        InvalidTrigger: With all its problems.
    """
    try:
        data = encode_json(raw, max_depth=MAX_DEPTH).data
    except NotJsonData as error:
        raise InvalidTrigger([TriggerProblem("", f"the trigger {error}")]) from None
    if len(data) > MAX_BYTES:
        message = f"the trigger has {len(data)} bytes; at most {MAX_BYTES} are allowed"
        raise InvalidTrigger([TriggerProblem("", message)])
    # What pydantic cannot say beside the problems of single fields is looked for in the raw value.
    problems = _problems_of_parts(orjson.loads(data))
    try:
        trigger = Trigger.model_validate_json(data)
    except ValidationError as error:
        found = [_told(detail) for detail in error.errors(include_url=False)]
        raise InvalidTrigger([*dict.fromkeys(found), *problems]) from None
    if problems:
        raise InvalidTrigger(problems)
    return trigger


def _problems_of_parts(raw: Any) -> list[TriggerProblem]:
    if not isinstance(raw, dict) or raw.get("kind") not in KINDS:
        return []
    kind = raw["kind"]
    problems = [
        TriggerProblem(other, f"{other!r} does not belong to a trigger of the kind {kind!r}")
        for other in KINDS
        if other != kind and raw.get(other) is not None
    ]
    part = raw.get(kind)
    if part is None:
        problems.append(TriggerProblem(kind, f"a trigger of the kind {kind!r} needs {kind!r}, which is missing"))
    if kind == "webhook" and isinstance(part, dict) and _is_open(raw, part):
        scheme = part.get("scheme")
        message = f"a webhook with the scheme {scheme!r} needs a secret before it is enabled; it has none"
        problems.append(TriggerProblem("enabled", message))
    return problems


def _is_open(raw: Mapping[str, Any], webhook: Mapping[str, Any]) -> bool:
    """Would everybody's deliveries be taken, though the scheme has a secret?"""
    needs_secret = isinstance(webhook.get("scheme"), str) and webhook["scheme"] != "none"
    return needs_secret and raw.get("enabled", True) is True and not webhook.get("secretCount")


def _told(error: ErrorDetails) -> TriggerProblem:
    location = _location(error)
    path = _path(location)
    subject = f"'{path}'" if path else "the trigger"
    kind = error["type"]
    if kind == "missing":
        return TriggerProblem(path, f"{subject} is missing")
    if kind == "extra_forbidden":
        known = ", ".join(_keys_at(location[:-1]))
        return TriggerProblem(path, f"{subject} is not known here; known are {known}")
    if kind == "value_error":
        allowed = str(error["ctx"]["error"])
        if not allowed.startswith("must "):
            allowed = f"is wrong: {allowed}"
        return TriggerProblem(path, f"{subject} {allowed}{_found(error, location)}")
    return TriggerProblem(path, f"{subject} {_allowed(error['msg'])}{_found(error, location)}")


def _allowed(message: str) -> str:
    """The words of pydantic, without those of Python."""
    for of_python, of_json in _IN_JSON.items():
        message = message.replace(of_python, of_json)
    return re.sub(r"^\w+ should ", "must ", message)


def _location(error: ErrorDetails) -> tuple[str | int, ...]:
    return tuple(part for part in error["loc"] if part not in _BRANCHES)


def _path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{_short(part)}" if path else _short(part)
    return path


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def _found(error: ErrorDetails, location: Sequence[str | int]) -> str:
    value = error["input"]
    if any(part in _UNSHOWN for part in location):
        return ""
    if isinstance(value, str):
        return f", found {_short(value)!r}"
    if isinstance(value, bool | int | float):
        return f", found {_short(json.dumps(value))}"
    return f", found {_JSON_KINDS.get(type(value), 'something else')}"


def _keys_at(location: Sequence[str | int]) -> list[str]:
    """The keys of the part that stands at a place."""
    model: type[BaseModel] = Trigger
    for part in location:
        model = _model_in(model, part) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(model: type[BaseModel], key: str | int) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            return _first_model(field.annotation)
    return None


def _first_model(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `dict[str, Source]` or `Part | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (getattr(annotation, "__value__", None), *getattr(annotation, "__args__", ()))
    return next((found for item in inner if item is not None for found in [_first_model(item)] if found), None)
