"""The history in any of its forms, as lines of a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from innkeeper.nodes.tavern.documents import parse_json, with_code
from innkeeper.nodes.tavern.history import ChatLog, ChatMessage, from_value
from innkeeper.nodes.tavern.history.log import with_attachments
from innkeeper.nodes.tavern.macros import MacroMessage

_KEPT = ("tool_calls", "tool_call_id")
"""Fields of a message that providers need beside its text."""


@dataclass(frozen=True)
class ChatLine:
    """One message of the chat.

    Attributes:
        text: What was said; `files` and `titles` of what is attached join it after the regex scripts.
        index: Its place in the history that was given; -1 is the card's greeting.
        content: Content in parts; None when `text` is all of it.
        is_hidden: Not for the prompt.
        is_narrator: Takes no name.
        show_name: Said by another than the character, so the name is shown.
        swipes, swipe: How many alternatives it has, and which is chosen, counted from 0.
        is_expanded: Its macros are replaced already.
    """

    role: str
    text: str
    name: str = ""
    index: int = -1
    content: Any = None
    is_hidden: bool = False
    is_narrator: bool = False
    show_name: bool = False
    swipes: int = 0
    swipe: int = 0
    is_expanded: bool = False
    files: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_user(self) -> bool:
        return self.role == "user"

    def to_macro(self) -> MacroMessage:
        return MacroMessage(self.text, self.is_user, is_system=self.is_hidden, swipes=self.swipes, swipe=self.swipe)

    def with_attachments(self) -> ChatLine:
        """The line as the model sees it."""
        return replace(self, text=with_attachments(self.text, self.files, self.titles), files=(), titles=())


def read_chat(value: Any, warnings: list[str]) -> ChatLog:
    """Messages of OpenAI's form or SillyTavern's, as a list, its JSON text, or one message; nothing is no chat.

    Raises:
        FormatError: It is none of these; says which message is at fault.
    """
    value = parsed(value)
    log = from_value([value] if is_message(value) else value)
    warnings += with_code("odd_chat", log.warnings)
    return log


def lines_of(log: ChatLog) -> tuple[ChatLine, ...]:
    return tuple(_chat_line(message, index) for index, message in enumerate(log.messages))


def parsed(value: Any) -> Any:
    """The history of a slot, its JSON text read. Raises FormatError when the text is no JSON."""
    if not isinstance(value, str):
        return value
    return parse_json(value) if value.strip() else None


def is_message(value: Any) -> bool:
    """Has it the form that chat models take?"""
    return isinstance(value, Mapping) and "role" in value and ("content" in value or bool(value.get("tool_calls")))


def _chat_line(message: ChatMessage, index: int) -> ChatLine:
    content = (message.record or {}).get("content")
    swipe = message.extra.get("swipe_id")
    return ChatLine(
        message.role,
        message.text.replace("\r", ""),
        name=message.name,
        index=index if message.index is None else message.index,
        content=content if isinstance(content, list) else None,
        is_hidden=message.is_system,
        is_narrator=message.role not in ("user", "assistant"),
        show_name=bool(message.extra.get("force_avatar")),
        swipes=len(message.swipes),
        swipe=swipe if isinstance(swipe, int) else 0,
        files=message.file_texts,
        titles=message.titles,
        extra={key: message.extra[key] for key in _KEPT if message.extra.get(key)},
    )


def without_rejected(lines: tuple[ChatLine, ...], generation_type: str) -> tuple[ChatLine, ...]:
    """The chat without the answer that `regenerate` throws away, which is gone for macros, too."""
    if generation_type != "regenerate" or not lines or lines[-1].is_user:
        return lines
    return lines[:-1] if lines[-1].is_hidden or lines[-1].role == "assistant" else lines


def visible(lines: Sequence[ChatLine], generation_type: str) -> list[ChatLine]:
    """What the prompt is made of: no hidden messages, and without the answer that `swipe` gets an alternative for."""
    shown = [line for line in lines if not line.is_hidden]
    if generation_type == "swipe" and shown and shown[-1].role == "assistant":
        return shown[:-1]
    return shown
