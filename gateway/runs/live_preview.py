"""Submissions of ComfyTavern's editor that only show what a change would do.

It marks them in the metadata of the payload, names no earlier run, and sends inputs as it holds them itself: the whole
slot instead of its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.gateway.runs.view import JsonObject


def is_live_preview(body: Mapping[str, object]) -> bool:
    """Did the editor mark this submission as a preview?"""
    metadata = body.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get("isPreviewRun") is True


def is_preview(body: Mapping[str, object]) -> bool:
    """Is this a preview, however it says so?"""
    return body.get("preview") is True or is_live_preview(body)


def with_plain_inputs(body: JsonObject) -> JsonObject:
    """The submission with values where its nodes have whole slots. A slot without a value counts as not given."""
    nodes = body.get("nodes")
    if not isinstance(nodes, list):
        return body
    return {**body, "nodes": [_with_plain_inputs(node) for node in nodes]}


def _with_plain_inputs(node: Any) -> Any:
    if not isinstance(node, Mapping) or not isinstance(inputs := node.get("inputs"), Mapping):
        return node
    values = {
        key: item["value"] if _is_slot(item) else item
        for key, item in inputs.items()
        if not _is_slot(item) or "value" in item
    }
    return {**node, "inputs": values}


def _is_slot(item: object) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("dataFlowType"), str)
