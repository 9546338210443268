"""Anthropic's Messages API, of Anthropic and of servers that speak it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.node import ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import (
    collected,
    event_object,
    inner,
    models_with_id,
    objects,
    place_of,
    text_of,
    usage_of,
)
from innkeeper.nodes.services.llm.base_url import BaseUrl, base_url_of
from innkeeper.nodes.services.llm.chat_parameters import (
    function_of,
    one_answer_only,
    renamed,
    schema_asked,
    stop_list,
    tool_choice_of,
)
from innkeeper.nodes.services.llm.endpoints import accepting, versioned
from innkeeper.nodes.services.llm.messages import (
    MediaPart,
    Message,
    Part,
    TextPart,
    Thought,
    ToolResult,
    ToolUse,
    read_messages,
    split_system,
    spoken,
    unsupported,
)
from innkeeper.nodes.services.llm.parameters import shaped
from innkeeper.nodes.services.llm.token_usage import count
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

VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4_096
OPENING = "..."
"""What the user says when a history begins with the model's turn, which the API refuses."""
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_RENAMED = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
}
# The API refuses a request for a field it does not know, and has nothing of these kinds.
_WITHOUT_FORM = frozenset(
    {
        *("seed", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs"),
        *("top_logprobs", "stream_options", "min_p", "store", "verbosity", "modalities", "prediction"),
        *("n", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"),
    }
)
_EFFORT = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class AnthropicMessages:
    name = "anthropic"
    display_name = "Anthropic"
    framing: Framing = "sse"
    remote_media = ("https://", "http://")

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """As `WireProtocol.request`."""
        system, turns = split_system(read_messages(ask.messages))
        body: dict[str, Any] = {"model": ask.model, "messages": _turns(turns, ask), **_parameters(ask)}
        if system:
            body["system"] = system
        if stream:
            body["stream"] = True
        headers = {**_headers(ask.api_key), **accepting(stream)}
        return WireRequest(_base(ask.base_url).with_path("/messages"), headers, body)

    def reader(self, ask: ChatRequest) -> AnthropicReader:
        return AnthropicReader(ask.model)

    def models_request(self, base_url: str, api_key: str) -> WireRequest:
        return WireRequest(_base(base_url).with_path("/models", {"limit": "1000"}), _headers(api_key))

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        return models_with_id(data)


def _base(base_url: str) -> BaseUrl:
    return versioned(base_url_of(base_url), "v1")


def _headers(api_key: str) -> dict[str, str]:
    return {"anthropic-version": VERSION, **({"x-api-key": api_key} if api_key else {})}


# --- request ----------------------------------------------------------------------------------------------------------


def _parameters(ask: ChatRequest) -> dict[str, Any]:
    given = shaped(ask.parameters, ask.traits)
    one_answer_only(given, "anthropic")
    body = {"max_tokens": DEFAULT_MAX_TOKENS, **renamed(given, _RENAMED, left_out=_WITHOUT_FORM)}
    if "stop_sequences" in body:
        body["stop_sequences"] = stop_list(body["stop_sequences"])
    # 1 changes nothing, and newer models refuse it beside a temperature.
    if body.get("top_p") == 1 and "temperature" in body:
        del body["top_p"]
    if isinstance(user := given.get("user"), str) and user:
        body.setdefault("metadata", {"user_id": user})
    return body | _tools(given) | _output_config(given, ask, body)


def _output_config(given: Mapping[str, Any], ask: ChatRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(inner(body, "output_config"))
    if isinstance(effort := given.get("reasoning_effort"), str) and effort in _EFFORT:
        config.setdefault("effort", _EFFORT[effort])
    schema = schema_asked(ask, given)
    if schema is not None:
        config.setdefault("format", {"type": "json_schema", "schema": schema})
    return {"output_config": config} if config else {}


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    tools = given.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    found: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    choice, name = tool_choice_of(given)
    kind = {"auto": "auto", "none": "none", "required": "any", "function": "tool"}.get(choice)
    if kind:
        found["tool_choice"] = {"type": kind, **({"name": name} if kind == "tool" else {})}
    elif isinstance(given.get("tool_choice"), Mapping):
        found["tool_choice"] = given["tool_choice"]
    if given.get("parallel_tool_calls") is False:
        found["tool_choice"] = {**found.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    return found


def _tool(tool: Any) -> Any:
    function = function_of(tool)
    if function is None:
        return tool
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    kept = {key: function[key] for key in ("name", "description", "strict") if function.get(key) is not None}
    return {**kept, "input_schema": schema}


def _turns(messages: Iterable[Message], ask: ChatRequest) -> list[dict[str, Any]]:
    """Turns of user and assistant by turns, the user's first; what has no content is left out."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(_blocks(spoken(message)))
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise NodeInputError("'messages' holds no text: there is nothing to answer")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
    for turn in turns:
        # Results of tools stand before everything else that the user says, or the API misses them.
        turn["content"].sort(key=lambda block: block["type"] != "tool_result" and turn["role"] == "user")
    if ask.prefix and ask.traits.prefix == "trailing":
        _continue_from(turns, ask.prefix)
    _strip_end(turns[-1])
    return turns


def _continue_from(turns: list[dict[str, Any]], prefix: str) -> None:
    block = {"type": "text", "text": prefix}
    if turns[-1]["role"] == "assistant":
        turns[-1]["content"].append(block)
    else:
        turns.append({"role": "assistant", "content": [block]})


def _strip_end(turn: dict[str, Any]) -> None:
    """The last turn of the assistant must not end with white space."""
    last = turn["content"][-1]
    if turn["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip()


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        yield from _block(part)


def _block(part: Part) -> Iterator[dict[str, Any]]:
    match part:
        # The API refuses texts without a visible character.
        case TextPart(text):
            if text.strip():
                yield {"type": "text", "text": text}
        case MediaPart():
            yield _media(part)
        case Thought(text, signature, hidden):
            if signature:
                yield {"type": "thinking", "thinking": text, "signature": signature}
            elif hidden:
                yield {"type": "redacted_thinking", "data": hidden}
        case ToolUse():
            yield {"type": "tool_use", "id": part.id, "name": part.name, "input": part.argument_object()}
        case ToolResult():
            content = [block for item in part.parts for block in _block(item)]
            result: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.id}
            yield result | ({"content": content} if content else {}) | ({"is_error": True} if part.is_error else {})


def _media(part: MediaPart) -> dict[str, Any]:
    kind = {"image": "image", "file": "document"}.get(part.kind)
    if kind is None:
        raise unsupported(part, "anthropic", "images, PDF documents and plain text")
    block: dict[str, Any] = {"type": kind, "source": _source(part)}
    return block | ({"title": part.name} if part.name and kind == "document" else {})


def _source(part: MediaPart) -> dict[str, Any]:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.url:
        return {"type": "url", "url": part.url}
    if part.kind == "file" and part.mime.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": part.decoded_text()}
    if part.mime not in (_IMAGES if part.kind == "image" else {"application/pdf"}):
        raise unsupported(part, "anthropic", "images as PNG, JPEG, GIF and WebP, PDF documents and plain text")
    return {"type": "base64", "media_type": part.mime, "data": part.data}


# --- answer -----------------------------------------------------------------------------------------------------------


class AnthropicReader:
    """Reads one answer (`AnswerReader`)."""

    def __init__(self, asked_model: str) -> None:
        self._asked_model = asked_model
        self._usage: dict[str, Any] = {}
        self._calls: dict[int, int] = {}
        """Number of the block to number of the call."""
        self._arguments: dict[int, str] = {}
        """Of calls whose arguments have not come in pieces: what they began with."""

    def event(self, name: str, data: str) -> Iterable[Piece]:
        """As `AnswerReader.event`."""
        event = event_object(data)
        match event.get("type") or name:
            case "message_start":
                message = inner(event, "message")
                return [*_about(message), *self._told(message.get("usage"))]
            case "content_block_start":
                return self._begun(place_of(event, "index"), inner(event, "content_block"))
            case "content_block_delta":
                return self._more(place_of(event, "index"), inner(event, "delta"))
            case "content_block_stop":
                return self._stopped(place_of(event, "index"))
            case "message_delta":
                return [*self._told(event.get("usage")), *_finish(inner(event, "delta"))]
            case "message_stop":
                return [Done()]
            case "error":
                return [fault(event)]
        if "error" in event and "type" not in event:
            return [fault(event)]
        return []  # ping, and what is still to come: clients shall pass over it

    def whole(self, data: Any) -> ChatResponse | Fault:
        """As `AnswerReader.whole`."""
        if not isinstance(data, Mapping):
            raise ValueError("it is no message")
        if data.get("type") == "error" or ("error" in data and "content" not in data):
            return fault(data)
        if not isinstance(data.get("content"), list):
            raise ValueError("it is no message")
        thoughts = [dict(block) for block in objects(data["content"]) if str(block.get("type")).endswith("thinking")]
        extra = {"thinking_blocks": thoughts} if thoughts else None
        return collected(self._pieces(data), raw=data, asked_model=self._asked_model, extra=extra)

    def _pieces(self, message: Mapping[str, Any]) -> Iterator[Piece]:
        yield from _about(message)
        for index, block in enumerate(objects(message["content"])):
            yield from self._begun(index, block)
            yield from self._stopped(index)
        yield from self._told(message.get("usage"))
        yield from _finish(message)

    def _begun(self, index: int, block: Mapping[str, Any]) -> Iterator[Piece]:
        kind = block.get("type")
        if kind == "text" and (text := text_of(block, "text")):
            yield Text(text)
        elif kind == "thinking" and (text := text_of(block, "thinking")):
            yield Reasoning(text)
        elif kind == "tool_use":
            number = self._calls[index] = len(self._calls)
            self._arguments[index] = dump_json(inner(block, "input"))
            yield ToolCall(number, text_of(block, "id"), text_of(block, "name"))

    def _more(self, index: int, delta: Mapping[str, Any]) -> Iterator[Piece]:
        kind = delta.get("type")
        if kind == "text_delta" and (text := text_of(delta, "text")):
            yield Text(text)
        elif kind == "thinking_delta" and (text := text_of(delta, "thinking")):
            yield Reasoning(text)
        elif kind == "input_json_delta" and index in self._calls and (text := text_of(delta, "partial_json")):
            self._arguments.pop(index, None)
            yield ToolCall(self._calls[index], arguments=text)

    def _stopped(self, index: int) -> Iterator[Piece]:
        if arguments := self._arguments.pop(index, ""):
            yield ToolCall(self._calls[index], arguments=arguments)

    def _told(self, usage: Any) -> Iterator[Usage]:
        """The start tells of the prompt, the end of the answer; both may tell of both."""
        if not isinstance(usage, Mapping):
            return
        self._usage |= {key: value for key, value in usage.items() if value is not None}
        if found := _usage(self._usage):
            yield found


def _about(message: Mapping[str, Any]) -> Iterator[About]:
    about = About(text_of(message, "model"), text_of(message, "id"))
    if about != About():
        yield about


def _finish(holder: Mapping[str, Any]) -> Iterator[Finish]:
    if reason := text_of(holder, "stop_reason"):
        yield Finish(_FINISH.get(reason, reason))


def _usage(told: Mapping[str, Any]) -> Usage | None:
    """Their count of the prompt leaves out what the cache has to do with; ours holds all of it."""
    cached, created = count(told.get("cache_read_input_tokens")), count(told.get("cache_creation_input_tokens"))
    prompt = count(told.get("input_tokens"))
    return usage_of(
        None if prompt is None else prompt + (cached or 0) + (created or 0),
        count(told.get("output_tokens")),
        cached=cached,
        reasoning=count(inner(told, "output_tokens_details").get("thinking_tokens")),
    )


def fault(event: Mapping[str, Any]) -> Fault:
    """The error of an event, or of a body, with the status that its type stands for."""
    return Fault(event, _STATUS.get(text_of(inner(event, "error"), "type")))
