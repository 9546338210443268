"""Agnai's own card: its fields under the names of V2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.json_values import texts_of
from innkeeper.nodes.tavern.documents import CodedWarning

_NAMES = {
    "name": "name",
    "scenario": "scenario",
    "greeting": "first_mes",
    "sampleChat": "mes_example",
    "description": "creator_notes",
    "systemPrompt": "system_prompt",
    "postHistoryInstructions": "post_history_instructions",
    "alternateGreetings": "alternate_greetings",
    "characterBook": "character_book",
    "characterVersion": "character_version",
    "creator": "creator",
    "tags": "tags",
    "extensions": "extensions",
}
_IGNORED = frozenset(
    {"_id", "userId", "kind", "persona", "insert", "avatar", "createdAt", "updatedAt", "deletedAt", "favorite"}
    | {"folder", "visualType", "parent"}
)
"""Fields that are read elsewhere, or are about Agnai's own screen and storage."""


def is_agnai(raw: Mapping[str, Any]) -> bool:
    """Agnai describes a character by attributes of several kinds, no other program does."""
    persona = raw.get("persona")
    return raw.get("spec") is None and isinstance(persona, Mapping) and isinstance(persona.get("attributes"), Mapping)


def agnai_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Agnai card. Its `description` is for people; the model gets the persona."""
    fields = {name: raw[key] for key, name in _NAMES.items() if key in raw}
    insert = raw.get("insert")
    if isinstance(insert, Mapping) and insert.get("prompt"):
        given = fields.get("extensions")
        note = {"prompt": insert["prompt"], "depth": insert.get("depth"), "role": "system"}
        fields["extensions"] = {**(given if isinstance(given, Mapping) else {}), "depth_prompt": note}
    return {**fields, "description": _description(raw["persona"]["attributes"])}


def agnai_warnings(raw: Mapping[str, Any]) -> list[str]:
    """What of an Agnai card is not used."""
    unused = sorted(key for key, value in raw.items() if value and key not in _NAMES and key not in _IGNORED)
    if not unused:
        return []
    return [CodedWarning("fields_not_used", f"these fields of the Agnai card are not used: {', '.join(unused)}")]


def _description(attributes: Mapping[str, Any]) -> str:
    """Plain text as it is; each attribute with its values on a line of its own."""
    lines = []
    for name, values in attributes.items():
        if line := ", ".join(texts_of(values if isinstance(values, list) else [values])):
            lines.append(line if name == "text" else f"{name}: {line}")
    return "\n".join(lines)
