"""The three old rules: system prompt, history, the preset's user prompt. No macros, no world book, no budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.tavern.cards import normalise
from innkeeper.nodes.tavern.context.chat import is_message, parsed, read_chat
from innkeeper.nodes.tavern.documents import CodedWarning
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.file_kinds import CARD, PRESET, file_kind, is_chat_preset
from innkeeper.nodes.tavern.history.carried import without_carried

Json = Mapping[str, Any]
FURTHER = (
    "worldBookData",
    "userName",
    "persona",
    "authorsNote",
    "regexScripts",
    "chatState",
    "variables",
    "settings",
    "maxContext",
)
"""Inputs that the old rules know nothing of."""
_PLAIN_CARD = frozenset({"name", "description", "system_prompt"})


def is_plain(inputs: Json) -> bool:
    """Do the old rules hold?

    They do for a preset without prompts, and, when there is none, for what they were made for: a history and a flat
    card that has nothing but a name, a description and a system prompt. Whoever gives more gets the whole assembly.
    """
    preset = inputs.get("presetData")
    if isinstance(preset, Mapping) and preset:
        is_refused = file_kind(preset) not in (None, PRESET) and not isinstance(preset.get("user_prompt"), str)
        return not is_chat_preset(preset) and not is_refused
    return not any(inputs.get(key) for key in FURTHER) and _is_plain_card(inputs.get("characterData"))


def _is_plain_card(card: Any) -> bool:
    if not isinstance(card, Mapping):
        return True
    if file_kind(card) not in (None, CARD):
        return False
    return not any(value for key, value in card.items() if key not in _PLAIN_CARD)


def build_plain(inputs: Json) -> dict[str, Any]:
    """Messages by the old rules, with a report that says what they left out."""
    warnings: list[str] = []
    sources: list[tuple[str, int | None]] = []
    messages: list[dict[str, Any]] = []
    system = _system_prompt(inputs.get("characterData"))
    if system is not None:
        messages.append({"role": "system", "content": system})
        sources.append(("characterData", None))
    history = _history(inputs.get("historyMessages"), warnings)
    messages += history
    sources += [("chatHistory", index) for index in range(len(history))]
    preset = inputs.get("presetData")
    user_prompt = preset.get("user_prompt") if isinstance(preset, Mapping) else None
    if isinstance(user_prompt, str):
        messages.append({"role": "user", "content": user_prompt})
        sources.append(("user_prompt", None))
    warnings += _unused(inputs)
    told = [
        {"source": source, "role": message.get("role"), **({} if index is None else {"historyIndex": index})}
        for (source, index), message in zip(sources, messages, strict=True)
    ]
    return {
        "finalMessages": messages,
        "report": {"mode": "plain", "messages": told, "warnings": warnings},
        "chatState": dict(inputs.get("chatState") or {}) if isinstance(inputs.get("chatState"), Mapping) else {},
    }


def _system_prompt(card: Any) -> str | None:
    """The flat card's system prompt, even an empty one, else its description; of a wrapped card what is not empty."""
    if not isinstance(card, Mapping):
        return None
    if isinstance(card.get("system_prompt"), str):
        return str(card["system_prompt"])
    if isinstance(card.get("data"), Mapping):
        whole = normalise(card)
        return whole.system_prompt or whole.description or None
    description = card.get("description")
    return description if isinstance(description, str) and description else None


def _history(value: Any, warnings: list[str]) -> list[dict[str, Any]]:
    """Messages as they are given; other forms of chats become messages; what cannot be one is left out, told."""
    try:
        items = parsed(value)
        if isinstance(items, list) and all(is_message(item) for item in items):
            return [without_carried(item) for item in items]
        log = read_chat(items, warnings)
    except FormatError as error:
        warnings.append(CodedWarning("history_not_used", f"the history is not used: {error.message}"))
        return []
    shown = (message for message in log.messages if not message.is_system)
    return [{"role": message.role, "content": message.prompt_text.replace("\r", "")} for message in shown]


def _unused(inputs: Json) -> list[str]:
    unused = [key for key in FURTHER if inputs.get(key) and key != "chatState"]
    if not unused:
        return []
    names = ", ".join(map(repr, unused))
    told = "the preset has no 'prompts', so only its 'user_prompt', the card's system prompt and the history are used"
    hint = "give a preset with 'prompts', or set 'mode' to 'assemble' in 'settings'"
    return [CodedWarning("inputs_not_used", f"{told}, not {names}; {hint}")]
