"""Differences of workflows as lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.text import Text

from innkeeper.gateway.cli.live_view import clean
from innkeeper.workflows.document.diff import Difference, Kind

MAX_SHOWN = 100
"""Characters of a value."""
_SIGNS: dict[Kind, tuple[str, str]] = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_SAID_ONCE: tuple[Kind, ...] = ("added", "removed")
_PARTS = {"nodes": "node", "edges": "edge", "inputs": "input", "outputs": "output"}


def difference_lines(found: Iterable[Difference], *, values: bool = True) -> Iterator[Text]:
    """A line for each part that differs, and one for each of its values; without `values` only for its place."""
    for item in found:
        sign, style = _SIGNS[item.kind]
        yield Text(clean(f"{sign} {item.what} {item.name}".rstrip()), style)
        for path, pair in item.changes.items():
            yield Text(clean(f"    {path}: {_short(pair[0])} -> {_short(pair[1])}" if values else f"    {path}"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def differences_of(answer: Mapping[str, Any]) -> Iterator[Difference]:
    """What `GET /api/workflows/{id}/diff` tells, one by one."""
    for key, what in _PARTS.items():
        part = answer.get(key) or {}
        for kind in _SAID_ONCE:
            yield from (Difference(kind, what, str(name), {}) for name in part.get(kind) or ())
        for item in part.get("changed") or ():
            yield Difference("changed", what, str(item["id"]), _pairs(item["changes"]))
    if changes := answer.get("document"):
        yield Difference("changed", "document", "", _pairs(changes))


def _pairs(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {path: (values.get("from"), values.get("to")) for path, values in changes.items()}
