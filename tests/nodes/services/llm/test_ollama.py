"""Ollama's own chat: what is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest
from innkeeper.nodes.services.llm.ollama import OllamaChat
from innkeeper.nodes.services.llm.wire import Done, Fault, Finish, Piece, ToolCall

PROTOCOL = OllamaChat()
PNG = "iVBORw0KGgo="


def body_of(*messages: dict[str, Any], **fields: Any) -> Any:
    request = ChatRequest("http://h:11434", "l", list(messages) or [{"role": "user", "content": "Hi"}], **fields)
    return PROTOCOL.request(request, stream=False).body


def lines(*data: dict[str, Any]) -> list[Piece]:
    reader = PROTOCOL.reader(ChatRequest(model="l"))
    return [piece for item in data for piece in reader.event("message", json.dumps(item))]


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/api", "/api/chat", "/v1/chat/completions"])
def test_base_urls_as_people_paste_them(ending: str) -> None:
    ask = ChatRequest(f"http://h:11434{ending}", "l", [{"role": "user", "content": "Hi"}])
    sent = PROTOCOL.request(ask, stream=True)
    assert sent.url == "http://h:11434/api/chat"
    assert sent.headers == {"Accept": "application/x-ndjson"}
    assert sent.body is not None
    assert sent.body["stream"] is True


def test_a_conversation() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    body = body_of(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What"}, image, {"type": "text", "text": "is it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What\nis it?", "images": [PNG]},
        {
            **{"role": "assistant", "content": "", "thinking": "hm"},
            "tool_calls": [{"function": {"name": "look", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "blue", "tool_name": "look"},
    ]
    assert body["stream"] is False


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
        {"type": "file", "file": {"file_data": PNG}},
    ],
)
def test_what_is_no_image_of_bytes_is_refused(part: Any) -> None:
    with pytest.raises(NodeInputError, match=r"messages\[0\]\.content\[0\].*it takes images"):
        body_of({"role": "user", "content": [part]})


def test_parameters_get_their_places() -> None:
    body = body_of(
        parameters={
            **{"max_tokens": 9, "stop": "END", "temperature": 0.5, "seed": 7, "repetition_penalty": 1.1},
            **{"keep_alive": "5m", "options": {"num_ctx": 8192}, "reasoning_effort": "high", "user": "ann"},
            "response_format": {"type": "json_object"},
        }
    )
    assert body["options"] == {
        **{"num_predict": 9, "stop": ["END"], "temperature": 0.5, "seed": 7, "repeat_penalty": 1.1, "num_ctx": 8192}
    }
    assert (body["keep_alive"], body["think"], body["format"]) == ("5m", "high", "json")
    assert "user" not in json.dumps(body["options"])


def test_a_schema_is_the_format() -> None:
    schema = {"type": "object"}
    assert body_of(response_schema=schema, traits=ChannelTraits(structured="json_schema"))["format"] == schema


def test_no_effort_turns_thinking_off() -> None:
    assert body_of(parameters={"reasoning_effort": "none"})["think"] is False
    assert body_of(parameters={"reasoning_effort": "none", "think": True})["think"] is True


def test_an_error_is_a_line_of_the_stream() -> None:
    assert lines({"error": "an error was encountered"}) == [Fault({"error": "an error was encountered"})]
    body = {"error": "model 'l' not found"}
    assert PROTOCOL.reader(ChatRequest()).whole(body) == Fault(body)


def test_old_servers_tell_no_reason() -> None:
    assert lines({"message": {"content": ""}, "done": True}) == [Finish("stop"), Done()]


def test_calls_of_tools_keep_their_ids_and_get_one_else() -> None:
    calls = [
        {"id": "a", "function": {"name": "x", "arguments": {}}},
        {"function": {"name": "y", "arguments": {"b": 1}}},
    ]
    assert lines({"message": {"tool_calls": calls[:1]}}, {"message": {"tool_calls": calls[1:]}}) == [
        ToolCall(0, "a", "x", "{}"),
        ToolCall(0 + 1, "call_1", "y", '{"b":1}'),
    ]
