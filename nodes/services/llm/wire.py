"""What a provider's protocol is to us: pure translation of requests to its wire and of its answers from there.

One driver (`driver.py`) sends, reads and judges for all of them: what is complete, what is an error, what takes too
long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from innkeeper.nodes.node import ChatRequest, ChatResponse

Framing = Literal["sse", "json_lines"]


@dataclass(frozen=True)
class WireRequest:
    """One HTTP request. `body` is JSON data; None for a GET."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer's text. Halves of a UTF-16 pair may come apart; the driver joins them."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a call of a tool: `arguments` pieces of one `index` make one JSON text.

    `signature` is the provider's proof of the call (Gemini's), which must be sent back with it.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens, in the form of `ChatResponse.usage`; a later one takes the place of an earlier one."""

    usage: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """What the answer says of itself."""

    model: str = ""
    response_id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is whole. `reason` in the words of `ChatResponse.finish_reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The stream says that nothing follows (`[DONE]`)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The provider says that it failed. `body`: its error as JSON; `status`: the HTTP status it stands for, if told."""

    body: Any
    status: int | None = None


Piece = Text | Reasoning | ToolCall | Usage | About | Finish | Done | Fault


class AnswerReader(Protocol):
    """Reads one answer. Pure; keeps what it needs between two events."""

    def event(self, name: str, data: str) -> Iterable[Piece]:
        """What one event of a stream says. `name`: `message` where none is told; of JSON lines each line is `data`.

        Raises:
            ValueError: The event is not of this protocol.
        """

    def whole(self, data: Any) -> ChatResponse | Fault:
        """The answer that a server gave as one JSON value, whether or not a stream was asked for.

        Raises:
            ValueError: It is not of this protocol.
        """


class WireProtocol(Protocol):
    """One protocol."""

    name: str
    display_name: str
    framing: Framing

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """Raises NodeInputError when messages or parameters cannot be said in this protocol."""

    def reader(self, ask: ChatRequest) -> AnswerReader: ...

    def models_request(self, base_url: str, api_key: str) -> WireRequest: ...

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        """Each with its `id`. Raises ValueError when the answer is no list of models."""
