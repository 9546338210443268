"""Ollama's own chat, `/api/chat`: one JSON object a line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import dump_json, text_or_empty
from innkeeper.nodes.node import ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import (
    collected,
    event_object,
    inner,
    listed_models,
    objects,
    text_of,
    usage_of,
)
from innkeeper.nodes.services.llm.base_url import BaseUrl, base_url_of
from innkeeper.nodes.services.llm.chat_parameters import (
    one_answer_only,
    renamed,
    schema_asked,
    stop_list,
    wants_json,
)
from innkeeper.nodes.services.llm.endpoints import accepting, without
from innkeeper.nodes.services.llm.messages import (
    MediaPart,
    Message,
    Thought,
    ToolResult,
    ToolUse,
    read_messages,
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
    WireRequest,
)

_RENAMED = {
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "max_output_tokens": "num_predict",
    "repetition_penalty": "repeat_penalty",
}
_OF_THE_REQUEST = frozenset({"think", "format", "keep_alive", "tools", "logprobs", "top_logprobs", "truncate", "shift"})
"""Fields that stand beside `options`, where all others belong."""
_WITHOUT_FORM = frozenset(
    {
        *("n", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user", "options"),
        *("logit_bias", "stream_options", "store", "modalities", "prediction", "verbosity"),
    }
)
_KNOWN = frozenset({"message", "done", "error"})
_EFFORT: Mapping[str, bool | str] = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high"}


class OllamaChat:
    name = "ollama"
    display_name = "Ollama"
    framing: Framing = "json_lines"
    remote_media: tuple[str, ...] = ()

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """As `WireProtocol.request`."""
        messages = [item for message in read_messages(ask.messages) for item in _messages(spoken(message))]
        if not messages:
            # The server takes a request without messages for a wish to load the model.
            raise NodeInputError("'messages' holds no text: there is nothing to answer")
        if ask.prefix and ask.traits.prefix == "trailing":
            messages.append({"role": "assistant", "content": ask.prefix})
        body = {"model": ask.model, "messages": messages, "stream": stream, **_parameters(ask)}
        headers = {**_headers(ask.api_key), **accepting(stream, "application/x-ndjson")}
        return WireRequest(_base(ask.base_url).with_path("/api/chat"), headers, body)

    def reader(self, ask: ChatRequest) -> OllamaReader:
        return OllamaReader(ask.model)

    def models_request(self, base_url: str, api_key: str) -> WireRequest:
        return WireRequest(_base(base_url).with_path("/api/tags"), _headers(api_key))

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        ids = ((text_of(model, "model") or text_of(model, "name"), model) for model in listed_models(data, "models"))
        return tuple({"id": id_, **model} for id_, model in ids if id_)


def _base(base_url: str) -> BaseUrl:
    return without(base_url_of(base_url), "/api", "/v1")


def _headers(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


# --- request ----------------------------------------------------------------------------------------------------------


def _parameters(ask: ChatRequest) -> dict[str, Any]:
    given = shaped(ask.parameters, ask.traits)
    one_answer_only(given, "ollama")
    options = renamed(given, _RENAMED, left_out=_WITHOUT_FORM)
    beside = {key: options.pop(key) for key in _OF_THE_REQUEST & options.keys()}
    options |= inner(given, "options")
    if "stop" in options:
        options["stop"] = stop_list(options["stop"])
    effort = given.get("reasoning_effort")
    if isinstance(effort, str) and effort in _EFFORT:
        beside.setdefault("think", _EFFORT[effort])
    schema = schema_asked(ask, given)
    if schema is not None or wants_json(ask, given):
        beside.setdefault("format", "json" if schema is None else schema)
    return beside | ({"options": options} if options else {})


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    yield from (_result(part) for part in message.parts if isinstance(part, ToolResult))
    text = message.text
    images = [_image(part) for part in message.parts if isinstance(part, MediaPart)]
    calls = [_call(part) for part in message.parts if isinstance(part, ToolUse)]
    thought = "\n".join(part.text for part in message.parts if isinstance(part, Thought) and part.text)
    if text or images or calls:
        more = {"images": images, "tool_calls": calls, "thinking": thought}
        yield {"role": message.role, "content": text, **{key: value for key, value in more.items() if value}}


def _result(part: ToolResult) -> dict[str, Any]:
    images = [_image(item) for item in part.parts if isinstance(item, MediaPart)]
    return {"role": "tool", "content": part.text, **({"tool_name": part.name} if part.name else {})} | (
        {"images": images} if images else {}
    )


def _image(part: MediaPart) -> str:
    if part.kind != "image" or not part.data:
        raise unsupported(part, "ollama", "images")
    return part.data


def _call(part: ToolUse) -> dict[str, Any]:
    return {"function": {"name": part.name, "arguments": part.argument_object()}}


# --- answer -----------------------------------------------------------------------------------------------------------


class OllamaReader:
    """Reads one answer (`AnswerReader`)."""

    def __init__(self, asked_model: str) -> None:
        self._asked_model = asked_model
        self._calls = 0
        self._is_told = False

    def event(self, name: str, data: str) -> Iterable[Piece]:
        """As `AnswerReader.event`: one line."""
        line = event_object(data)
        if not _KNOWN & line.keys():
            raise ValueError("it is no line of a chat")
        return list(self._pieces(line))

    def whole(self, data: Any) -> ChatResponse | Fault:
        """As `AnswerReader.whole`."""
        if not isinstance(data, Mapping) or not (_KNOWN & data.keys()):
            raise ValueError("it is no answer of a chat")
        return collected(self._pieces(data), raw=data, asked_model=self._asked_model)

    def _pieces(self, line: Mapping[str, Any]) -> Iterator[Piece]:
        if line.get("error"):
            yield fault(line)
            return
        if not self._is_told and (model := text_of(line, "model")):
            self._is_told = True
            yield About(model)
        message = inner(line, "message")
        if thought := text_of(message, "thinking"):
            yield Reasoning(thought)
        if text := text_of(message, "content"):
            yield Text(text)
        for call in objects(message.get("tool_calls")):
            yield from self._call(call)
        if line.get("done") is True:
            if usage := usage_of(count(line.get("prompt_eval_count")), count(line.get("eval_count"))):
                yield usage
            reason = text_of(line, "done_reason") or "stop"
            yield Finish("tool_calls" if reason == "stop" and self._calls else reason)
            yield Done()

    def _call(self, call: Mapping[str, Any]) -> Iterator[Piece]:
        function = inner(call, "function")
        if name := text_of(function, "name"):
            number, self._calls = self._calls, self._calls + 1
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else dump_json(arguments or {})
            yield ToolCall(number, text_or_empty(call.get("id")) or f"call_{number}", name, text)


def fault(line: Mapping[str, Any]) -> Fault:
    """An error of Ollama is a text; in the middle of a stream it comes without a status."""
    return Fault(line, count(line.get("status_code")))
