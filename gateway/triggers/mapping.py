"""What a payload means to a trigger: inputs of the workflow, whether it passes the filter, and its keys. Pure.

A payload is a JSON object; which keys it has depends on the kind of the trigger:

| kind | keys |
|---|---|
| webhook | `body`, `headers`, `query` |
| schedule | `schedule` |
| event | `data`, `event` |
| file | `file` |
| run | `run` |
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from innkeeper.gateway.triggers.expressions import MAX_WORK, Budget, ExpressionError, compile_expression
from innkeeper.gateway.triggers.model import KeyExpression, Kind, Source, Trigger
from innkeeper.nodes.call import is_secret_id, secret_reference

Payload = Mapping[str, Any]

WHOLE: Mapping[Kind, str] = {
    "webhook": "body",
    "schedule": "schedule",
    "event": "data",
    "file": "file",
    "run": "run",
}
"""The key of what an input with `body: true` gets."""
MAX_DELIVERY_WORK = 5 * MAX_WORK
"""Units for all expressions of one delivery, about 50 ms: a mapping of 200 inputs must not hold the event loop."""
MAX_KEY_CHARS = 200


@dataclass(frozen=True)
class InputProblem:
    """Why an input has no value. `input` is its key."""

    input: str
    reason: str


@dataclass(frozen=True)
class MappedInputs:
    """Interface inputs, which may share parts with the payload, and what went wrong with others.

    An input whose expression finds nothing, and that has no default in the trigger, is left out: the interface's own
    default counts, or the input is missing.
    """

    values: Mapping[str, Any]
    problems: tuple[InputProblem, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the trigger's expressions say of a delivery.

    Attributes:
        passes: The filter's answer.
        dedupe_key: Deliveries with the same one are the same; None: this one is like no other.
        refusal: Why an expression gives no answer that can be used; the other attributes then say nothing.
    """

    passes: bool = True
    dedupe_key: str | None = None
    concurrency_key: str = ""
    debounce_key: str = ""
    rate_key: str = ""
    refusal: str | None = None


def whole_of(kind: Kind, payload: Payload) -> Any:
    return payload.get(WHOLE[kind])


def map_inputs(trigger: Trigger, payload: Payload) -> MappedInputs:
    """The inputs that the workflow starts with. Never raises for any JSON."""
    budget = Budget(MAX_DELIVERY_WORK)
    values: dict[str, Any] = dict(trigger.inputs)
    problems: list[InputProblem] = []
    for key, source in trigger.mapping.items():
        try:
            found = _value_of(source, trigger.kind, payload, budget)
        except ExpressionError as error:
            problems.append(InputProblem(key, error.message))
            values.pop(key, None)  # a default would hide that the mapping is broken
            continue
        if "literal" not in source.model_fields_set and _names_secret(found):
            problems.append(InputProblem(key, "what came names a stored secret; only its owner may, as a literal"))
            values.pop(key, None)
        elif found is not None or "literal" in source.model_fields_set:
            values[key] = found
    return MappedInputs(values, tuple(problems))


def _names_secret(value: Any) -> bool:
    """Does what came hold a reference to a stored secret? In an input that takes one, its sender would spend it."""
    if value is None or isinstance(value, bool | int | float):
        return False
    with contextlib.suppress(TypeError):  # what is no JSON is looked through piece by piece, which takes longer
        if b"$secret" not in orjson.dumps(value):
            return False
    stack = [value]
    while stack:
        item = stack.pop()
        if is_secret_id(secret_reference(item)):
            return True
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return False


def _value_of(source: Source, kind: Kind, payload: Payload, budget: Budget) -> Any:
    if source.expression is not None:
        return compile_expression(source.expression).evaluate(payload, budget)
    return whole_of(kind, payload) if source.body else source.literal


def read_delivery(trigger: Trigger, payload: Payload, delivery_id: str | None) -> Reading:
    """Ask the filter and the key expressions. Never raises for any JSON.

    Args:
        delivery_id: Of the sender; the same when it sends a delivery again. None where it gives none.
    """
    asked = _Asked(payload)
    passes = asked.passes(trigger.filter)
    if asked.refusal is None and not passes:
        return Reading(passes=False)  # keys of what does not fire are not asked for
    reading = Reading(
        dedupe_key=asked.dedupe_key(trigger, delivery_id),
        concurrency_key=asked.key("concurrency.key", trigger.concurrency.key),
        debounce_key=asked.key("debounce.key", trigger.debounce.key if trigger.debounce else None),
        rate_key=asked.key("rate.key", trigger.rate.key if trigger.rate else None),
    )
    return reading if asked.refusal is None else Reading(refusal=asked.refusal)


class _Asked:
    """One payload and the expressions that are applied to it. `refusal` is the first that went wrong."""

    def __init__(self, payload: Payload) -> None:
        self.refusal: str | None = None
        self._payload = payload
        self._budget = Budget(MAX_DELIVERY_WORK)

    def passes(self, expression: str | None) -> bool:
        """Exactly true passes. To JMESPath 0 is true, and a misspelt key is null, which counts as false."""
        if expression is None:
            return True
        found = self._find("filter", expression)
        if self.refusal is None and not isinstance(found, bool):
            self.refusal = f"the filter gave {_kind(found)}; it must give true or false"
        return found is True

    def key(self, place: str, expression: str | None) -> str:
        found = None if expression is None else self._find(place, expression)
        return "" if found is None else _key_text(found)

    def dedupe_key(self, trigger: Trigger, delivery_id: str | None) -> str | None:
        """The two kinds of keys never meet, so that a changed trigger does not take one for the other."""
        if isinstance(trigger.dedupe, KeyExpression):
            found = self._find("dedupe", trigger.dedupe.expression)
            return None if found is None else f"key:{_key_text(found)}"
        # Without an id every delivery is a new one. A key from the body would swallow pings, which are all alike.
        return f"id:{_bounded(delivery_id)}" if trigger.dedupe == "id" and delivery_id else None

    def _find(self, place: str, expression: str) -> Any:
        if self.refusal is not None:
            return None
        try:
            return compile_expression(expression).evaluate(self._payload, self._budget)
        except ExpressionError as error:
            self.refusal = f"{place!r} cannot be applied: {error.message}"
            return None


def _kind(value: Any) -> str:
    kinds = {type(None): "null", str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")


def _key_text(value: Any) -> str:
    """A key as text: the number 1 and the text "1" differ, the order of an object's keys does not count."""
    return _bounded(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def _bounded(text: str) -> str:
    if len(text) <= MAX_KEY_CHARS:
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
