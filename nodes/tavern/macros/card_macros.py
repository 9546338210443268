"""Macros of names, card and chat."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields

from innkeeper.nodes.tavern.macros.definitions import Call, Macro
from innkeeper.nodes.tavern.macros.environment import CardFields, MacroEnvironment, MacroMessage

_START = re.compile("<START>", re.IGNORECASE)


def _value(read: Callable[[MacroEnvironment], object]) -> Macro:
    def run(call: Call) -> str:
        value = read(call.environment)
        return "" if value is None else str(value)

    return Macro(run)


def _card(name: str) -> Macro:
    return Macro(lambda call: call.resolver.field(name, getattr(call.environment.card, name)))


def _group_names(environment: MacroEnvironment) -> str:
    return ", ".join(environment.group) or environment.char


def _group_not_muted(environment: MacroEnvironment) -> str:
    return ", ".join(name for name in environment.group if name not in environment.group_muted) or environment.char


def _not_char(environment: MacroEnvironment) -> str:
    others = [name for name in environment.group if name not in (environment.char, environment.character)]
    return ", ".join([*others, environment.user])


def _greeting(call: Call) -> str | None:
    index = call.argument() or "0"
    if not re.fullmatch(r"-?\d{1,6}", index, re.ASCII):
        return None
    card = call.environment.card
    greetings = (card.first_mes, *card.alternate_greetings)
    return call.resolver.field("first_mes", greetings[int(index)]) if 0 <= int(index) < len(greetings) else ""


def normalise_examples(text: str) -> str:
    """Example dialogues with every block below a `<START>` line of its own; '' when there are none."""
    if not text or text == "<START>":
        return ""
    blocks = _START.split(text if text.startswith("<START>") else f"<START>\n{text.strip()}")[1:]
    return "".join(f"<START>\n{block.strip()}\n" for block in blocks)


def _examples(call: Call) -> str:
    return normalise_examples(call.resolver.field("mes_example", call.environment.card.mes_example))


def _last(environment: MacroEnvironment, fits: Callable[[MacroMessage], bool]) -> str:
    messages = reversed(environment.chat.messages)
    return next((message.text for message in messages if fits(message) and _is_written(message)), "")


def _last_user(environment: MacroEnvironment) -> str:
    return _last(environment, lambda message: message.is_user and not message.is_system)


def _last_char(environment: MacroEnvironment) -> str:
    return _last(environment, lambda message: not message.is_user and not message.is_system)


def _last_id(environment: MacroEnvironment) -> str:
    numbered = reversed([*enumerate(environment.chat.messages)])
    return next((str(index) for index, message in numbered if _is_written(message)), "")


def _range(environment: MacroEnvironment) -> str:
    count = len(environment.chat.messages)
    return f"0-{count - 1}" if count else ""


def _is_written(message: MacroMessage) -> bool:
    """Not an alternative that is being made now."""
    return not message.swipes or message.swipe < message.swipes


def _swipes(environment: MacroEnvironment) -> str:
    messages = environment.chat.messages
    return str(messages[-1].swipes) if messages and messages[-1].swipes else ""


def _swipe(environment: MacroEnvironment) -> str:
    messages = environment.chat.messages
    return str(messages[-1].swipe + 1) if messages and messages[-1].swipes else ""


def _max_prompt(environment: MacroEnvironment) -> int | None:
    if environment.max_prompt is None and environment.max_context is not None:
        return max(0, environment.max_context - (environment.max_response or 0))
    return environment.max_prompt


_CARD = {
    "description": ("description", "charDescription"),
    "personality": ("personality", "charPersonality"),
    "scenario": ("scenario", "charScenario"),
    "system_prompt": ("charPrompt", "systemPrompt"),
    "post_history_instructions": ("charInstruction",),
    "depth_prompt": ("charDepthPrompt",),
    "creator_notes": ("creatorNotes", "charCreatorNotes"),
    "character_version": ("charVersion", "version", "char_version"),
    "mes_example": ("mesExamplesRaw",),
}
assert set(_CARD) <= {field.name for field in fields(CardFields)}

APPLICATION = (
    "charAuthorsNote", "defaultAuthorsNote", "defaultSystemPrompt", "instructSystem", "instructSystemPrompt",
    "instructStoryStringPrefix", "instructStoryStringSuffix", "instructUserPrefix", "instructInput",
    "instructUserSuffix", "instructAssistantPrefix", "instructOutput", "instructAssistantSuffix",
    "instructSeparator", "instructSystemPrefix", "instructSystemSuffix", "instructFirstAssistantPrefix",
    "instructFirstOutputPrefix", "instructLastAssistantPrefix", "instructLastOutputPrefix", "instructStop",
    "instructUserFiller", "instructSystemInstructionPrefix", "instructFirstUserPrefix", "instructFirstInput",
    "instructLastUserPrefix", "instructLastInput", "exampleSeparator", "chatSeparator", "chatStart",
)  # fmt: skip
"""Macros of SillyTavern's own settings for text completion, which no workflow has: they stand for nothing."""

MACROS: dict[str, Macro] = {
    **{name: Macro(lambda _call: "") for name in APPLICATION},
    **{name: _card(field) for field, names in _CARD.items() for name in names},
    "user": _value(lambda environment: environment.user),
    "char": _value(lambda environment: environment.char),
    "group": _value(_group_names),
    "charIfNotGroup": _value(_group_names),
    "groupNotMuted": _value(_group_not_muted),
    "notChar": _value(_not_char),
    "persona": Macro(lambda call: call.resolver.field("persona", call.environment.persona)),
    "mesExamples": Macro(_examples),
    "charFirstMessage": Macro(_greeting, 0, 1),
    "greeting": Macro(_greeting, 0, 1),
    "authorsNote": _value(lambda environment: environment.authors_note),
    "model": _value(lambda environment: environment.model),
    "outlet": Macro(lambda call: call.environment.outlet(call.argument()), 1, 1),
    "lastMessage": _value(lambda environment: _last(environment, lambda _message: True)),
    "lastMessageId": _value(_last_id),
    "lastUserMessage": _value(_last_user),
    "lastCharMessage": _value(_last_char),
    "firstIncludedMessageId": _value(lambda environment: environment.chat.first_included),
    "firstDisplayedMessageId": _value(lambda _environment: ""),
    "lastSwipeId": _value(_swipes),
    "currentSwipeId": _value(_swipe),
    "allChatRange": _value(_range),
    "input": _value(lambda environment: environment.input),
    "lastGenerationType": _value(lambda environment: environment.generation_type),
    "maxPrompt": _value(_max_prompt),
    "maxPromptTokens": _value(_max_prompt),
    "maxContext": _value(lambda environment: environment.max_context),
    "maxContextTokens": _value(lambda environment: environment.max_context),
    "maxResponse": _value(lambda environment: environment.max_response),
    "maxResponseTokens": _value(lambda environment: environment.max_response),
    "isMobile": _value(lambda _environment: "false"),
    "hasExtension": Macro(lambda _call: "false", 1, 1),
}
