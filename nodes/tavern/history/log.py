"""A chat as every reader gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Generation = Literal["normal", "swipe", "continue"]
_MAPPED = frozenset({"name", "mes", "is_user", "is_system", "role", "content"})


@dataclass(frozen=True)
class ChatMessage:
    """One message.

    Attributes:
        role: `user`, `assistant`, `system`, or another role of the OpenAI protocol (`tool`).
        is_system: Hidden from the prompt. Not to be taken for the role: a narrator's message has role `system`.
        extra: The other fields as they stood (`swipes`, `send_date`, SillyTavern's own `extra`, `tool_calls`).
        record: The message as it stood in its file; None when it was made here or converted.
    """

    text: str
    role: str = "user"
    name: str = ""
    is_system: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def details(self) -> Mapping[str, Any]:
        """SillyTavern's `extra` object (`type`, `reasoning`, `media`), empty when there is none."""
        inner = self.extra.get("extra")
        return inner if isinstance(inner, Mapping) else {}

    @property
    def swipes(self) -> tuple[str, ...]:
        """The alternatives, the chosen one among them."""
        swipes = self.extra.get("swipes")
        return tuple(text_of(swipe) for swipe in swipes) if isinstance(swipes, list) else ()

    def to_openai(self) -> dict[str, Any]:
        """The message with `role` and `content`, and `name` when somebody is named.

        A message that came in this form keeps all its fields, its content parts too unless the text was changed.
        """
        if self.record is not None and is_openai(self.record):
            kept = dict(self.record)
            return kept if content_text(kept.get("content")) == self.text else {**kept, "content": self.text}
        message = {"role": self.role, "content": self.text}
        return {**message, "name": self.name} if self.name else message


@dataclass(frozen=True)
class ChatLog:
    """A chat, oldest message first.

    Attributes:
        metadata: What belongs to the whole chat: `variables`, `timedWorldInfo`, `note_prompt`, `note_depth`, ...
        warnings: What had to be overlooked to read it.
        header: SillyTavern's first line as it stood; None when the file had none.
    """

    messages: tuple[ChatMessage, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    header: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def user_name(self) -> str:
        return self._speaker_name("user_name", "user")

    @property
    def character_name(self) -> str:
        return self._speaker_name("character_name", "assistant")

    def to_openai(self) -> list[dict[str, Any]]:
        """The messages of the prompt: hidden ones are left out."""
        return [message.to_openai() for message in self.messages if not message.is_system]

    def _speaker_name(self, key: str, role: str) -> str:
        """From the header, else from who spoke last; newer headers only say `unused`."""
        name = (self.header or {}).get(key)
        if isinstance(name, str) and name and name != "unused":
            return name
        names = (message.name for message in reversed(self.messages) if message.role == role and message.name)
        return next(names, "")


def depths(messages: Sequence[ChatMessage], generation: Generation = "normal") -> tuple[int | None, ...]:
    """How far each message is from the newest (0); None for messages that take no part.

    Hidden messages take no part; for a swipe neither does the answer that is made again. For a continuation the last
    message, which goes on, has depth -1.
    """
    counted = [index for index, message in enumerate(messages) if not message.is_system]
    if generation == "swipe" and counted and messages[counted[-1]].role == "assistant":
        counted.pop()
    start = -1 if generation == "continue" else 0
    found = {index: depth for depth, index in enumerate(reversed(counted), start)}
    return tuple(found.get(index) for index in range(len(messages)))


def is_openai(record: Mapping[str, Any]) -> bool:
    """Is it a message of the OpenAI protocol? A call of tools may come without content."""
    return "role" in record and ("content" in record or bool(record.get("tool_calls")))


def rest_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `ChatMessage` has no place of its own for."""
    return {key: value for key, value in record.items() if key not in _MAPPED}


def text_of(value: Any) -> str:
    """A message's text: nothing for null, digits for a number, the inner `message` of Chub's objects."""
    if isinstance(value, Mapping):
        value = value.get("message", value.get("mes"))
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def content_text(content: Any) -> str:
    """The text of a message's `content`, which may be a list of parts."""
    if not isinstance(content, list):
        return text_of(content)
    return "".join(text_of(part.get("text")) for part in content if isinstance(part, Mapping))


def is_true(value: Any) -> bool:
    """Flags as they are found: true, 1, and their texts."""
    return value is True or (isinstance(value, int | float) and value == 1) or str(value).lower() in ("true", "1")
