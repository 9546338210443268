"""The reference page of node types: every slot, setting and mode, with an example of each type.

Like the page of one type it is made of the JSON of `GET /api/nodes`, so it may hold the types of plugins too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.gateway.cli.live_view import clean
from innkeeper.gateway.cli.markdown import code, paragraph, table
from innkeeper.gateway.cli.node_page import (
    JsonObject,
    bound_words,
    choices_of,
    default_text,
    duty_words,
    example_of,
    type_words,
)
from innkeeper.workflows.document.pretty import pretty

MAX_DEFAULT_CHARS = 200
CATEGORIES = {
    "Control": ("Control flow", "流程控制"),
    "Group": ("Groups", "节点组"),
    "LLM": ("Language models", "大语言模型"),
    "Loaders": ("Loaders", "加载器"),
    "Processors": ("Processors", "处理器"),
    "TEST-LLM": ("Language models at an address in the graph", "大语言模型（地址写在图中）"),
    "实用工具": ("Utilities", "实用工具"),
    "数学": ("Mathematics", "数学"),
    "文件": ("Files", "文件"),
}
"""Category of a built-in node type to its name in English and Chinese; `category` itself goes over the wire."""

_HEAD = """# Node reference

Every node type that is built in, with slots, settings and an example to copy. This page is the output of
`innkeeper nodes --markdown --offline`; with `--plugins FOLDER` it has the types of your plugins too.

| word | means |
|---|---|
| input | a slot; its value is typed into `inputValues`, or an edge brings it |
| setting | typed into `configValues`; no edge can feed it |
| required | without a value the workflow is refused, unless an edge feeds the slot |
| secret | stored encrypted; travels as a reference |
| `$error` | an output that every node has besides: what went wrong, for a node that handles it |

Slots that depend on a node's settings are told by its description. What is behind control flow and
`core:ContextBuilder`: [nodes.md](nodes.md). How a document is written: [workflow-format.md](workflow-format.md).
"""
_PLACES = {
    "inline": "runs inline, in one activity with its neighbours",
    "workflow": "is run by the workflow itself, and survives whatever dies",
}


def reference_page(nodes: Iterable[JsonObject]) -> str:
    """The whole page, by category and type. Texts of plugins cannot command the terminal it is printed to."""
    by_category: dict[str, list[JsonObject]] = {}
    for node in sorted(nodes, key=lambda node: (_category_of(node), str(node["fullType"]))):
        by_category.setdefault(" · ".join(filter(None, _category_of(node))), []).append(node)
    index = _index(node for found in by_category.values() for node in found)
    sections = ("\n".join((f"## {title}\n", *map(node_section, found))) for title, found in by_category.items())
    return clean("\n".join((_HEAD, index, *sections)))


def node_section(node: JsonObject) -> str:
    """One node type, under a heading of its own."""
    blocks = [f"### {node['fullType']}\n", paragraph(str(node.get("description") or ""))]
    facts = "; ".join(_facts(node))
    blocks += [paragraph(f"It {facts}.")] if facts else []
    has_modes = bool(node.get("modes"))
    blocks += [] if has_modes else [_slots("input", node.get("inputs") or {}, kind="input")]
    blocks += [_slots("setting", _settings(node), kind="input")]
    blocks += [_modes(node) if has_modes else _slots("output", node.get("outputs") or {}, kind="output")]
    blocks += [f"<!-- example: {example_name(node)} -->\n```json\n{pretty(example_of(node))}```\n"]
    return clean("\n".join(block for block in blocks if block))


def example_name(node: JsonObject) -> str:
    """Names a type's example among all examples of the documentation: small letters and hyphens."""
    return "node-" + re.sub(r"[^a-z]+", "-", str(node["fullType"]).lower()).strip("-")


def _category_of(node: JsonObject) -> tuple[str, str]:
    """Its name in English, and in Chinese where there is one."""
    category = str(node.get("category") or "")
    return CATEGORIES.get(category, (category, ""))


def _index(nodes: Iterable[JsonObject]) -> str:
    rows = []
    for node in nodes:
        full_type = str(node["fullType"])
        anchor = re.sub(r"[^\w\- ]", "", full_type.lower())
        chinese = (node.get("displayNames") or {}).get("zh", "")
        rows.append((f"[{full_type}](#{anchor})", str(node.get("displayName") or ""), chinese, _category_of(node)[0]))
    return table(("type", "English", "中文", "category"), rows)


