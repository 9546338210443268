"""Which values a slot takes, of a setting or of a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from innkeeper.nodes.call import secret_reference
from innkeeper.nodes.definition import Input
from innkeeper.workflows.document.json_reader import kind, quoted_names

_TYPE_TESTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "STRING": ("text", lambda value: isinstance(value, str)),
    "INTEGER": ("a whole number", lambda value: is_number(value) and float(value).is_integer()),
    "FLOAT": ("a number", lambda value: is_number(value)),
    "BOOLEAN": ("true or false", lambda value: isinstance(value, bool)),
    "OBJECT": ("an object", lambda value: isinstance(value, Mapping)),
    "ARRAY": ("a list", lambda value: isinstance(value, list | tuple)),
}


_CHECKED_LITERALS = frozenset({"INTEGER", "FLOAT", "BOOLEAN"})
"""For other types nodes take more than the type says: numbers as text, JSON as a text for a list or an object."""
_HOLLOW = frozenset({"BehaviorWildcard", "BehaviorConvertible"})


def is_number(value: Any) -> bool:
    """Numbers as JSON knows them: a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_complaint(value: Any, slot: Input) -> str:
    """What is wrong with a setting's value; "" when nothing is. Null counts as not set."""
    if value is None or (slot.secret and isinstance(value, Mapping)):
        return ""
    return _type_complaint(value, slot) or range_complaint(value, slot)


def range_complaint(value: Any, slot: Input) -> str:
    """What is wrong with a value of the right type: out of its slot's bounds, or none of the values to choose from."""
    if _is_sealed(value, slot):
        return ""
    low, high = slot.config.get("min"), slot.config.get("max")
    if is_number(value) and ((low is not None and value < low) or (high is not None and value > high)):
        return f"must be from {_bound(low)} to {_bound(high)}"
    options = suggested(slot)
    if "ComboOption" in slot.match_categories and options and value not in options:
        return f"must be one of {quoted_names([str(option) for option in options])}"
    return ""


def literal_complaint(value: Any, slot: Input) -> str:
    """What is wrong with a value typed into a slot; "" when nothing is.

    A text that is a number counts as one, true and false count as 1 and 0, as in recorded runs of ComfyTavern, and an
    empty text is a field that somebody has emptied. The range of a value is for the node to check: a slot's bounds are
    for those who draw it.
    """
    is_open = slot.is_stream or not _HOLLOW.isdisjoint(slot.match_categories)
    if is_open or slot.data_flow_type not in _CHECKED_LITERALS:
        return ""
    items = value if slot.multi and isinstance(value, list | tuple) else [value]
    complaints = (_type_complaint(_number_of(item, slot), slot) for item in items if item not in (None, ""))
    return next(filter(None, complaints), "")


def _number_of(value: Any, slot: Input) -> Any:
    if not isinstance(value, str | bool) or slot.data_flow_type == "BOOLEAN":
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if isfinite(number) else value


def _is_sealed(value: Any, slot: Input) -> bool:
    """A reference tells nothing of the value behind it."""
    return slot.secret and secret_reference(value) is not None


def _type_complaint(value: Any, slot: Input) -> str:
    if _is_sealed(value, slot):
        return ""
    expected, fits = _TYPE_TESTS.get(slot.data_flow_type, ("", None))
    return f"must be {expected}, found {kind(value)}" if fits is not None and not fits(value) else ""


def _bound(value: Any) -> str:
    return "any" if value is None else str(value)


def suggested(slot: Input) -> list[Any]:
    """The values of a slot's suggestions; an entry is `{value, label}` or a bare value."""
    entries = slot.config.get("suggestions") or ()
    return [entry.get("value") if isinstance(entry, Mapping) else entry for entry in entries]
