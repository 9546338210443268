"""Numbers as graphs made in a browser have them: how values become numbers, and how numbers are written."""

from __future__ import annotations

import math
import re
from typing import Any

from innkeeper.nodes.errors import NodeInputError

_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RADIX = re.compile(r"0(?:[xX](?P<x>[0-9a-fA-F]+)|[oO](?P<o>[0-7]+)|[bB](?P<b>[01]+))")
_BASES = {"x": 16, "o": 8, "b": 2}
_INFINITY = {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}
_EXACT = 2.0**53


def trim(text: str) -> str:
    """Cut white space off both ends, by JavaScript's idea of white space."""
    return text.strip(_SPACE)


def to_number(value: Any) -> float:
    """The number JavaScript's `Number` makes of a JSON value; NaN for what is none.

    Nothing, false and blank text are 0, true is 1, a list of one element counts as that element.

    Example:
        >>> [to_number(value) for value in (" 3 ", "0x10", True, None, [5], "1_000")]
        [3.0, 16.0, 1.0, 0.0, 5.0, nan]
    """
    in_list = False
    while isinstance(value, list | tuple):
        if len(value) != 1:
            # A list is read by its text, and the comma between two elements makes that no number.
            return math.nan if value else 0.0
        value, in_list = value[0], True
    if isinstance(value, bool) and in_list:
        return math.nan
    if value is None or isinstance(value, int | float):
        return _as_float(value or 0)
    return _parse_number(value) if isinstance(value, str) else math.nan


def number_in(value: Any, slot: str) -> float:
    """`to_number` for an input slot.

    Raises:
        NodeInputError: The value is no number. Names the slot.
    """
    number = to_number(value)
    if math.isnan(number):
        raise NodeInputError(f"{slot!r} is not a number, found {_kind(value)}; connect or type a number")
    return number


def shortest(number: float) -> int | float:
    """A whole number without its decimal point, as browsers write it; beyond 2^53 the float stays."""
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _as_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _parse_number(text: str) -> float:
    text = trim(text)
    if not text:
        return 0.0
    if text in _INFINITY:
        return _INFINITY[text]
    if _DECIMAL.fullmatch(text):
        return float(text)
    found = _RADIX.fullmatch(text)
    if found is None or found.lastgroup is None:
        return math.nan
    return _as_float(int(found[found.lastgroup], _BASES[found.lastgroup]))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else "NaN"
