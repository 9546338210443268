"""Workflow documents as text for people and version control: short things on a line, long ones broken."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 120
FLAT_WIDTH = 160
"""Of an object of plain values, such as an edge: it is one fact, and stays on one line."""
INDENT = 2


def pretty(document: Any) -> str:
    """A document as text, with the keys in their order; always the same for the same document."""
    return f"{_text(document, 0, 0)}\n"


def _text(value: Any, indent: int, used: int) -> str:
    """`used`: columns that stand before it and behind it on its line."""
    flat = json.dumps(value, ensure_ascii=False)
    is_plain = isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())
    is_long = used + len(flat) > (FLAT_WIDTH if is_plain else WIDTH)
    # The outermost levels are broken in any case: a change of one node is one line of a diff.
    if not isinstance(value, dict | list) or not value or not (is_long or indent == 0):
        return flat
    inner = indent + INDENT
    if isinstance(value, dict):
        names = {key: json.dumps(key, ensure_ascii=False) for key in value}
        items = [f"{name}: {_text(value[key], inner, inner + len(name) + 3)}" for key, name in names.items()]
    else:
        items = [_text(item, inner, inner + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = ",\n".join(" " * inner + item for item in items)
    return f"{opening}\n{lines}\n{' ' * indent}{closing}"
