"""Google's generateContent, of the Gemini API and of servers that speak it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import InvalidJson, dump_json, read_json
from innkeeper.nodes.node import ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import (
    collected,
    event_object,
    inner,
    listed_models,
    objects,
    refusal,
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
    wants_json,
)
from innkeeper.nodes.services.llm.endpoints import accepting, model_path, versioned, without
from innkeeper.nodes.services.llm.messages import (
    MediaPart,
    Message,
    Part,
    TextPart,
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

VERSION = "v1beta"
OWN_CALL = "innkeeper_call_"
"""Begins the id of a call that Gemini gave none; such an id is not sent back."""
_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("ESCALATION", "PUP_LIMITED_DISABLED", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}
_RENAMED = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "max_output_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "stop_sequences": "stopSequences",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_OF_THE_REQUEST = frozenset(
    {"safetySettings", "safety_settings", "cachedContent", "labels", "serviceTier", "store", "toolConfig"}
)
"""Fields that stand beside `generationConfig`, where all others belong."""
_WITHOUT_FORM = frozenset(
    {
        *("n", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user"),
        *("logit_bias", "stream_options", "repetition_penalty", "min_p", "modalities", "prediction", "verbosity"),
        "generationConfig",
    }
)


class GeminiContent:
    name = "gemini"
    display_name = "Google Gemini"
    framing: Framing = "sse"
    remote_media = (
        *("gs://", "https://generativelanguage.googleapis.com/"),
        *("https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/"),
    )

    def request(self, ask: ChatRequest, *, stream: bool) -> WireRequest:
        """As `WireProtocol.request`."""
        system, turns = split_system(read_messages(ask.messages))
        body: dict[str, Any] = {"contents": _contents(turns, ask), **_parameters(ask)}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        method, query = ("streamGenerateContent", {"alt": "sse"}) if stream else ("generateContent", {})
        url = _base(ask.base_url).with_path(f"/{model_path(ask.model)}:{method}", query)
        return WireRequest(url, {**_headers(ask.api_key), **accepting(stream)}, body)

    def reader(self, ask: ChatRequest) -> GeminiReader:
        return GeminiReader(ask.model)

    def models_request(self, base_url: str, api_key: str) -> WireRequest:
        return WireRequest(_base(base_url).with_path("/models", {"pageSize": "1000"}), _headers(api_key))

    def models(self, data: Any) -> tuple[Mapping[str, Any], ...]:
        named = (model for model in listed_models(data, "models") if text_of(model, "name"))
        return tuple({"id": model["name"].removeprefix("models/"), **model} for model in named)


def _base(base_url: str) -> BaseUrl:
    return versioned(without(base_url_of(base_url), "/openai"), VERSION)


def _headers(api_key: str) -> dict[str, str]:
    # Never as `?key=`: addresses stand in logs.
    return {"x-goog-api-key": api_key} if api_key else {}


# --- request ----------------------------------------------------------------------------------------------------------


def _parameters(ask: ChatRequest) -> dict[str, Any]:
    given = shaped(ask.parameters, ask.traits)
    one_answer_only(given, "gemini")
    found = renamed(given, _RENAMED, left_out=_WITHOUT_FORM)
    beside = {key: found.pop(key) for key in _OF_THE_REQUEST & found.keys()}
    config = {**found, **inner(given, "generationConfig"), **_output(ask, given)}
    if "stopSequences" in config:
        config["stopSequences"] = stop_list(config["stopSequences"])
    if given.get("reasoning_effort") is not None:
        # Without `includeThoughts` the thoughts are paid for and not told.
        thinking = {"thinkingLevel": given["reasoning_effort"], "includeThoughts": True}
        config.setdefault("thinkingConfig", thinking)
    return beside | _tools(given) | ({"generationConfig": config} if config else {})


def _output(ask: ChatRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    schema = schema_asked(ask, given)
    if schema is not None:
        # Not `responseSchema`, which takes a part of JSON Schema only.
        return {"responseMimeType": "application/json", "responseJsonSchema": schema}
    return {"responseMimeType": "application/json"} if wants_json(ask, given) else {}


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    tools = given.get("tools")
    if not isinstance(tools, list) or not tools:
        return {}
    functions = [_declaration(function) for tool in tools if (function := function_of(tool)) is not None]
    own = [tool for tool in tools if function_of(tool) is None]
    found: dict[str, Any] = {"tools": [*([{"functionDeclarations": functions}] if functions else []), *own]}
    choice, name = tool_choice_of(given)
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY", "function": "ANY"}.get(choice)
    if mode and functions:
        names = {"allowedFunctionNames": [name]} if name else {}
        found["toolConfig"] = {"functionCallingConfig": {"mode": mode, **names}}
    return found


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: function[key] for key in ("name", "description") if function.get(key) is not None}
    schema = function.get("parameters")
    return kept | ({"parametersJsonSchema": schema} if isinstance(schema, Mapping) and schema else {})


def _contents(messages: Iterable[Message], ask: ChatRequest) -> list[dict[str, Any]]:
    """Turns of user and model by turns; what has no content is left out."""
    contents: list[dict[str, Any]] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        _add(contents, role, [item for part in spoken(message).parts for item in _part(part)])
    if not contents:
        raise NodeInputError("'messages' holds no text: there is nothing to answer")
    if ask.prefix and ask.traits.prefix == "trailing":
        _add(contents, "model", [{"text": ask.prefix}])
    return contents


def _add(contents: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    if not parts:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _part(part: Part) -> Iterator[dict[str, Any]]:
    match part:
        case TextPart(text):
            if text:
                yield {"text": text}
        case MediaPart():
            yield _media(part)
        case ToolUse():
            call = {"functionCall": {"name": part.name, "args": part.argument_object(), **_id(part.id)}}
            yield call | ({"thoughtSignature": part.signature} if part.signature else {})
        case ToolResult():
            yield {"functionResponse": {"name": part.name, "response": _result(part), **_id(part.id)}}
            # A result holds JSON only: its media stand behind it.
            yield from (_media(item) for item in part.parts if isinstance(item, MediaPart))


def _id(id_: str) -> dict[str, str]:
    return {} if not id_ or id_.startswith(OWN_CALL) else {"id": id_}


def _result(part: ToolResult) -> dict[str, Any]:
    try:
        value = read_json(part.text)
    except InvalidJson:
        value = part.text
    return {"error": value} if part.is_error else value if isinstance(value, dict) else {"output": value}


def _media(part: MediaPart) -> dict[str, Any]:
    mime = {"mimeType": part.mime} if part.mime else {}
    if part.url or part.file_id:
        return {"fileData": {**mime, "fileUri": part.url or part.file_id}}
    if not part.mime:
        raise unsupported(part, "gemini", "media whose type is told, as in 'data:image/png;base64,...'")
    return {"inlineData": {**mime, "data": part.data}}


# --- answer -----------------------------------------------------------------------------------------------------------


class GeminiReader:
    """Reads one answer (`AnswerReader`). Each event is a whole answer with the next piece of the text."""

    def __init__(self, asked_model: str) -> None:
        self._asked_model = asked_model
        self._calls = 0
        self._about = About()
        self._usage: Usage | None = None

    def event(self, name: str, data: str) -> Iterable[Piece]:
        """As `AnswerReader.event`."""
        return list(self._pieces(event_object(data)))

    def whole(self, data: Any) -> ChatResponse | Fault:
        """As `AnswerReader.whole`. Without `alt=sse` a stream is a list of answers."""
        answers = list(objects(data)) if isinstance(data, list) else [data] if isinstance(data, Mapping) else []
        known = ("candidates", "promptFeedback", "error", "usageMetadata")
        if not answers or not any(key in answer for answer in answers for key in known):
            raise ValueError("it is no answer of generateContent")
        pieces = [piece for answer in answers for piece in self._pieces(answer)]
        return collected(pieces, raw=data, asked_model=self._asked_model)

    def _pieces(self, answer: Mapping[str, Any]) -> Iterator[Piece]:
        if "error" in answer:
            yield fault(answer)
            return
        about = About(text_of(answer, "modelVersion"), text_of(answer, "responseId"))
        if about not in (About(), self._about):
            self._about = about
            yield about
        candidate = next((item for item in objects(answer.get("candidates")) if not item.get("index")), {})
        for part in objects(inner(candidate, "content").get("parts")):
            yield from self._part(part)
        usage = _usage(inner(answer, "usageMetadata"))
        if usage and usage != self._usage:
            self._usage = usage
            yield usage
        yield from self._end(answer, candidate)

    def _end(self, answer: Mapping[str, Any], candidate: Mapping[str, Any]) -> Iterator[Piece]:
        blocked = text_of(inner(answer, "promptFeedback"), "blockReason")
        reason = text_of(candidate, "finishReason")
        if blocked and not candidate:
            told = text_of(inner(answer, "promptFeedback"), "blockReasonMessage")
            yield refusal(f"the prompt was blocked: {blocked}{f' ({told})' if told else ''}")
        elif reason and reason != "FINISH_REASON_UNSPECIFIED":
            word = _FINISH.get(reason, reason)
            yield Finish("tool_calls" if word == "stop" and self._calls else word)

    def _part(self, part: Mapping[str, Any]) -> Iterator[Piece]:
        if text := text_of(part, "text"):
            yield Reasoning(text) if part.get("thought") is True else Text(text)
        call = inner(part, "functionCall")
        if name := text_of(call, "name"):
            number, self._calls = self._calls, self._calls + 1
            id_, arguments = text_of(call, "id") or f"{OWN_CALL}{number}", dump_json(inner(call, "args"))
            yield ToolCall(number, id_, name, arguments, text_of(part, "thoughtSignature"))


def _usage(told: Mapping[str, Any]) -> Usage | None:
    """Their count of the answer leaves out the thoughts; ours holds them. Results of their own tools are prompt."""
    prompt, answer = count(told.get("promptTokenCount")), count(told.get("candidatesTokenCount"))
    thoughts, tools = count(told.get("thoughtsTokenCount")), count(told.get("toolUsePromptTokenCount"))
    return usage_of(
        None if prompt is None else prompt + (tools or 0),
        None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0),
        total=count(told.get("totalTokenCount")),
        cached=count(told.get("cachedContentTokenCount")),
        reasoning=thoughts,
    )


def fault(answer: Mapping[str, Any]) -> Fault:
    status = count(inner(answer, "error").get("code"))
    return Fault(answer, status if status is not None and 400 <= status < 600 else None)
