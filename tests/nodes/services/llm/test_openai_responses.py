"""OpenAI's Responses API: what is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.openai_responses import OpenAIResponses
from innkeeper.nodes.services.llm.wire import Done, Fault, Finish, Piece, Text, ToolCall

PROTOCOL = OpenAIResponses()
PNG = "iVBORw0KGgo="


def body_of(*messages: dict[str, Any], **fields: Any) -> Any:
    request = ChatRequest("https://h/v1", "gpt", list(messages) or [{"role": "user", "content": "Hi"}], **fields)
    return PROTOCOL.request(request, stream=False).body


def events(*data: dict[str, Any] | str) -> list[Piece]:
    reader = PROTOCOL.reader(ChatRequest(model="gpt"))
    texts = (item if isinstance(item, str) else json.dumps(item) for item in data)
    return [piece for text in texts for piece in reader.event("message", text)]


@pytest.mark.parametrize("base_url", ["https://h/v1", "https://h/v1/responses", "https://h/v1/chat/completions/"])
def test_the_request_names_itself_and_its_key(base_url: str) -> None:
    ask = ChatRequest(base_url, "m", [{"role": "user", "content": "Hi"}], "k", idempotency_key="once")
    sent = PROTOCOL.request(ask, stream=True)
    assert sent.url == "https://h/v1/responses"
    assert sent.headers == {
        **{"Authorization": "Bearer k", "Idempotency-Key": "once"},
        "Accept": "text/event-stream",
    }
    assert sent.body is not None
    assert (sent.body["stream"], sent.body["store"]) == (True, False)


def test_a_conversation_becomes_items() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    thought = {"type": "reasoning", "id": "r1", "summary": [{"text": "hm"}], "encrypted_content": "e"}
    body = body_of(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Hm.", "tool_calls": [call], "thinking_blocks": [thought]},
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
    )
    assert body["instructions"] == "Be kind."
    summary = [{"type": "summary_text", "text": "hm"}]
    assert body["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "r1", "summary": summary, "encrypted_content": "e"},
        {"role": "assistant", "content": "Hm."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "blue"},
    ]


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
            {"type": "input_image", "detail": "low", "image_url": "https://x.example/a.png"},
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"},
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, {"type": "input_file", "file_id": "file-1"}),
    ],
)
def test_media(part: Any, sent: Any) -> None:
    assert body_of({"role": "user", "content": [part]})["input"][0]["content"] == [sent]


def test_recordings_of_another_type_are_refused() -> None:
    part = {"type": "input_audio", "input_audio": {"data": PNG, "format": "flac"}}
    with pytest.raises(NodeInputError, match="takes no audio of type audio/flac"):
        body_of({"role": "user", "content": [part]})


def test_parameters_get_their_places() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    function = {"name": "look", "parameters": schema}
    body = body_of(
        parameters={
            **{"reasoning_effort": "low", "verbosity": "high", "response_format": form, "stop": "x", "seed": 1},
            **{"tools": [{"type": "function", "function": function}], "reasoning": {"summary": "auto"}},
            "tool_choice": {"type": "function", "function": {"name": "look"}},
        }
    )
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["text"]["verbosity"] == "high"
    assert body["text"]["format"] == {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}
    # Functions are strict here when nothing is told, unlike those of chat completions.
    assert body["tools"] == [{"type": "function", **function, "strict": False}]
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert not {"stop", "seed", "response_format"} & body.keys()


def test_json_of_any_form() -> None:
    asked = {"response_schema": {"type": "object"}, "traits": ChannelTraits(structured="json_object")}
    assert body_of(**asked)["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "error", "code": "server_error", "message": "no", "param": None}, "no"),
        ({"type": "error", "error": {"code": "server_error", "message": "no"}}, "no"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "no"}}}, "no"),
    ],
)
def test_errors_of_a_stream_in_all_their_forms(event: Any, message: str) -> None:
    (fault,) = events(event)
    assert isinstance(fault, Fault)
    assert fault.body["error"]["message"] == message
    assert fault.status == 500


def test_a_refusal_is_no_empty_answer() -> None:
    content = [{"type": "refusal", "refusal": "I will not."}]
    whole = {"output": [{"type": "message", "content": content}], "status": "completed"}
    for found in (
        PROTOCOL.reader(ChatRequest()).whole(whole),
        *events(
            {"type": "response.refusal.delta", "delta": "I will"},
            {"type": "response.refusal.delta", "delta": " not."},
            {"type": "response.completed", "response": {"output": []}},
        ),
    ):
        assert found == Fault({"error": {"code": "refusal", "message": "I will not."}})


def test_a_server_that_tells_all_at_the_end_is_read_too() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    text = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    end = {"type": "response.completed", "response": {"output": [text, call], "status": "completed"}}
    assert events(end) == [
        *(ToolCall(0, "c", "look"), ToolCall(0, arguments="{}")),
        *(Text("Hi"), Finish("tool_calls"), Done()),
    ]


@pytest.mark.parametrize(
    ("reason", "word"), [("content_filter", "content_filter"), ("steered", "steered"), ("", "length")]
)
def test_reasons_why_an_answer_is_not_complete(reason: str, word: str) -> None:
    end = {"status": "incomplete", "incomplete_details": {"reason": reason} if reason else None}
    assert Finish(word) in events({"type": "response.incomplete", "response": end})


def test_done_of_servers_that_send_it() -> None:
    assert events("[DONE]") == [Done()]


def test_thoughts_of_a_whole_answer_can_be_sent_back() -> None:
    item = {
        "type": "reasoning",
        "id": "r",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "e",
    }
    text = {"type": "message", "content": [{"type": "output_text", "text": "x"}]}
    answer = PROTOCOL.reader(ChatRequest()).whole({"output": [item, text], "status": "completed"})
    assert isinstance(answer, ChatResponse)
    again = body_of({"role": "user", "content": "Hi"}, dict(answer.choices[0]["message"]))
    assert again["input"][1] == item
