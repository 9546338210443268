"""Find the JSON in the text of an answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import json_repair

from innkeeper.nodes.json_values import InvalidJson, NotJsonData, mended, read_json

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


def strict_values(text: str) -> Iterator[Any]:
    """The values of what is JSON as it stands: all of the text, what is fenced in it, the outermost braces."""
    seen: set[str] = set()
    for part in _parts(text):
        if part in seen:
            continue
        seen.add(part)
        try:
            yield read_json(part)
        except InvalidJson:
            continue


def repaired_value(text: str) -> Any:
    """The value of JSON with mistakes that models make; None when there is nothing to repair."""
    part = list(_parts(text))[-1]
    if "{" not in part:
        return None  # of prose it would make an empty text, or a list of words
    try:
        # It also takes NaN, and nested lists as deep as Python goes.
        return _without_nothing(mended(json_repair.loads(part, skip_json_loads=True), max_depth=100))
    except (RecursionError, NotJsonData, ValueError):
        return None


def _without_nothing(value: Any) -> Any:
    return None if value == "" else value


def _parts(text: str) -> Iterator[str]:
    """Where JSON may stand, the most likely last."""
    text = _THINKING.sub("", text, count=1).lstrip("\ufeff")
    yield text.strip()
    fenced = _FENCED.search(text)
    if fenced:
        yield fenced[1].strip()
    inner = fenced[1] if fenced else text
    start, end = inner.find("{"), inner.rfind("}")
    if start >= 0:
        yield inner[start : end + 1 if end > start else len(inner)]
