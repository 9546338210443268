"""Markdown for the reference pages that the code writes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120
_BAR = "\\|"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, each row on a line of its own; empty without rows."""
    lines = [_row(cells) for cells in rows]
    return "\n".join((_row(head), "|---" * len(head) + "|", *lines)) + "\n" if lines else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', _BAR) for cell in cells)} |"


def paragraph(text: str) -> str:
    """Text broken into lines of at most `WIDTH` characters; code between backticks stays on one line."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def code(text: str) -> str:
    """Text as inline code, also when it has backticks."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
