"""OpenAI's Responses API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import (
    collected,
    event_object,
    inner,
    models_with_id,
    objects,
    place_of,
    refusal,
    text_of,
    usage_of,
)
from innkeeper.nodes.services.llm.base_url import base_url_of
from innkeeper.nodes.services.llm.chat_parameters import (
    function_of,
    one_answer_only,
    renamed,
    schema_asked,
    tool_choice_of,
    wants_json,
)
from innkeeper.nodes.services.llm.endpoints import accepting
from innkeeper.nodes.services.llm.messages import (
    MediaPart,
    Message,
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

_RENAMED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
}
# The API refuses a request for a field it does not know, and has nothing of these kinds.
_WITHOUT_FORM = frozenset(
    {
        *("stop", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "stream_options"),
        *("n", "modalities", "prediction", "response_format", "reasoning_effort", "verbosity", "tools", "tool_choice"),
    }
)
_SCHEMA_NAME = "answer"
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
_STATUS = {"rate_limit_exceeded": 429, "server_error": 500, "insufficient_quota": 429}
_MEANT = "images, PDF documents and recordings as MP3 or WAV"


class OpenAIResponses:
    name = "openai-responses"
    display_name = "OpenAI Responses"
    framing: Framing = "sse"
    remote_media = ("https://", "http://")

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """As `WireProtocol.request`."""
        system, turns = split_system(read_messages(ask.messages))
        items = [item for message in turns for item in _items(spoken(message))]
        if not items:
            raise NodeInputError("'messages' holds no text: there is nothing to answer")
        # Stored answers would outlive the run that paid for them.
        body: dict[str, Any] = {"model": ask.model, "input": items, "store": False, **_parameters(ask)}
        if system:
            body["instructions"] = system
        if stream:
            body["stream"] = True
        headers = {**_headers(ask.api_key), **accepting(stream)}
        if ask.idempotency_key:
            headers["Idempotency-Key"] = ask.idempotency_key
        return WireRequest(base_url_of(ask.base_url).with_path("/responses"), headers, body)

    def reader(self, ask: ChatRequest) -> ResponsesReader:
        return ResponsesReader(ask.model)

    def models_request(self, base_url: str, api_key: str) -> WireRequest:
        return WireRequest(base_url_of(base_url).with_path("/models"), _headers(api_key))

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        return models_with_id(data)


def _headers(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


# --- request ----------------------------------------------------------------------------------------------------------


def _parameters(ask: ChatRequest) -> dict[str, Any]:
    given = shaped(ask.parameters, ask.traits)
    one_answer_only(given, "openai-responses")
    body = renamed(given, _RENAMED, left_out=_WITHOUT_FORM)
    text, reasoning = dict(inner(body, "text")), dict(inner(body, "reasoning"))
    if (form := _format(ask, given)) is not None:
        text.setdefault("format", form)
    if given.get("verbosity") is not None:
        text.setdefault("verbosity", given["verbosity"])
    if given.get("reasoning_effort") is not None:
        reasoning.setdefault("effort", given["reasoning_effort"])
    parts = {"text": text, "reasoning": reasoning}
    return body | {key: value for key, value in parts.items() if value} | _tools(given)


def _format(ask: ChatRequest, given: Mapping[str, Any]) -> dict[str, Any] | None:
    holder = inner(given, "response_format", "json_schema")
    schema = schema_asked(ask, given)
    if schema is not None:
        name = text_of(holder, "name") or _SCHEMA_NAME
        # Strict schemas must state every property as required: one that does not would be refused.
        return {"type": "json_schema", "name": name, "schema": schema, "strict": holder.get("strict") is True}
    return {"type": "json_object"} if wants_json(ask, given) else None


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    tools = given.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    choice, name = tool_choice_of(given)
    found: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    if choice == "function":
        found["tool_choice"] = {"type": "function", "name": name}
    elif given.get("tool_choice") is not None:
        found["tool_choice"] = given["tool_choice"]
    return found


def _tool(tool: Any) -> Any:
    function = function_of(tool)
    if function is None:
        return tool
    # Not strict, as in chat completions, unless it says so: here the default is the other one.
    return {"type": "function", "parameters": {"type": "object", "properties": {}}, "strict": False, **function}


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "assistant":
        for part in message.parts:
            yield from _said(part)
        return
    content = [_input(part) for part in message.parts if isinstance(part, TextPart | MediaPart)]
    if content:
        yield {"role": "user", "content": content}
    for part in message.parts:
        if isinstance(part, ToolResult):
            output = [_input(item) for item in part.parts] if _has_media(part) else part.text
            yield {"type": "function_call_output", "call_id": part.id, "output": output}


def _has_media(result: ToolResult) -> bool:
    return any(isinstance(item, MediaPart) for item in result.parts)


def _said(part: Any) -> Iterator[dict[str, Any]]:
    match part:
        case TextPart(text):
            if text:
                yield {"role": "assistant", "content": text}
        case MediaPart():
            raise unsupported(part, "openai-responses", "media of the user only")
        case ToolUse():
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
        # Without its encrypted form a thought cannot be sent back.
        case Thought(text, _, hidden, id_) if hidden and id_:
            summary = [{"type": "summary_text", "text": text}] if text else []
            yield {"type": "reasoning", "id": id_, "summary": summary, "encrypted_content": hidden}


def _input(part: TextPart | MediaPart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    if part.kind == "image":
        place = {"file_id": part.file_id} if part.file_id else {"image_url": part.url or part.data_uri}
        return {"type": "input_image", "detail": part.detail or "auto", **place}
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": _audio_format(part)}}
    if part.file_id or part.url:
        return {"type": "input_file", **({"file_id": part.file_id} if part.file_id else {"file_url": part.url})}
    return {"type": "input_file", "filename": part.name or "file.pdf", "file_data": part.data_uri}


def _audio_format(part: MediaPart) -> str:
    found = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}.get(part.mime)
    if found is None or not part.data:
        raise unsupported(part, "openai-responses", _MEANT)
    return found


# --- answer -----------------------------------------------------------------------------------------------------------


class ResponsesReader:
    """Reads one answer (`AnswerReader`)."""

    def __init__(self, asked_model: str) -> None:
        self._asked_model = asked_model
        self._calls: dict[int, int] = {}
        """Number of the output item to number of the call."""
        self._has_arguments: set[int] = set()
        self._has_text = False
        self._refused: list[str] = []

    def event(self, name: str, data: str) -> Iterable[Piece]:
        """As `AnswerReader.event`."""
        if data.strip() == "[DONE]":
            return [Done()]
        event = event_object(data)
        kind = event.get("type") or name
        match kind:
            case "response.created":
                return _about(inner(event, "response"))
            case "response.output_text.delta":
                return self._text(text_of(event, "delta"))
            case "response.refusal.delta":
                self._refused.append(text_of(event, "delta"))
                return []
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return [Reasoning(text)] if (text := text_of(event, "delta")) else []
            case "response.reasoning_summary_part.added":
                return [Reasoning("\n\n")] if event.get("summary_index") else []
            case "response.output_item.added" | "response.output_item.done":
                return self._call(place_of(event, "output_index"), inner(event, "item"), kind.endswith("done"))
            case "response.function_call_arguments.delta":
                return self._arguments(place_of(event, "output_index"), text_of(event, "delta"))
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._ended(inner(event, "response"))
            case "error":
                return [fault(event)]
        if kind == "message" and "error" in event:
            return [fault(event)]
        return []  # progress, and what is still to come

    def whole(self, data: Any) -> ChatResponse | Fault:
        """As `AnswerReader.whole`."""
        if not isinstance(data, Mapping):
            raise ValueError("it is no response")
        if isinstance(data.get("error"), Mapping | str):
            return fault(data)
        if not isinstance(data.get("output"), list):
            raise ValueError("it is no response")
        thoughts = [dict(item) for item in objects(data["output"]) if item.get("type") == "reasoning"]
        extra = {"thinking_blocks": thoughts} if thoughts else None
        pieces = (*_about(data), *_thoughts(data), *self._ended(data))
        return collected(pieces, raw=data, asked_model=self._asked_model, extra=extra)

    def _text(self, text: str) -> Iterator[Piece]:
        if text:
            self._has_text = True
            yield Text(text)

    def _call(self, place: int, item: Mapping[str, Any], is_done: bool) -> Iterator[Piece]:
        if item.get("type") != "function_call":
            return
        if place not in self._calls:
            self._calls[place] = len(self._calls)
            yield ToolCall(self._calls[place], text_of(item, "call_id"), text_of(item, "name"))
        if is_done and place not in self._has_arguments:
            yield from self._arguments(place, text_of(item, "arguments"))

    def _arguments(self, place: int, text: str) -> Iterator[Piece]:
        if text and place in self._calls:
            self._has_arguments.add(place)
            yield ToolCall(self._calls[place], arguments=text)

    def _ended(self, response: Mapping[str, Any]) -> Iterator[Piece]:
        """What the end holds, which repeats all of the answer: of that, what has not come before."""
        for place, item in enumerate(objects(response.get("output"))):
            yield from self._call(place, item, True)
        if not self._has_text:
            yield from self._text("".join(_texts(response, "output_text", "text")))
        if usage := _usage(inner(response, "usage")):
            yield usage
        refused = "".join(self._refused) or "".join(_texts(response, "refusal", "refusal"))
        if response.get("status") == "failed" or inner(response, "error"):
            yield fault(response)
        elif refused and not self._has_text:
            yield refusal(refused)
        else:
            yield Finish(self._reason(response))
            yield Done()

    def _reason(self, response: Mapping[str, Any]) -> str:
        if response.get("status") == "incomplete":
            reason = text_of(inner(response, "incomplete_details"), "reason")
            return _INCOMPLETE.get(reason, reason or "length")
        return "tool_calls" if self._calls else "stop"


def _about(response: Mapping[str, Any]) -> Iterator[About]:
    about = About(text_of(response, "model"), text_of(response, "id"))
    if about != About():
        yield about


def _thoughts(response: Mapping[str, Any]) -> Iterator[Reasoning]:
    for item in objects(response.get("output")):
        if item.get("type") == "reasoning":
            pieces = item.get("summary") or item.get("content")
            if text := "\n\n".join(text_of(piece, "text") for piece in objects(pieces)):
                yield Reasoning(text)


def _texts(response: Mapping[str, Any], kind: str, key: str) -> Iterator[str]:
    for item in objects(response.get("output")):
        if item.get("type") == "message":
            yield from (text_of(part, key) for part in objects(item.get("content")) if part.get("type") == kind)


def _usage(told: Mapping[str, Any]) -> Usage | None:
    return usage_of(
        count(told.get("input_tokens")),
        count(told.get("output_tokens")),
        total=count(told.get("total_tokens")),
        cached=count(inner(told, "input_tokens_details").get("cached_tokens")),
        reasoning=count(inner(told, "output_tokens_details").get("reasoning_tokens")),
    )


def fault(event: Mapping[str, Any]) -> Fault:
    """The error of an event, which may lie in it flat, or of a response that failed."""
    error = event.get("error")
    if not isinstance(error, Mapping | str):
        error = {key: event[key] for key in ("code", "message", "param") if key in event}
    return Fault({"error": error}, _STATUS.get(text_of(inner({"error": error}, "error"), "code")))