def _facts(node: JsonObject) -> Iterator[str]:
    """What somebody must know before they use it, as ends of a sentence that begins with "It"."""
    if place := _PLACES.get(str(node.get("placement"))):
        yield place
    if node.get("isPreviewUnsafe"):
        yield "does not run in previews"
    if node.get("deterministic"):
        yield "gives again what it gave for the same inputs (result cache)"
    behaviour = node.get("bypassBehavior")
    if behaviour == "mute":
        yield "gives nothing when bypassed"
    elif isinstance(behaviour, Mapping) and (ways := _bypass_words(behaviour)):
        yield f"gives {ways} when bypassed"


def _bypass_words(behaviour: JsonObject) -> str:
    passed = (behaviour.get("passThrough") or {}).items()
    ways = [f"its {code(source)} as {'every output' if output == '*' else code(output)}" for output, source in passed]
    ways += [f"{code(_inline(value))} as {code(key)}" for key, value in (behaviour.get("defaults") or {}).items()]
    return " and ".join(ways)


def _slots(title: str, slots: Mapping[str, JsonObject], *, kind: str) -> str:
    if kind == "output":
        rows = [(code(key), ", ".join(type_words(slot)), _meaning(slot)) for key, slot in slots.items()]
        return table((title, "type", "meaning"), rows)
    typed = [(code(key), _type(slot), _duty(slot), _allowed(slot), _meaning(slot)) for key, slot in slots.items()]
    return table((title, "type", "value", "allowed", "meaning"), typed)


def _type(slot: JsonObject) -> str:
    return ", ".join((*type_words(slot), *(["secret"] if slot.get("secret") else [])))


def _duty(slot: JsonObject) -> str:
    default = default_text(slot, MAX_DEFAULT_CHARS)
    if default is not None:
        return f"default {code(default)}"
    return "".join(duty_words(slot, kind="input", max_chars=MAX_DEFAULT_CHARS))


def _allowed(slot: JsonObject) -> str:
    labels = {str(item["value"]): str(item.get("label") or "") for item in _offered(slot)}
    choices = [_labelled(choice, labels.get(choice, "")) for choice in choices_of(slot)]
    only = "ComboOption" in (slot.get("matchCategories") or ())
    offered = f"{'one of' if only else 'such as'} {', '.join(choices)}" if choices else ""
    return "; ".join(filter(None, (", ".join(bound_words(slot)), offered)))


def _labelled(choice: str, label: str) -> str:
    """A choice, with what it means where its value is no English."""
    return code(choice) if choice.isascii() or label in ("", choice) else f"{code(choice)} ({label})"


def _offered(slot: JsonObject) -> list[JsonObject]:
    offered = (slot.get("config") or {}).get("suggestions") or ()
    return [item for item in offered if isinstance(item, Mapping)]


def _settings(node: JsonObject) -> dict[str, JsonObject]:
    """The settings; the one that chooses a mode without its choices, which have a table of their own."""
    settings = dict(node.get("configSchema") or {})
    if (key := node.get("modeConfigKey")) in settings:
        config = {name: value for name, value in settings[key].get("config", {}).items() if name != "suggestions"}
        settings[key] = {**settings[key], "config": config, "description": "The mode: one of those below."}
    return settings


def _meaning(slot: JsonObject) -> str:
    return str(slot.get("description") or slot.get("displayName") or "")


def _modes(node: JsonObject) -> str:
    """The modes, those with the same slots in one row."""
    names = _choice_names(node)
    alike: dict[str, list[JsonObject]] = {}
    for mode in (node.get("modes") or {}).values():
        slots = (mode.get("inputs"), mode.get("configSchema"), mode.get("outputs"))
        alike.setdefault(json.dumps(slots, sort_keys=True), []).append(mode)
    rows = []
    for group in alike.values():
        modes = ", ".join(f"{code(mode['id'])}{names.get(mode['id'], '')}" for mode in group)
        inputs = {**(group[0].get("inputs") or {}), **(group[0].get("configSchema") or {})}
        rows.append((modes, _mode_slots(inputs, "input"), _mode_slots(group[0].get("outputs") or {}, "output")))
    return table((code(str(node.get("modeConfigKey"))), "inputs", "outputs"), rows)


def _mode_slots(slots: Mapping[str, JsonObject], kind: str) -> str:
    told = []
    for key, slot in slots.items():
        words = [*type_words(slot), *duty_words(slot, kind=kind, max_chars=MAX_DEFAULT_CHARS), *bound_words(slot)]
        told.append(f"{code(key)} {', '.join(words)}")
    return "; ".join(told)


def _choice_names(node: JsonObject) -> dict[str, str]:
    """Chinese names of the modes, in brackets, where the setting that chooses them has some."""
    setting = (node.get("configSchema") or {}).get(node.get("modeConfigKey")) or {}
    named = [item for item in _offered(setting) if (item.get("labels") or {}).get("zh")]
    return {str(item["value"]): f" ({item['labels']['zh']})" for item in named}


def _inline(value: Any) -> str:
    return value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)
