"""Small questions about JSON values that many readers ask, and JSON as a browser writes it. Pure."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number. True and false are none, though Python counts them as 1 and 0.

    Example:
        >>> [is_number(value) for value in (0, 1.5, 10**400, True, float("nan"), "1")]
        [True, True, True, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Not `math.isfinite` for both: it cannot take an integer of more than 308 digits.
    return isinstance(value, int) or math.isfinite(value)


def text_or_empty(value: Any) -> str:
    """The text itself, and no text in place of everything else."""
    return value if isinstance(value, str) else ""


def texts_of(value: Any) -> tuple[str, ...]:
    """The texts in a list, without its other items; nothing when it is no list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def dump_json(value: Any, *, allow_nan: bool = True) -> str:
    """Write JSON as compactly as a browser does, other scripts unescaped.

    Raises:
        TypeError: It holds what JSON has not.
        ValueError: It holds itself, or, with `allow_nan` false, a number that JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)
