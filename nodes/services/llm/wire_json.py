"""JSON as model servers write it: with NaN, and with halves of UTF-16 pairs that a later piece may complete. Pure."""

from __future__ import annotations

import json
from typing import Any

import orjson

_MAX_DIGITS = 20


def parsed(text: str | bytes) -> Any:
    """The value of JSON text; halves of UTF-16 pairs stay as they are.

    Raises:
        ValueError: It is none, or nested too deeply.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text, parse_int=_integer)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def _integer(digits: str) -> int | float:
    # Longer ones are not converted exactly: that takes the square of their length.
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
