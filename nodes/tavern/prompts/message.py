"""What assembly works on: turns of the history, texts from elsewhere, and messages that know where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.tavern.environment import CountTokens, Expand

IN_MAIN, IN_CHAT, BEFORE_MAIN = 0, 1, 2
"""Places of a note: at the end of the main prompt's group, in the chat at a depth, at the start of that group."""


class ContextTooSmall(NodeError):
    """What must be sent is larger than the room for it."""

    code = "context_too_small"
    retryable = False


@dataclass(frozen=True)
class Turn:
    """One message of the history.

    Attributes:
        text: The text, before macros; `""` when `content` holds it in parts.
        index: Place in the history that the user gave, for the report.
        is_narrator: Takes no name.
        show_name: The name is put in front with the default `names_behavior` too (another speaker's avatar).
        expand: Macros of the text are replaced.
        content: Content in parts (images); taken as it is.
        extra: Further fields that go out with the message.
    """

    role: str
    text: str
    name: str = ""
    index: int = 0
    is_narrator: bool = False
    show_name: bool = False
    expand: bool = True
    content: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """A text from elsewhere (author's note, card's depth prompt, world info at depth, summary).

    `key` decides the order among notes of one place; `source` names it in the report. Macros of the text are replaced
    when it is placed, unless `is_expanded`.
    """

    key: str
    text: str
    position: int = IN_CHAT
    depth: int = 4
    role: str = "system"
    source: str = ""
    is_expanded: bool = False

    def expanded(self, expand: Expand) -> str:
        return self.text if self.is_expanded else expand(self.text)


@dataclass(frozen=True)
class Message:
    """A message on its way out.

    Attributes:
        content: A text, or a list of parts.
        source: Where it comes from: a prompt's identifier, `chatHistory`, `dialogueExamples`, a note's key.
        index: History index, or number of the example block.
        joins: May be joined with its neighbours when system messages are squashed.
    """

    role: str
    content: Any
    source: str
    name: str = ""
    tokens: int = 0
    index: int | None = None
    joins: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_openai(self) -> dict[str, Any]:
        name = {"name": self.name} if self.name else {}
        return {"role": self.role, "content": self.content, **name, **self.extra}

    @property
    def is_empty(self) -> bool:
        return not self.content and not self.extra.get("tool_calls")


@dataclass(frozen=True)
class Sizer:
    """Tokens of messages. `overhead` is what each message costs beside its texts."""

    count: CountTokens
    overhead: int = 0

    def of(self, content: Any, name: str = "") -> int:
        text = text_of(content)
        if not text and not isinstance(content, list):
            return 0
        return self.count(text) + (self.count(name) if name else 0) + self.overhead


def text_of(content: Any) -> str:
    """The text of a content, that of its parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n\n".join(text for text in texts if isinstance(text, str))
