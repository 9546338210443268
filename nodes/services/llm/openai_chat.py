"""Chat completions of OpenAI, and of the many servers that speak its protocol. Pure translation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from innkeeper.nodes.json_values import dump_json, text_or_empty, whole_text
from innkeeper.nodes.node import ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import models_with_id
from innkeeper.nodes.services.llm.base_url import BaseUrl, base_url_of
from innkeeper.nodes.services.llm.endpoints import accepting
from innkeeper.nodes.services.llm.parameters import shaped
from innkeeper.nodes.services.llm.provider_words import is_error
from innkeeper.nodes.services.llm.token_usage import token_counts
from innkeeper.nodes.services.llm.wire import (
    About,
    Done,
    Fault,
    Finish,
    Framing,
    Piece,
    Reasoning,
    Text,
    ToolCall,
    Usage,
    WireRequest,
)
from innkeeper.nodes.services.llm.wire_json import parsed

MAX_WORD_CHARS = 100
_OWN_FIELDS = frozenset({"model", "messages", "stream"})
_REASONS = {
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "safety": "content_filter",
    "sensitive": "content_filter",
}
# The server itself failed, and calls that a reason to finish.
_FAILURES = {"error": None, "network_error": 502, "insufficient_system_resource": 503}
_AZURE_PATH = "/openai/deployments/"


class OpenAIChat:
    """The protocol (`WireProtocol`)."""

    name = "openai"
    display_name = "OpenAI-compatible"
    framing: Framing = "sse"

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """See `WireProtocol.request`.

        Usage in streams (`stream_options`) is not asked for unless parameters or the channel's defaults do: servers
        exist that refuse fields which they do not know, and many tell the usage unasked.
        """
        base = base_url_of(ask.base_url)
        parameters = shaped(ask.parameters, ask.traits)
        if not stream:
            parameters.pop("stream_options", None)  # refused beside `stream: false`
        extra = {name: value for name, value in parameters.items() if name not in _OWN_FIELDS}
        body = {
            "model": ask.model,
            "messages": _messages(ask),
            "stream": stream,
            **_response_format(ask),
            **_continuing(ask),
            **extra,
        }
        headers = {
            **_key_headers(base, ask.api_key),
            **accepting(stream),
            **({"Idempotency-Key": ask.idempotency_key} if ask.idempotency_key else {}),
        }
        return WireRequest(base.with_path("/chat/completions"), headers, body)

    def reader(self, ask: ChatRequest) -> OpenAIChatReader:
        return OpenAIChatReader(ask.model)

    def models_request(self, base_url: str, api_key: str) -> WireRequest:
        base = base_url_of(base_url)
        return WireRequest(base.with_path("/models"), {**_key_headers(base, api_key), **accepting(stream=False)})

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        # Some servers answer with the bare list.
        return models_with_id({"data": data} if isinstance(data, list) else data)


def _key_headers(base: BaseUrl, api_key: str) -> dict[str, str]:
    key = api_key.strip()
    if not key:
        return {}
    # Azure takes keys there, and tokens of its directory as `Authorization`.
    return {"api-key": key} if _AZURE_PATH in base.url else {"Authorization": f"Bearer {key}"}


def _messages(ask: ChatRequest) -> list[dict[str, Any]]:
    kind = ask.traits.prefix
    if not ask.prefix or kind == "none":
        return ask.messages
    mark = {"prefix": {"prefix": True}, "partial": {"partial": True}}.get(kind, {})
    return [*ask.messages, {"role": "assistant", "content": ask.prefix, **mark}]


def _continuing(ask: ChatRequest) -> dict[str, Any]:
    if not ask.prefix or ask.traits.prefix != "continue_final_message":
        return {}
    return {"continue_final_message": True, "add_generation_prompt": False}


def _response_format(ask: ChatRequest) -> dict[str, Any]:
    if ask.response_schema is None or ask.traits.structured == "none":
        return {}
    if ask.traits.structured == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "answer", "schema": dict(ask.response_schema)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


class OpenAIChatReader:
    """Reads one answer (`AnswerReader`). Only the choice of index 0 counts."""

    def __init__(self, asked_model: str) -> None:
        self._asked_model = asked_model
        self._about = False
        self._call_count = 0
        self._calls: dict[int, tuple[int, str]] = {}
        """What the server calls the place of a call, to the last call of that place: its number and its id."""
        self._refusal: list[str] = []

    def event(self, name: str, data: str) -> Iterator[Piece]:
        """See `AnswerReader.event`."""
        if data[0] != "{":
            text = data.strip()
            if text == "[DONE]":
                yield Done()
                return
            if text.startswith(":"):  # a comment that a gateway has wrapped into an event
                return
        part = parsed(data)
        if not isinstance(part, dict):
            return
        if name == "error" or part.get("error") or ("choices" not in part and is_error(part)):
            yield Fault(part)
            return
        if not self._about and (part.get("model") or part.get("id")):
            self._about = True
            yield About(_word(part.get("model")), _word(part.get("id")))
        usage = part.get("usage")
        if isinstance(usage, dict) and (counts := token_counts(usage)):
            yield Usage(counts)
        choice = _first(part.get("choices"))
        if choice is not None:
            yield from self._of_choice(choice)

    def whole(self, data: Any) -> ChatResponse | Fault:
        """See `AnswerReader.whole`."""
        if is_error(data):
            return Fault(data)
        if not isinstance(data, Mapping) or not isinstance(data.get("choices"), list):
            raise ValueError("it is no chat completion")
        choice = _first(data["choices"]) or (data["choices"][0] if data["choices"] else {})
        pieces = list(self._of_choice(choice)) if isinstance(choice, Mapping) else []
        for piece in pieces:
            if isinstance(piece, Fault):
                return piece
        calls = [_tool_call(piece) for piece in pieces if isinstance(piece, ToolCall)]
        usage = data.get("usage")
        return ChatResponse(
            text="".join(piece.text for piece in pieces if isinstance(piece, Text)),
            model=_word(data.get("model")) or self._asked_model,
            finish_reason=next((piece.reason for piece in pieces if isinstance(piece, Finish)), None),
            usage=(token_counts(usage) or None) if isinstance(usage, Mapping) else None,
            response_id=_word(data.get("id")) or None,
            choices=tuple(choice for choice in data["choices"] if isinstance(choice, Mapping)),
            raw_response=data,
            reasoning="".join(piece.text for piece in pieces if isinstance(piece, Reasoning)),
            tool_calls=tuple(calls),
        )

    def _of_choice(self, choice: Mapping[str, Any]) -> Iterator[Piece]:
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, Mapping):
            reasoning = _reasoning(delta)
            if reasoning:
                yield Reasoning(reasoning)
            content = delta.get("content")
            if isinstance(content, str):
                if content:
                    yield Text(content)
            elif isinstance(content, list):
                yield from _of_parts(content)
            calls = delta.get("tool_calls")
            if isinstance(calls, list):
                yield from self._of_calls(calls)
            if isinstance(delta.get("refusal"), str):
                self._refusal.append(delta["refusal"])
        reason = choice.get("finish_reason")
        if reason or choice.get("error"):
            yield self._end(_word(reason), choice)

    def _end(self, reason: str, choice: Mapping[str, Any]) -> Piece:
        error = choice.get("error")
        if error or reason in _FAILURES:
            body = error if isinstance(error, Mapping) else {"message": error or f"the answer ended with {reason!r}"}
            return Fault({"error": body}, _FAILURES.get(reason))
        if refusal := "".join(self._refusal):
            return Fault({"error": {"message": refusal, "code": "refusal"}})
        return Finish(_REASONS.get(reason.lower(), reason))

    def _of_calls(self, calls: list[Any]) -> Iterator[ToolCall]:
        for position, call in enumerate(calls):
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping):
                continue
            id, name, arguments = _word(call.get("id")), text_or_empty(function.get("name")), function.get("arguments")
            if isinstance(arguments, Mapping):
                arguments = dump_json(arguments)
            yield ToolCall(self._call_index(call.get("index"), position, id, name), id, name, text_or_empty(arguments))

    def _call_index(self, told: object, position: int, id: str, name: str) -> int:
        """Which call a piece is of. Some servers tell no index, others the same one for several calls."""
        key = told if isinstance(told, int) else position
        number, known_id = self._calls.get(key, (-1, ""))
        if number < 0 or (id and known_id and id != known_id):
            number, self._call_count = self._call_count, self._call_count + 1
            known_id = id
        self._calls[key] = number, known_id or id
        return number


def _first(choices: object) -> Mapping[str, Any] | None:
    """The choice of index 0; one that tells no index is it."""
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict) and choice.get("index") in (0, None, "0"):
            return choice
    return None


def _reasoning(delta: Mapping[str, Any]) -> str:
    for key in ("reasoning_content", "reasoning"):
        value = delta.get(key)
        if isinstance(value, str) and value:
            return value
    details = delta.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    return "".join(text_or_empty(part.get("text")) for part in details if isinstance(part, Mapping))


def _of_parts(parts: list[Any]) -> Iterator[Piece]:
    for part in parts:
        if isinstance(part, str):
            yield Text(part)
        elif isinstance(part, Mapping):
            if part.get("type") in ("thinking", "reasoning"):
                inner = part.get("thinking", part.get("text"))
                if isinstance(inner, list):
                    inner = "".join(text_or_empty(piece.get("text")) for piece in inner if isinstance(piece, Mapping))
                yield Reasoning(text_or_empty(inner))
            elif isinstance(part.get("text"), str):
                yield Text(part["text"])


def _tool_call(piece: ToolCall) -> dict[str, Any]:
    function = {"name": piece.name, "arguments": piece.arguments}
    return {"id": piece.id or f"call_{piece.index}", "type": "function", "function": function}


def _word(value: object) -> str:
    return whole_text(value[:MAX_WORD_CHARS]) if isinstance(value, str) else ""
