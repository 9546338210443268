"""Rules that graphs made in a browser rely on: typed escapes, numbers and truth as JavaScript has them."""

from __future__ import annotations

import math
import re
from typing import Any

from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.number_text import number_text

_ESCAPE = re.compile(r"""\\([ntr"'\\])""")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def parse_escapes(text: str) -> str:
    r"""Turn `\n`, `\t`, `\r`, `\"`, `\'` and `\\` typed as two characters into what they mean; others stay.

    Example:
        >>> parse_escapes(r"a\nb\\nc\q")
        'a\nb\\nc\\q'
    """
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)


def to_text(value: Any) -> str:
    """Write any JSON value as text: nothing for null, numbers as JavaScript does, lists and objects as JSON.

    Example:
        >>> [to_text(value) for value in (None, True, 1.0, 1e-7, [1, "a"])]
        ['', 'true', '1', '1e-7', '[1,"a"]']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    return dump_json(value)


def is_truthy(value: Any) -> bool:
    """Whether JavaScript counts a value as true: empty lists and objects do, as does the text "false".

    Example:
        >>> [is_truthy(value) for value in ("false", [], 0, "", None)]
        [True, True, False, False, False]
    """
    if isinstance(value, float) and math.isnan(value):
        return False
    return True if isinstance(value, list | dict) else bool(value)
