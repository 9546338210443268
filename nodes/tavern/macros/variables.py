"""Variables: read, set, added to, counted up and down; lists and records kept in them as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.number_text import number_text
from innkeeper.nodes.tavern.macros.environment import MacroLimit, Variables
from innkeeper.nodes.tavern.macros.numbers import storable, to_number, trim

_MAX_LIST = 10_000


def value_text(value: Any) -> str:
    """A value as it is inserted into text: numbers and records as JavaScript writes them, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(_float(value))
    text = dump(value)
    return dump(load(text)) if text else ""


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _stored_number(text: str) -> int | float | str:
    number = to_number(text)
    return text if number is None else storable(number)


def load(text: str) -> Any:
    """JSON as JavaScript reads it. Raises ValueError when it is none."""
    try:
        return json.loads(text, parse_int=_stored_number, parse_float=_stored_number, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def dump(value: Any) -> str:
    """JSON as JavaScript writes it: no spaces, letters as they are."""
    try:
        return dump_json(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return ""


def is_false(text: str) -> bool:
    """Whether a condition counts as false: '', `false`, `off` or `0`."""
    return text.lower() in ("", "false", "off", "0")


def get(variables: Mapping[str, Any], name: str) -> str:
    """Text of a variable, '' when there is none. A text that is a number comes as JavaScript writes it."""
    return _as_number(value_text(variables.get(name)))


def _as_number(text: str) -> str:
    number = to_number(text) if trim(text) else None
    return text if number is None else number_text(number)


def has(variables: Mapping[str, Any], name: str) -> bool:
    return name in variables


def add(variables: Variables, name: str, value: str | int) -> str:
    """Add to a variable and return what it is then: numbers add up, text appends, a list gets one more item."""
    current = get(variables, name)
    items = _list(current)
    if items is not None:
        variables[name] = dump([*items, value])
        return str(variables[name])
    number, increment = to_number(current), to_number(str(value))
    if number is None or increment is None:
        # a zero counts as nothing where text follows
        variables[name] = ("" if current == "0" else current) + str(value)
        return str(variables[name])
    variables[name] = storable(number + increment)
    return number_text(number + increment)


def _list(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        value = load(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def subtract(variables: Variables, name: str, value: str) -> None:
    """Add the opposite of a number, to a text also (`x` becomes `x-1`); nothing happens when it is no number."""
    decrement = to_number(value) if trim(value) else None
    if decrement is not None:
        add(variables, name, number_text(-decrement))


def get_key(variables: Mapping[str, Any], name: str, key: str) -> str:
    """One item of a list or record; the whole variable when it is neither."""
    text = value_text(variables.get(name))
    try:
        value = load(text)
    except ValueError:
        return _as_number(text)
    return _as_number(_item_text(value, key))


def _item_text(value: Any, key: str) -> str:
    index = _index(key)
    if isinstance(value, dict):
        name = key if index is None else str(index)
        return _text_or_null(value[name]) if name in value else ""
    if isinstance(value, list | str) and index is not None and 0 <= index < len(value):
        return _text_or_null(value[index])
    return ""


def _text_or_null(value: Any) -> str:
    return "null" if value is None else value_text(value)


def _index(key: str) -> int | None:
    number = to_number(key)
    return int(number) if number is not None and abs(number) < 2**31 and number == int(number) else None


def set_key(variables: Variables, name: str, key: str, value: str) -> None:
    """Set one item of a list or record; a missing variable becomes a list for a number, a record for a name.

    Nothing happens when the variable is other text.

    Raises:
        MacroLimit: The list would get longer than 10,000 items.
    """
    index = _index(key)
    try:
        items = load(value_text(variables[name])) if name in variables else ([] if index is not None else {})
    except ValueError:
        return
    if isinstance(items, dict):
        items[key if index is None else str(index)] = value
    elif isinstance(items, list) and index is not None and index >= 0:
        _put_item(items, index, value)
    else:
        return
    variables[name] = dump(items)


def _put_item(items: list[Any], index: int, value: str) -> None:
    if index >= _MAX_LIST:
        raise MacroLimit(f"a list in a variable has at most {_MAX_LIST} items; item {index} was asked for")
    items.extend([None] * (index + 1 - len(items)))
    items[index] = value


def compare(left: str, operator: str, right: str) -> bool:
    """`==` and `!=` compare texts; the others compare numbers and are false without two of them."""
    if operator in ("==", "!="):
        return (left == right) == (operator == "==")
    a, b = to_number(left), to_number(right)
    if a is None or b is None:
        return False
    return {">": a > b, "<": a < b, ">=": a >= b, "<=": a <= b}[operator]
