"""The protocol of chat completions, as pure translation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.wire import (
    About,
    Done,
    Fault,
    Finish,
    Piece,
    Reasoning,
    Text,
    ToolCall,
    Usage,
    WireRequest,
)

PROTOCOL = OpenAIChat()
HI = [{"role": "user", "content": "Hi"}]


def request(*, stream: bool = True, base_url: str = "https://h/v1", **fields: Any) -> WireRequest:
    return PROTOCOL.request(ChatRequest(base_url, "m", HI, **fields), stream=stream)


def body(**fields: Any) -> dict[str, Any]:
    return dict(request(**fields).body or {})


def read(*events: Any, name: str = "message") -> list[Piece]:
    reader = PROTOCOL.reader(ChatRequest(model="asked"))
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [piece for text in texts for piece in reader.event(name, text)]


def choice(delta: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **fields}]}


def whole(message: Any = None, **fields: Any) -> ChatResponse | Fault:
    data = {"choices": [{"message": message, "finish_reason": "stop", **fields}]}
    return PROTOCOL.reader(ChatRequest(model="asked")).whole(data)


def test_the_key_travels_as_the_server_wants_it_without_white_space() -> None:
    assert request(api_key=" k \n").headers["Authorization"] == "Bearer k"
    azure = request(api_key="k", base_url="https://x/openai/deployments/d?api-version=1")
    assert azure.headers["api-key"] == "k"
    assert "Authorization" not in azure.headers
    assert azure.url == "https://x/openai/deployments/d/chat/completions?api-version=1"
    assert "Authorization" not in request(api_key="  ").headers


def test_parameters_never_replace_what_the_request_says() -> None:
    parameters = {"model": "other", "messages": [], "stream": False, "stop": ["a"], "temperature": None}
    assert body(parameters=parameters) == {"model": "m", "messages": HI, "stream": True, "stop": ["a"]}


def test_usage_of_streams_is_asked_for_where_the_channel_says_so_and_never_of_a_whole_answer() -> None:
    traits = ChannelTraits(defaults={"stream_options": {"include_usage": True}})
    assert "stream_options" not in body()
    assert body(traits=traits)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(traits=traits, stream=False)


@pytest.mark.parametrize(
    ("kind", "message", "more"),
    [
        ("none", None, {}),
        ("trailing", {"role": "assistant", "content": "So"}, {}),
        ("prefix", {"role": "assistant", "content": "So", "prefix": True}, {}),
        ("partial", {"role": "assistant", "content": "So", "partial": True}, {}),
        (
            "continue_final_message",
            {"role": "assistant", "content": "So"},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
    ],
)
def test_the_beginning_of_an_answer_is_sent_as_the_channel_takes_it(kind: Any, message: Any, more: Any) -> None:
    sent = body(prefix="So", traits=ChannelTraits(prefix=kind))
    assert sent == {"model": "m", "messages": [*HI, *([message] if message else [])], "stream": True, **more}
    assert body(traits=ChannelTraits(prefix=kind)) == {"model": "m", "messages": HI, "stream": True}


def test_a_schema_is_sent_in_the_form_that_the_model_knows() -> None:
    schema = {"type": "object"}
    forms = {
        kind: body(response_schema=schema, traits=ChannelTraits(structured=kind)).get("response_format")
        for kind in ("none", "json_object", "json_schema")
    }
    assert forms == {
        "none": None,
        "json_object": {"type": "json_object"},
        "json_schema": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }
    own = body(
        response_schema=schema,
        traits=ChannelTraits(structured="json_schema"),
        parameters={"response_format": {"type": "text"}},
    )
    assert own["response_format"] == {"type": "text"}


def test_a_base_url_that_is_none_is_refused() -> None:
    with pytest.raises(NodeInputError, match="base_url"):
        request(base_url="h/v1")


@pytest.mark.parametrize(
    ("event", "pieces"),
    [
        ("[DONE]", [Done()]),
        (" [DONE] ", [Done()]),
        (": OPENROUTER PROCESSING", []),
        ("null", []),
        ("[1]", []),
        ("{}", []),
        ({"type": "ping"}, []),
        ({"choices": None}, []),
        ({"choices": []}, []),
        ({"choices": [None, 7]}, []),
        ({"choices": {}}, []),
        (choice(None), []),
        (choice([]), []),
        (choice({"content": 7}), []),
        (choice({"content": ""}), []),
        (choice({"content": "a"}), [Text("a")]),
        (choice(finish_reason=""), []),
        (choice({"content": "a"}, finish_reason="stop"), [Text("a"), Finish("stop")]),
        ({"choices": [{"delta": {"content": "a"}}]}, [Text("a")]),
        ({"choices": [{"index": 1, "delta": {"content": "b"}}]}, []),
        ({"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}, [Text("a")]),
        ({"choices": [{"index": 0, "message": {"content": "a"}}]}, [Text("a")]),
        (choice({"reasoning_content": "r", "content": None}), [Reasoning("r")]),
        (choice({"reasoning": "r", "reasoning_details": [{"text": "r"}]}), [Reasoning("r")]),
        (choice({"reasoning_details": [{"type": "reasoning.text", "text": "r"}, 7]}), [Reasoning("r")]),
        (
            choice(
                {"content": [{"type": "thinking", "thinking": [{"text": "r"}]}, {"type": "text", "text": "a"}, "b"]}
            ),
            [Reasoning("r"), Text("a"), Text("b")],
        ),
        (choice({"content": [{"type": "image_url"}, 7, None]}), []),
        ({"usage": {"prompt_tokens": 1}}, [Usage({"prompt_tokens": 1})]),
        ({"usage": {"prompt_tokens": "1"}}, []),
        (
            {"usage": {"prompt_tokens": 3.0, "completion_tokens": 4, "cost": 0.1, "prompt_cache_hit_tokens": 2}},
            [
                Usage(
                    {
                        "prompt_tokens": 3,
                        "completion_tokens": 4,
                        "total_tokens": 7,
                        "prompt_tokens_details": {"cached_tokens": 2},
                    }
                )
            ],
        ),
        ({"id": "i", "model": "m", "choices": []}, [About("m", "i")]),
        (choice(finish_reason="function_call"), [Finish("tool_calls")]),
        (choice(finish_reason="MAX_TOKENS"), [Finish("length")]),
        (choice(finish_reason="odd"), [Finish("odd")]),
        (choice(finish_reason="x" * 999), [Finish("x" * 100)]),
    ],
)
def test_an_event_becomes_pieces(event: Any, pieces: list[Piece]) -> None:
    assert read(event) == pieces


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "m"}},
        {"error": "text"},
        {"detail": "text"},
        {"object": "error", "message": "m"},
        {"choices": [], "error": {"code": 502}},
        choice({"content": ""}, finish_reason="error", error={"code": 502}),
        choice(finish_reason="error"),
        choice(finish_reason="insufficient_system_resource"),
        choice({"refusal": "I will not"}, finish_reason="stop"),
    ],
)
def test_an_event_that_tells_of_an_error_is_a_fault(event: Any) -> None:
    assert [type(piece) for piece in read(event)] == [Fault]


def test_an_event_named_error_is_a_fault_whatever_it_holds() -> None:
    assert read({"message": "crashed"}, name="error") == [Fault({"message": "crashed"})]


def test_a_refusal_in_pieces_is_told_whole() -> None:
    (fault,) = read(choice({"refusal": "I will"}), choice({"refusal": " not"}), choice(finish_reason="stop"))
    assert fault == Fault({"error": {"message": "I will not", "code": "refusal"}})


@pytest.mark.parametrize("text", ["{oops", "{", "nothing", '{"a": ' + "[" * 100_000])
def test_an_event_that_is_no_json_is_none_of_this_protocol(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|column"):
        read(text)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # Neither index nor id.
        (
            [
                [{"function": {"name": "f", "arguments": ""}}],
                [{"function": {"arguments": "{"}}],
                [{"function": {"arguments": "}"}}],
            ],
            [ToolCall(0, "", "f", ""), ToolCall(0, "", "", "{"), ToolCall(0, "", "", "}")],
        ),
        # Two calls that are told in turn.
        (
            [
                [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}],
                [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "2"}}],
                [{"index": 0, "function": {"arguments": "3"}}],
            ],
            [ToolCall(0, "a", "f", "1"), ToolCall(1, "b", "g", "2"), ToolCall(0, "", "", "3")],
        ),
        # Two calls with the same index.
        (
            [
                [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}],
                [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "2"}}],
                [{"index": 0, "function": {"arguments": "3"}}],
            ],
            [ToolCall(0, "a", "f", "1"), ToolCall(1, "b", "g", "2"), ToolCall(1, "", "", "3")],
        ),
        # An object in place of a JSON text, and what is no call.
        ([[{"function": {"name": "f", "arguments": {"a": 1}}}, 7, {}]], [ToolCall(0, "", "f", '{"a":1}')]),
    ],
)
def test_pieces_of_tool_calls_belong_to_their_call(events: Any, expected: list[ToolCall]) -> None:
    assert read(*(choice({"tool_calls": calls}) for calls in events)) == expected


def test_a_whole_answer_has_text_reasoning_tools_and_usage() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    found = whole({"content": [{"type": "text", "text": "a"}], "reasoning_content": "r", "tool_calls": [call]})
    assert isinstance(found, ChatResponse)
    assert (found.text, found.reasoning, found.finish_reason, found.model) == ("a", "r", "stop", "asked")
    assert found.tool_calls == ({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},)


@pytest.mark.parametrize("data", [None, [], "text", {}, {"choices": None}, {"ok": True}])
def test_what_is_no_chat_completion_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="no chat completion"):
        PROTOCOL.reader(ChatRequest()).whole(data)


def test_a_list_of_models_leaves_out_what_is_none() -> None:
    assert PROTOCOL.models({"data": [{"id": "a"}, {"id": 7}, None]}) == ({"id": "a"},)
    with pytest.raises(ValueError, match="no list"):
        PROTOCOL.models({"data": {}})
