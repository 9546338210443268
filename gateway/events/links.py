"""Where the whole of a value can be had that events and results show in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote


def with_links(outputs: Mapping[str, Any], run: str, path: str) -> dict[str, Any]:
    """Outputs as clients see them: each blob reference says where its whole value can be had."""
    if not any(isinstance(value, Mapping) for value in outputs.values()):  # of most nodes: no address need be made
        return dict(outputs)
    base = f"/api/prompt/{quote(run, safe='')}/outputs/{quote(path)}/"
    return {slot: linked(value, base + quote(slot, safe="")) for slot, value in outputs.items()}


def approval_data_url(run: str, path: str) -> str:
    """Where the whole of what is to be approved can be had: it is an input, so no output has it."""
    return f"/api/prompt/{quote(run, safe='')}/approvals/{quote(path)}/data"


def without_links(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs as the worker sent them."""
    return {slot: linked(value, None) for slot, value in outputs.items()}


def linked(value: Any, url: str | None) -> Any:
    """A value with the address of its reference, or of that of its text (a stream's); without any for None."""
    if _is_blob(value):
        bare = {key: item for key, item in value.items() if key != "url"}
        return bare if url is None else {**bare, "url": url}
    if isinstance(value, Mapping) and "chunks" in value and _is_blob(value.get("text")):
        return {**value, "text": linked(value["text"], url)}
    return value


def _is_blob(value: Any) -> bool:
    return isinstance(value, Mapping) and "$blob" in value
