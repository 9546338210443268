"""One node type as the command line shows it: slots, types, defaults, bounds, and an example to copy.

Made of the JSON of `GET /api/nodes`, so that a running gateway's own node types look the same as those installed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from innkeeper.gateway.cli.live_view import clean

JsonObject = Mapping[str, Any]


def find_node(nodes: Iterable[JsonObject], name: str) -> JsonObject | None:
    """A node type by `namespace:Type`, or by the bare type where one plugin alone has it. Case does not count."""
    found = [node for node in nodes if name.lower() in (str(node["fullType"]).lower(), str(node["type"]).lower())]
    return found[0] if len(found) == 1 else next((node for node in found if node["fullType"] == name), None)


def unknown_node(nodes: Iterable[JsonObject], name: str) -> str:
    """A sentence about a name that is no node type, or the bare type of several."""
    known = [str(node["fullType"]) for node in nodes]
    same = [full for full in known if full.rpartition(":")[2].lower() == name.lower()]
    by_lower = {form.lower(): full for full in known for form in (full, full.rpartition(":")[2])}
    near = same or list(dict.fromkeys(by_lower[item] for item in get_close_matches(name.lower(), by_lower, n=3)))
    hint = f"did you mean {', '.join(near)}?" if near else "'innkeeper nodes' lists them"
    return f"there is no node type {name!r} here; {hint}"


def node_page(node: JsonObject) -> RenderableType:
    """Everything about a node type."""
    head = Text(clean(node["fullType"]), "bold") + Text(f"  {clean(node.get('displayName') or '')}")
    blocks = [head, Text(clean(node.get("description") or ""))]
    blocks += _slots("Inputs", node.get("inputs") or {}, kind="input")
    blocks += _slots("Settings", node.get("configSchema") or {}, kind="input")
    blocks += _slots("Outputs", node.get("outputs") or {}, kind="output")
    for mode in (node.get("modes") or {}).values():
        of_mode = f"{node.get('modeConfigKey')} = {mode['id']}"
        blocks += _slots(f"Inputs with {of_mode}", mode.get("inputs") or {}, kind="input")
        blocks += _slots(f"Outputs with {of_mode}", mode.get("outputs") or {}, kind="output")
    blocks += [Text("\nExample", "bold"), Text(json.dumps(example_of(node), ensure_ascii=False, indent=2))]
    return Group(*blocks)


def _slots(title: str, slots: Mapping[str, JsonObject], *, kind: str) -> list[Text]:
    if not slots:
        return []
    lines = [Text(f"\n{title}", "bold")]
    for key, slot in slots.items():
        lines.append(Text(f"  {clean(key)}", "cyan") + Text(f"  {', '.join(slot_words(slot, kind=kind))}", "dim"))
        if words := slot.get("description") or slot.get("displayName"):
            lines.append(Text(f"    {clean(words)}"))
    return lines


def slot_words(slot: JsonObject, *, kind: str) -> list[str]:
    """Type, duty, default and bounds of a slot, each in a word or two."""
    choices = choices_of(slot)
    words = [*type_words(slot), *duty_words(slot, kind=kind, max_chars=40), *bound_words(slot)]
    words += [f"such as {', '.join(choices[:6])}"] if choices else []
    return words + (["secret"] if slot.get("secret") else [])


def type_words(slot: JsonObject) -> list[str]:
    """Its type, and whether it is a stream or takes several edges."""
    words = [str(slot.get("dataFlowType", "")).lower()]
    words += ["stream"] if slot.get("isStream") else []
    return words + (["takes several edges"] if slot.get("multi") else [])


def duty_words(slot: JsonObject, *, kind: str, max_chars: int) -> list[str]:
    """The default of an input, cut to `max_chars`, or that it must have a value; empty for an output."""
    required = slot.get("required")
    if kind != "input":
        return []
    if (default := default_text(slot, max_chars)) is not None:
        return [f"default {default}"]
    if not required:
        return []
    return ["required" if required is True else f"required when {_short(required.get('when'), max_chars)}"]


def default_text(slot: JsonObject, max_chars: int) -> str | None:
    """The default of a slot as JSON, cut to `max_chars`; None without one."""
    config = slot.get("config") or {}
    return _short(config["default"], max_chars) if "default" in config else None


def bound_words(slot: JsonObject) -> list[str]:
    """Its smallest and its greatest value, where there are such."""
    config = slot.get("config") or {}
    return [f"{name} {config[name]}" for name in ("min", "max") if config.get(name) is not None]


def choices_of(slot: JsonObject) -> list[str]:
    """The values that editors offer."""
    offered = (slot.get("config") or {}).get("suggestions") or ()
    return [str(item.get("value") if isinstance(item, Mapping) else item) for item in offered]


def _short(value: Any, max_chars: int) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def example_of(node: JsonObject) -> dict[str, Any]:
    """The node as it may stand in a workflow: required inputs with a value to change."""
    inputs = {key: _value_of(slot) for key, slot in (node.get("inputs") or {}).items() if _is_typed(slot)}
    config = {
        key: _value_of(slot) for key, slot in (node.get("configSchema") or {}).items() if slot.get("required") is True
    }
    return {
        "id": _FIRST_WORD.sub(lambda found: found[0].lower(), str(node["type"]), count=1),
        "type": node["fullType"],
        **({"inputValues": inputs} if inputs else {}),
        **({"configValues": config} if config else {}),
    }


def _is_typed(slot: JsonObject) -> bool:
    """May somebody type a value into it, and does it show what the node does?"""
    has_default = (slot.get("config") or {}).get("default") not in (None, "", [], {})
    plain = slot.get("dataFlowType") in _EMPTY and not slot.get("multi") and not slot.get("secret")
    return plain and not slot.get("isStream") and (slot.get("required") is True or has_default)


_FIRST_WORD = re.compile(r"^[A-Z]+(?=[A-Z][a-z])|^[A-Z]")
_VALUE = re.compile(r"://|^\d")
"""Placeholders that are values: paths of files and moments. Others are words to people."""
_EMPTY: dict[str, Any] = {"STRING": "...", "INTEGER": 1, "FLOAT": 1.0, "BOOLEAN": True}


def _value_of(slot: JsonObject) -> Any:
    config = slot.get("config") or {}
    if config.get("default") not in (None, ""):
        return config["default"]
    placeholder = str(config.get("placeholder"))
    return placeholder if _VALUE.search(placeholder) else _EMPTY.get(str(slot.get("dataFlowType")))
