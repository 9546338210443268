"""Google's generateContent: what is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.gemini import GeminiContent
from innkeeper.nodes.services.llm.wire import Fault, Finish, Piece, Text, Usage

PROTOCOL = GeminiContent()
PNG = "iVBORw0KGgo="


def body_of(*messages: dict[str, Any], **fields: Any) -> Any:
    request = ChatRequest("https://h", "g", list(messages) or [{"role": "user", "content": "Hi"}], **fields)
    return PROTOCOL.request(request, stream=False).body


def events(*data: dict[str, Any]) -> list[Piece]:
    reader = PROTOCOL.reader(ChatRequest(model="g"))
    return [piece for item in data for piece in reader.event("message", json.dumps(item))]


def candidate(finish: str | None = None, *parts: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"content": {"parts": list(parts)}, "finishReason": finish, "index": index}


@pytest.mark.parametrize(
    ("base_url", "model", "url"),
    [
        ("https://h", "gemini-pro", "https://h/v1beta/models/gemini-pro:generateContent"),
        ("https://h/v1beta/", "models/gemini-pro", "https://h/v1beta/models/gemini-pro:generateContent"),
        ("https://h/v1beta/openai", "gemini-pro", "https://h/v1beta/models/gemini-pro:generateContent"),
        ("https://h/v1", "tunedModels/mine-1", "https://h/v1/tunedModels/mine-1:generateContent"),
    ],
)
def test_addresses(base_url: str, model: str, url: str) -> None:
    ask = ChatRequest(base_url, model, [{"role": "user", "content": "Hi"}], "k")
    sent = PROTOCOL.request(ask, stream=False)
    assert (sent.url, sent.headers) == (url, {"x-goog-api-key": "k", "Accept": "application/json"})
    streamed = PROTOCOL.request(ask, stream=True).url
    assert streamed == url.replace("generateContent", "streamGenerateContent?alt=sse")


@pytest.mark.parametrize("model", ["../../v1/secrets", "a/b/c", "..", "a?x=1", "a#b", "", "a b", "models/", "é"])
def test_a_model_cannot_choose_another_path(model: str) -> None:
    with pytest.raises(NodeInputError, match="no name of a model"):
        PROTOCOL.request(ChatRequest("https://h", model, [{"role": "user", "content": "Hi"}]), stream=True)


def test_a_conversation_becomes_contents() -> None:
    call = {
        **{"id": "fc1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        "extra_content": {"google": {"thought_signature": "c2ln"}},
    }
    body = body_of(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "there"},
        {"role": "assistant", "content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "fc1", "content": "blue"},
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    function = {"functionCall": {"name": "look", "args": {"a": 1}, "id": "fc1"}, "thoughtSignature": "c2ln"}
    result = {"functionResponse": {"name": "look", "response": {"output": "blue"}, "id": "fc1"}}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "there"}]},
        {"role": "model", "parts": [{"text": "Hm."}, function]},
        {"role": "user", "parts": [result]},
    ]


@pytest.mark.parametrize(
    ("content", "is_error", "response"),
    [
        ('{"a": 1}', False, {"a": 1}),
        ("[1]", False, {"output": [1]}),
        ("no", True, {"error": "no"}),
        ("", False, {"output": ""}),
    ],
)
def test_results_of_tools_are_objects(content: str, is_error: bool, response: Any) -> None:
    message = {"role": "tool", "tool_call_id": "x", "name": "look", "content": content, "is_error": is_error}
    assert body_of(message)["contents"][0]["parts"][0]["functionResponse"]["response"] == response


def test_calls_of_a_whole_answer_can_be_sent_back() -> None:
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": "look", "args": {"a": 1}, "id": "fc1"}, "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "clock", "args": {}}},
    ]
    answer = PROTOCOL.reader(ChatRequest()).whole({"candidates": [candidate("STOP", *parts)]})
    assert isinstance(answer, ChatResponse)
    again = body_of({"role": "user", "content": "Hi"}, dict(answer.choices[0]["message"]))
    assert again["contents"][1]["parts"] == parts


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"inlineData": {"mimeType": "image/png", "data": PNG}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mpeg", "data": PNG}},
        ),
        (
            {"type": "file", "file": {"file_data": "gs://bucket/a.pdf", "mime_type": "application/pdf"}},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
        ),
    ],
)
def test_media(part: Any, sent: Any) -> None:
    assert body_of({"role": "user", "content": [part]})["contents"][0]["parts"] == [sent]


def test_media_without_a_type_are_refused() -> None:
    with pytest.raises(NodeInputError, match="whose type is told"):
        body_of({"role": "user", "content": [{"type": "image_url", "image_url": PNG}]})


def test_parameters_get_their_places() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = body_of(
        parameters={
            **{"stop": "END", "top_p": 0.5, "top_k": 4, "seed": 7, "presence_penalty": 1, "reasoning_effort": "low"},
            **{"safetySettings": [{"category": "X"}], "generationConfig": {"mediaResolution": "HIGH"}, "user": "ann"},
            "tools": [{"type": "function", "function": {"name": "look", "parameters": schema}}, {"googleSearch": {}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
        }
    )
    assert body["generationConfig"] == {
        **{"stopSequences": ["END"], "topP": 0.5, "topK": 4, "seed": 7, "presencePenalty": 1},
        **{"mediaResolution": "HIGH", "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}},
    }
    assert body["safetySettings"] == [{"category": "X"}]
    declared = {"name": "look", "parametersJsonSchema": schema}
    assert body["tools"] == [{"functionDeclarations": [declared]}, {"googleSearch": {}}]
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["look"]}
    assert "user" not in body


def test_a_schema_is_sent_as_json_schema() -> None:
    schema = {"type": "object", "additionalProperties": False}
    body = body_of(response_schema=schema, traits=ChannelTraits(structured="json_schema"))
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
    ],
)
def test_reasons_to_stop(reason: str, word: str) -> None:
    assert events({"candidates": [candidate(reason)]}) == [Finish(word)]


def test_a_blocked_prompt_is_no_empty_answer() -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    usage, fault = events(body)
    assert usage == Usage({"prompt_tokens": 4, "total_tokens": 4})
    assert isinstance(fault, Fault)
    assert fault.body["error"] == {"code": "refusal", "message": "the prompt was blocked: SAFETY"}
    assert PROTOCOL.reader(ChatRequest()).whole(body) == fault


def test_other_candidates_do_not_mix_in() -> None:
    both = {"candidates": [candidate("STOP", {"text": "no"}, index=1), candidate("STOP", {"text": "yes"})]}
    assert events(both) == [Text("yes"), Finish("stop")]
    assert events({"candidates": [candidate("STOP", {"text": "no"}, index=1)]}) == []


def test_an_error_stands_for_its_status() -> None:
    body = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    assert events(body) == [Fault(body, 503)]
    assert PROTOCOL.reader(ChatRequest()).whole([body]) == Fault(body, 503)


def test_a_list_of_answers_is_a_stream_without_sse() -> None:
    answers = [{"candidates": [candidate(None, {"text": "Hel"})]}, {"candidates": [candidate("STOP", {"text": "lo"})]}]
    answer = PROTOCOL.reader(ChatRequest()).whole(answers)
    assert isinstance(answer, ChatResponse)
    assert (answer.text, answer.finish_reason, answer.raw_response) == ("Hello", "stop", {"answers": answers})


def test_tokens_of_thoughts_and_tools_are_counted() -> None:
    told = {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "toolUsePromptTokenCount": 3}
    (usage,) = events({"usageMetadata": told})
    assert usage == Usage(
        {
            **{"prompt_tokens": 13, "completion_tokens": 12, "total_tokens": 25},
            "completion_tokens_details": {"reasoning_tokens": 7},
        }
    )
