"""Control nodes that decide at once: values in, outputs and the ways that are not taken out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.call import is_blob
from innkeeper.nodes.feeds import Outputs, feed_value
from innkeeper.nodes.number_text import number_text
from innkeeper.workflows.engine.scheduler import NOT_TAKEN
from innkeeper.workflows.plan import UNDEFINED, PlannedNode


@dataclass(frozen=True)
class NodeDecision:
    """What a control node gave: outputs, and outputs that will never come, with the reason."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    dead: tuple[str, ...] = ()
    reason: str = NOT_TAKEN


def is_true(value: Any) -> bool:
    """False: null, false, 0, empty text, list and object, and the words `false`, `no`, `off` and `0`.

    A value that is stored apart is large, so it is none of these.
    """
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "no", "off", "0")
    return bool(value)


def branch(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> NodeDecision:
    taken, other = ("true", "false") if is_true(inputs.get("condition")) else ("false", "true")
    return NodeDecision({taken: inputs.get("value")}, (other,))


def switch(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> NodeDecision:
    cases = config.get("cases") or []
    names = [*(f"case_{index}" for index in range(len(cases))), "default"]
    value = inputs.get("value")
    taken = next((index for index, case in enumerate(cases) if fits(value, case)), len(cases))
    return NodeDecision({names[taken]: value}, tuple(name for name in names if name != names[taken]))


def fits(value: Any, case: Any) -> bool:
    """Does a value fit a case: a plain value, or `{"operator", "value"}`?"""
    if not (isinstance(case, Mapping) and "operator" in case):
        return same(value, case)
    operator = case["operator"]
    test = OPERATORS.get(operator) if isinstance(operator, str) else None
    return test is not None and test(value, case.get("value"))


def same(value: Any, other: Any) -> bool:
    """Equal as JSON; a number, true or false and its text are equal too, as people type cases into text boxes."""
    if isinstance(value, str) != isinstance(other, str):
        text, found = (value, other) if isinstance(value, str) else (other, value)
        return _says(text, found)
    return bool(value == other and isinstance(value, bool) == isinstance(other, bool))


def _says(text: str, value: Any) -> bool:
    """Is a text what one would type for a value?"""
    if isinstance(value, bool):
        return text.strip().lower() == ("true" if value else "false")
    if isinstance(value, int | float):
        return text.strip() == number_text(value) or _number(text) == value
    return False


def _number(value: Any) -> float | None:
    """A number, also one that is written as text; None for everything else."""
    if isinstance(value, str) and ("_" in value or not value.strip()[-1:].isdigit()):
        return None
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Numbers by size, also those written as text; two other texts by the alphabet; nothing else."""

    def compare(value: Any, other: Any) -> bool:
        left, right = _number(value), _number(other)
        if left is not None and right is not None:
            return test(left, right)
        return isinstance(value, str) and isinstance(other, str) and test(value, other)

    return compare


def _contains(value: Any, other: Any) -> bool:
    """A text its part, a list its item, an object its field."""
    if isinstance(value, list):
        return any(same(item, other) for item in value)
    return isinstance(other, str) and isinstance(value, str | Mapping) and other in value


def _is_empty(value: Any) -> bool:
    """Nothing, text of nothing but blanks, an empty list or object; not 0 and not false."""
    return not value.strip() if isinstance(value, str) else value is None or value == [] or value == {}


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": same,
    "notEquals": lambda value, other: not same(value, other),
    "contains": _contains,
    "notContains": lambda value, other: not _contains(value, other),
    "startsWith": lambda value, other: isinstance(value, str) and isinstance(other, str) and value.startswith(other),
    "endsWith": lambda value, other: isinstance(value, str) and isinstance(other, str) and value.endswith(other),
    "greater": _compared(lambda value, other: value > other),
    "greaterOrEqual": _compared(lambda value, other: value >= other),
    "less": _compared(lambda value, other: value < other),
    "lessOrEqual": _compared(lambda value, other: value <= other),
    "empty": lambda value, other: _is_empty(value),
    "notEmpty": lambda value, other: not _is_empty(value),
    "true": lambda value, other: is_true(value),
    "false": lambda value, other: not is_true(value),
}


def unknown_operator(case: Any) -> bool:
    """Is a case a test that does not exist?"""
    if not (isinstance(case, Mapping) and "operator" in case):
        return False
    return not isinstance(case["operator"], str) or case["operator"] not in OPERATORS


def merge(node: PlannedNode, inputs: Mapping[str, Any], outputs: Outputs) -> NodeDecision:
    """The value of the first feed, in their order, that has given one; without feeds the first typed-in value."""
    for feed in (feed for slot in node.inputs.values() for feed in slot.feeds):
        value = feed_value(feed, outputs)
        items = value if feed.convert == "spread" and isinstance(value, list) else [value]
        if items and items[0] is not UNDEFINED:
            return NodeDecision({"value": items[0]})
    typed = inputs.get("values")
    return NodeDecision({"value": typed[0] if isinstance(typed, list) and typed else typed})


DECISIONS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], NodeDecision]] = {
    "core:Branch": branch,
    "core:Switch": switch,
}


def must_load(node: PlannedNode, inputs: Mapping[str, Any]) -> bool:
    """Does the decision read a value that is stored apart?"""
    return node.type == "core:Switch" and is_blob(inputs.get("value"))
