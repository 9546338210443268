"""The setting by which a node with many operations is told which one."""

from __future__ import annotations

from collections.abc import Iterable

from innkeeper.nodes.definition import Input

OPERATION_KEY = "operationMode"


def operation_setting(default: str, operations: Iterable[tuple[str, str, str]]) -> Input:
    """`operations`: id, English and Chinese label of each."""
    suggestions = tuple({"value": key, "label": label, "labels": {"zh": zh}} for key, label, zh in operations)
    return Input(
        "STRING",
        display_name="Operation",
        required=True,
        match_categories=("ComboOption",),
        config={"default": default, "searchable": True, "suggestions": suggestions},
    )
