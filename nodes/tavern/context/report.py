"""What went into a prompt and why, as JSON for people and for nodes behind."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.tavern.documents import CodedWarning
from innkeeper.nodes.tavern.presets import Preset
from innkeeper.nodes.tavern.prompts.assembly import Assembly, Cut
from innkeeper.nodes.tavern.prompts.message import Message
from innkeeper.nodes.tavern.world_info import Activation

MAX_INACTIVE = 1_000
"""World info entries told of that did not fire; a book of thousands would drown the rest."""
MAX_CUT = 1_000


def full_report(
    preset: Preset,
    assembly: Assembly,
    active: Activation,
    *,
    counter: str,
    scripts: list[dict[str, Any]],
    post_processing: str,
    warnings: list[str],
) -> dict[str, Any]:
    """The report of an assembled context. Token counts are of the messages before post-processing.

    The history and examples are cut to fit; what was left out is told under `cut`, the oldest messages first.
    """
    cut_note = [_cut_note(assembly)] if assembly.cut else []
    return {
        "mode": "assembled",
        "messages": [_message_entry(message) for message in assembly.messages],
        "cut": [_cut(item) for item in assembly.cut[:MAX_CUT]],
        "tokens": {
            "counter": counter,
            "used": assembly.used,
            "available": assembly.available,
            "maxContext": preset.max_context,
            "maxTokens": preset.max_tokens,
        },
        "worldInfo": _world_info(active),
        "regex": scripts,
        "postProcessing": post_processing,
        "parameters": dict(preset.parameters),
        "warnings": [*warnings, *cut_note],
    }


def _message_entry(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"source": message.source, "role": message.role, "tokens": message.tokens}
    if message.name:
        told["name"] = message.name
    if message.index is not None:
        told["historyIndex" if message.source == "chatHistory" else "index"] = message.index
    return told


def _cut(cut: Cut) -> dict[str, Any]:
    told: dict[str, Any] = {"source": cut.source, "role": cut.role}
    if cut.index is not None:
        told["historyIndex" if cut.source == "chatHistory" else "index"] = cut.index
    return told


def _cut_note(assembly: Assembly) -> CodedWarning:
    told = f"{len(assembly.cut)} messages or example blocks did not fit into {assembly.available} tokens"
    return CodedWarning("context_cut", f"{told}; raise 'maxContext' if the model can take more")


def _world_info(active: Activation) -> dict[str, Any]:
    fired = [entry for entry in active.report if entry.active]
    others = [entry for entry in active.report if not entry.active]
    return {
        "entries": [entry.to_json() for entry in (*fired, *others[:MAX_INACTIVE])],
        "omitted": max(0, len(others) - MAX_INACTIVE),
        "budget": active.budget,
        "budgetUsed": active.budget_used,
        "overflowed": active.overflowed,
    }
