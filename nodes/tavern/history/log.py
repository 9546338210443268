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
        index: Place of its item in the list that the chat was read from; None when it was made here.
    """

    text: str
    role: str = "user"
    name: str = ""
    is_system: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = field(default=None, repr=False)
    index: int | None = field(default=None, compare=False)

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

    @property
    def is_being_made(self) -> bool:
        """Is the chosen alternative one that is not there yet?"""
        chosen = self.extra.get("swipe_id")
        return isinstance(chosen, int) and chosen >= len(self.swipes) > 0

    @property
    def has_attachments(self) -> bool:
        return bool(self.file_texts or self.titles)

    @property
    def file_texts(self) -> tuple[str, ...]:
        """Texts of attached files, as far as the chat holds them."""
        texts = (file.get("text") for file in self.files)
        return tuple(text for text in texts if isinstance(text, str) and text)

    @property
    def files(self) -> tuple[Mapping[str, Any], ...]:
        """Attached files; older chats have one only, as `file`."""
        given = self.details.get("files")
        files = given if isinstance(given, list) else [self.details.get("file")]
        return tuple(file for file in files if isinstance(file, Mapping))

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of pictures that are to be told to the model."""
        media = self.details.get("media")
        holders = [self.details, *(media if isinstance(media, list) else [])]
        texts = (item.get("title") for item in holders if isinstance(item, Mapping) and item.get("append_title"))
        return tuple(text for text in texts if isinstance(text, str) and text)

    @property
    def prompt_text(self) -> str:
        """The text with what is attached to it, as the model sees it."""
        return with_attachments(self.text, self.file_texts, self.titles)

    def to_openai(self) -> dict[str, Any]:
        """The message with `role` and `content`, and `name` when somebody is named.

        A message that came in this form keeps all its fields, its content parts too unless the text was changed.
        """
        if self.record is not None and is_openai(self.record):
            kept = dict(self.record)
            return kept if content_text(kept.get("content")) == self.text else {**kept, "content": self.text}
        message = {"role": self.role, "content": self.prompt_text}
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


def with_attachments(text: str, files: Sequence[str], titles: Sequence[str]) -> str:
    """A message's text below the texts of its files and above the titles of its pictures, by blank lines."""
    # An empty text below files stays: the blank line behind the last file is part of the prompt.
    above = "".join(f"{file}\n\n" for file in files)
    return above + "\n\n".join([text, *titles])


def idle_line(messages: Sequence[ChatMessage]) -> int | None:
    """Place of the line since which the user is idle: their last one, the newest line of all apart."""
    shown = [place for place, message in enumerate(messages) if not message.is_system]
    return next((place for place in reversed(shown[:-1]) if messages[place].role == "user"), None)


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
