"""Numbers as JavaScript reads and writes them: variables count the way their authors have seen them count."""

from __future__ import annotations

import math
import re

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


def number_text(number: float) -> str:
    """A number as text: shortest digits, `8` without a point, exponents from 1e21 and below 1e-6."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    return sign + _positive_text(abs(number))


def _positive_text(number: float) -> str:
    mantissa, _, exponent = f"{number!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + part).lstrip("0")
    point -= len(whole + part) - len(digits)
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        return _plain(digits, point)
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _plain(digits: str, point: int) -> str:
    if len(digits) <= point:
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def storable(number: float) -> int | float | str:
    """A number as JSON can keep it: whole ones as int; NaN and infinity, which JSON has not, as text."""
    if not math.isfinite(number):
        return number_text(number)
    return int(number) if number.is_integer() and abs(number) <= _MAX_SAFE else number
