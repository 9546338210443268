"""Numbers as JavaScript reads and writes them: variables count the way their authors have seen them count."""

from __future__ import annotations

import math
import re

from innkeeper.nodes.number_text import number_text

_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_INFINITY = re.compile(r"[+-]?Infinity\Z")
_BASED = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)\Z")
_BASES = {"x": 16, "o": 8, "b": 2}
_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_MAX_SAFE = 2**53


def trim(text: str) -> str:
    """Without the white space that JavaScript counts as such, at both ends."""
    return text.strip(_SPACE)


def to_number(text: str) -> float | None:
    """The number a text stands for: '' is 0, `0x1F` and `1e3` are numbers. None when it is none."""
    text = trim(text)
    if not text:
        return 0.0
    if _DECIMAL.match(text):
        return float(text)
    if _INFINITY.match(text):
        return -math.inf if text[0] == "-" else math.inf
    if _BASED.match(text):
        return _based(text)
    return None


def _based(text: str) -> float:
    try:
        return float(int(text[2:], _BASES[text[1].lower()]))
    except OverflowError:
        return math.inf


def storable(number: float) -> int | float | str:
    """A number as JSON can keep it: whole ones as int; NaN and infinity, which JSON has not, as text."""
    if not math.isfinite(number):
        return number_text(number)
    return int(number) if number.is_integer() and abs(number) <= _MAX_SAFE else number
