"""Which values are true, are equal, and fit a case of a switch or a filter. Pure; no value makes it raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from innkeeper.nodes.number_text import number_text


def is_true(value: Any) -> bool:
    """False: null, false, 0, empty text, list and object, and the words `false`, `no`, `off` and `0`.

    A value that is stored apart is large, so it is none of these.
    """
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "no", "off", "0")
    return bool(value)


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
        return _is_written(text, found)
    return bool(value == other and isinstance(value, bool) == isinstance(other, bool))


def _is_written(text: str, value: Any) -> bool:
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
