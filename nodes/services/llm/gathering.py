"""What an answer has said so far, and whether it is one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.json_values import TextJoiner, whole_text
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.llm.answer_parts import signature_field
from innkeeper.nodes.services.llm.errors import bad_answer
from innkeeper.nodes.services.llm.think_tags import ThinkSplitter
from innkeeper.nodes.services.llm.wire import About, Done, Finish, Piece, Reasoning, Text, ToolCall, Usage

MAX_CALLS = 1_000
MAX_WORD_CHARS = 100
"""Of a finish reason, a model's name, an id: they go into events, usage and metrics."""


class AnswerTooLarge(ValueError):
    """The answer has more characters, or calls of tools, than allowed."""


class Gathering:
    """Makes chunks of the pieces of an answer, and the answer of all of them.

    Attributes:
        is_done: The stream said that nothing follows.
        finish_reason: Why it ended, once that is told.
        size: Characters of text, reasoning and arguments of tools.
    """

    def __init__(self, ask: ChatRequest, max_chars: int) -> None:
        self._ask = ask
        self._max_chars = max_chars
        self._joiner, self._thought_joiner = TextJoiner(), TextJoiner()
        self._splitter = ThinkSplitter() if ask.traits.think_tags else None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, _GatheredCall] = {}
        self._about = About()
        self.usage: Mapping[str, Any] | None = None
        self.is_done = False
        self.finish_reason: str | None = None
        self.size = 0

    @property
    def is_whole(self) -> bool:
        """Nothing of the answer is missing: what happens on the wire from here on does not matter."""
        return self.is_done or self.finish_reason is not None

    def take(self, piece: Piece) -> list[Chunk]:
        """The chunks that a piece makes. Raises AnswerTooLarge."""
        kind = type(piece)
        if kind is Text:
            return self._text(self._joiner.feed(piece.text))  # type: ignore[union-attr]  # narrowed by `kind`
        return self._other(piece)

    def _other(self, piece: Piece) -> list[Chunk]:
        match piece:
            case Reasoning(text):
                return self._thought(self._thought_joiner.feed(text))
            case ToolCall():
                return self._call(piece)
            case Usage(usage):
                if usage == self.usage:
                    return []
                self.usage = usage
                return [Chunk("usage_chunk", dict(usage))]
            case About(model, response_id):
                self._about = About(_word(model) or self._about.model, _word(response_id) or self._about.response_id)
            case Finish(reason):
                self.finish_reason = _word(reason)
            case Done():
                self.is_done = True
        return []

    def rest(self) -> list[Chunk]:
        """What was held back, since it could have been the beginning of something."""
        chunks = self._text(self._joiner.end())
        if self._splitter is not None:
            chunks += self._split(self._splitter.end())
        return chunks + self._thought(self._thought_joiner.end())

    def response(self) -> ChatResponse:
        """The answer, when all of it is there."""
        text, reason = "".join(self._texts), self._reason()
        message = {"role": "assistant", "content": text}
        return ChatResponse(
            text=text,
            model=self._about.model or self._ask.model,
            finish_reason=reason,
            usage=self.usage,
            response_id=self._about.response_id or None,
            choices=({"index": 0, "message": message, "finish_reason": reason},),
            reasoning="".join(self._thoughts),
            tool_calls=tuple(self._calls[index].to_json(index) for index in sorted(self._calls)),
        )

    def _reason(self) -> str:
        return self.finish_reason or ("tool_calls" if self._calls else "stop")

    def _text(self, text: str) -> list[Chunk]:
        if not text:
            return []
        if self._splitter is not None:
            return self._split(self._splitter.feed(text))
        return self._said(text)

    def _said(self, text: str) -> list[Chunk]:
        self._texts.append(text)
        self._grow(len(text))
        return [Chunk("text_chunk", text)]

    def _split(self, parts: list[tuple[bool, str]]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for is_thought, text in parts:
            chunks += self._thought(text) if is_thought else self._said(text)
        return chunks

    def _thought(self, text: str) -> list[Chunk]:
        if not text:
            return []
        self._thoughts.append(text)
        self._grow(len(text))
        return [Chunk("reasoning_chunk", text)]

    def _call(self, piece: ToolCall) -> list[Chunk]:
        call = self._calls.setdefault(piece.index, _GatheredCall())
        if len(self._calls) > MAX_CALLS:
            raise AnswerTooLarge(f"answered with more than {MAX_CALLS} calls of tools")
        call.id, call.name = call.id or piece.id, call.name or piece.name
        call.signature = call.signature or piece.signature
        arguments = call.joiner.feed(piece.arguments)
        call.arguments.append(arguments)
        self._grow(len(arguments) + len(piece.signature) + 1)  # empty ones fill the memory, too
        told = {"id": piece.id, "name": whole_text(piece.name)}
        content = {"index": piece.index, **{key: value for key, value in told.items() if value}, "arguments": arguments}
        return [Chunk("tool_call_chunk", content)]

    def _grow(self, chars: int) -> None:
        self.size += chars
        if self.size > self._max_chars:
            raise AnswerTooLarge(f"answered with more than {self._max_chars} characters")


class _GatheredCall:
    """One call of a tool."""

    def __init__(self) -> None:
        self.id = self.name = self.signature = ""
        self.joiner = TextJoiner()
        self.arguments: list[str] = []

    def to_json(self, index: int) -> dict[str, Any]:
        function = {"name": whole_text(self.name), "arguments": "".join(self.arguments) + self.joiner.end()}
        call = {"id": self.id or f"call_{index}", "type": "function", "function": function}
        return call | signature_field(self.signature)


def with_bounded_words(response: ChatResponse) -> ChatResponse:
    """The answer with a finish reason, a model and an id that are no longer than words."""
    return replace(
        response,
        finish_reason=_word(response.finish_reason or "") or None,
        model=_word(response.model),
        response_id=_word(response.response_id or "") or None,
    )


def _word(text: str) -> str:
    return whole_text(text[:MAX_WORD_CHARS])


def chunks_of(response: ChatResponse) -> list[Chunk]:
    """The chunks of an answer that came whole, the last one apart."""
    chunks = [Chunk("reasoning_chunk", response.reasoning)] if response.reasoning else []
    chunks += [Chunk("text_chunk", response.text)] if response.text else []
    for index, call in enumerate(response.tool_calls):
        content = {"index": index, "id": call.get("id", ""), **call.get("function", {})}
        chunks.append(Chunk("tool_call_chunk", content))
    return chunks + ([Chunk("usage_chunk", dict(response.usage))] if response.usage else [])


def finish_chunk(response: ChatResponse) -> Chunk:
    """The last chunk of a stream."""
    optional = {
        "reasoning": response.reasoning,
        "tool_calls": list(response.tool_calls),
        "model": response.model,
        "response_id": response.response_id,
    }
    content = {
        "finish_reason": response.finish_reason,
        "accumulated_text": response.text,
        "usage": dict(response.usage) if response.usage else None,
    }
    return Chunk("finish_reason_chunk", content | {key: value for key, value in optional.items() if value})


def complaint(host: str, response: ChatResponse, *, is_told: bool, goes_on: bool = False) -> ProviderError | None:
    """Why an answer is none, though the server calls it one: an empty success helps nobody.

    Args:
        is_told: The server gave a reason for the end.
        goes_on: It continues a text, which may have been whole.
    """
    if response.text or response.tool_calls:
        return None
    thought = "gave only reasoning and no text" if response.reasoning else "gave no text"
    if response.finish_reason == "content_filter":
        return bad_answer(host, f"{thought}: its content filter stopped the answer", code="content_filter")
    if response.finish_reason == "length":
        return bad_answer(host, f"{thought}: the answer was cut at its length limit; allow more tokens")
    if response.reasoning:
        return bad_answer(host, thought)
    if not is_told and not goes_on:
        return bad_answer(host, "sent an answer without text and without a reason; some servers do when they block it")
    return None
