"""Anthropic's Messages API: what is its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.anthropic import OPENING, AnthropicMessages
from innkeeper.nodes.services.llm.wire import Fault, Finish, Piece, Text, ToolCall, Usage

PROTOCOL = AnthropicMessages()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()


def body_of(*messages: tuple[str, Any] | dict[str, Any], **fields: Any) -> Any:
    plain = [item if isinstance(item, dict) else {"role": item[0], "content": item[1]} for item in messages]
    request = ChatRequest("https://h", "claude", plain or [{"role": "user", "content": "Hi"}], **fields)
    return PROTOCOL.request(request, stream=False).body


def turns(*messages: tuple[str, Any] | dict[str, Any], **fields: Any) -> list[tuple[str, list[str]]]:
    """Role, and what each block holds."""
    body = body_of(*messages, **fields)
    return [
        (turn["role"], [block.get("text", block["type"]) for block in turn["content"]]) for turn in body["messages"]
    ]


def events(*data: dict[str, Any]) -> list[Piece]:
    reader = PROTOCOL.reader(ChatRequest(model="claude"))
    return [piece for item in data for piece in reader.event("message", json.dumps(item))]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://other.example/anthropic", "https://other.example/anthropic/v1/messages"),
    ],
)
def test_base_urls_as_people_paste_them(base_url: str, url: str) -> None:
    sent = PROTOCOL.request(ChatRequest(base_url, "m", [{"role": "user", "content": "Hi"}], "k"), stream=True)
    assert sent.url == url
    assert sent.headers == {"anthropic-version": "2023-06-01", "x-api-key": "k", "Accept": "text/event-stream"}
    assert sent.body is not None
    assert sent.body["stream"] is True


def test_the_system_is_told_apart() -> None:
    body = body_of(("system", "Be kind."), ("user", "Hi"))
    assert body["system"] == "Be kind."
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_turns_of_one_role_become_one() -> None:
    said = (("user", "a"), ("user", "b"), ("assistant", "c"), ("system", "d"), ("user", "e"))
    assert turns(*said) == [("user", ["a", "b"]), ("assistant", ["c"]), ("user", ["d", "e"])]


def test_a_history_that_begins_with_the_model_gets_an_opening() -> None:
    """A character's greeting stands first in most histories of role play."""
    assert turns(("assistant", "Welcome!"), ("user", "Hi"))[0] == ("user", [OPENING])


def test_empty_texts_are_left_out() -> None:
    assert turns(("user", ""), ("assistant", " \n"), ("user", ["", "Hi"])) == [("user", ["Hi"])]


def test_results_of_tools_stand_first_in_their_turn() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    body = body_of(
        ("user", "Hi"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        ("user", "wait"),
        {"role": "tool", "tool_call_id": "t1", "content": "blue"},
    )
    assert body["messages"][1]["content"] == [{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}]
    result, text = body["messages"][2]["content"]
    assert result == {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "blue"}]}
    assert text["text"] == "wait"


def test_thoughts_are_sent_back_with_their_signature_only() -> None:
    signed = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]
    said = {"role": "assistant", "content": "x", "thinking_blocks": signed}
    assert body_of(("user", "Hi"), said, ("user", "?"))["messages"][1]["content"][:2] == signed
    unsigned = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    assert turns(("user", "Hi"), unsigned, ("user", "?"))[1] == ("assistant", ["x"])


def test_thoughts_of_a_whole_answer_can_be_sent_back() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "x"}]
    answer = PROTOCOL.reader(ChatRequest()).whole({"content": blocks, "stop_reason": "end_turn"})
    assert isinstance(answer, ChatResponse)
    again = body_of(("user", "Hi"), dict(answer.choices[0]["message"]), ("user", "?"))
    assert again["messages"][1]["content"] == blocks


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "a.pdf",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,SGk="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
        ),
        (
            {"type": "input_file", "file_id": "file_1"},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
    ],
)
def test_media(part: Any, block: Any) -> None:
    assert body_of(("user", [part]))["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
        {"type": "image_url", "image_url": {"url": f"data:image/tiff;base64,{PNG}"}},
        {"type": "file", "file": {"file_data": f"data:application/zip;base64,{PNG}"}},
    ],
)
def test_media_that_the_api_does_not_take_are_refused_with_their_place(part: Any) -> None:
    with pytest.raises(NodeInputError, match=r"^messages\[0\]\.content\[0\]: the protocol 'anthropic' takes no"):
        body_of(("user", [part]))


def test_parameters_get_their_names_or_are_left_out() -> None:
    body = body_of(
        parameters={
            **{"max_tokens": 9, "stop": "END", "temperature": 0.5, "top_k": 4, "user": "ann", "seed": 7},
            **{
                "frequency_penalty": 1,
                "logprobs": True,
                "reasoning_effort": "minimal",
                "thinking": {"type": "adaptive"},
            },
        }
    )
    del body["messages"], body["model"]
    assert body == {
        **{"max_tokens": 9, "stop_sequences": ["END"], "temperature": 0.5, "top_k": 4},
        **{"metadata": {"user_id": "ann"}, "output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}},
    }


def test_the_longest_answer_is_always_told() -> None:
    assert body_of()["max_tokens"] == 4096
    assert body_of(traits=ChannelTraits(defaults={"max_tokens": 99}))["max_tokens"] == 99
    assert body_of(parameters={"max_tokens": None})["max_tokens"] == 4096


def test_top_p_beside_a_temperature() -> None:
    assert "top_p" not in body_of(parameters={"temperature": 1, "top_p": 1.0})
    assert body_of(parameters={"top_p": 1})["top_p"] == 1
    both = {"temperature": 1, "top_p": 0.9}
    assert body_of(parameters=both)["top_p"] == 0.9
    assert "top_p" not in body_of(parameters=both, traits=ChannelTraits(drop=("top_p",)))


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        ({"type": "any"}, {"type": "any"}),
    ],
)
def test_tools(choice: Any, sent: Any) -> None:
    function = {"name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}
    tools = [{"type": "function", "function": function}, {"type": "web_search_20260101", "name": "web_search"}]
    body = body_of(parameters={"tools": tools, "tool_choice": choice})
    ours = {"name": "look", "description": "d", "strict": True, "input_schema": {"type": "object"}}
    assert body["tools"] == [ours, tools[1]]
    assert body["tool_choice"] == sent
    alone = body_of(parameters={"tools": tools, "parallel_tool_calls": False})
    assert alone["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_a_prefix_does_not_end_with_white_space() -> None:
    traits = ChannelTraits(prefix="trailing")
    assert turns(("user", "Hi"), prefix="Once \n", traits=traits)[-1] == ("assistant", ["Once"])
    assert turns(("user", "Hi"), ("assistant", "The answer is: "))[-1] == ("assistant", ["The answer is:"])


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500), ("new_error", None)]
)
def test_an_error_in_the_stream_stands_for_its_status(kind: str, status: int | None) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "Overloaded"}, "request_id": "r"}
    assert events(body) == [Fault(body, status)]
    assert PROTOCOL.reader(ChatRequest()).whole(body) == Fault(body, status)


@pytest.mark.parametrize(
    ("stop", "word"),
    [
        ("refusal", "content_filter"),
        ("stop_sequence", "stop"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_reasons_to_stop(stop: str, word: str) -> None:
    assert Finish(word) in events({"type": "message_delta", "delta": {"stop_reason": stop}})


def test_usage_is_known_before_the_end_so_that_a_broken_stream_is_counted() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 90}}}
    assert Usage({"prompt_tokens": 100, "total_tokens": 100, "prompt_tokens_details": {"cached_tokens": 90}}) in events(
        start
    )


def test_arguments_that_come_at_once_are_not_lost_nor_doubled() -> None:
    def call(*deltas: str) -> str:
        block = {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}
        found: Iterable[Piece] = events(
            {"type": "content_block_start", "index": 3, "content_block": block},
            *(
                {
                    "type": "content_block_delta",
                    "index": 3,
                    "delta": {"type": "input_json_delta", "partial_json": delta},
                }
                for delta in deltas
            ),
            {"type": "content_block_stop", "index": 3},
        )
        return "".join(piece.arguments for piece in found if isinstance(piece, ToolCall))

    assert json.loads(call()) == {"a": 1}
    assert json.loads(call('{"a":', "1}")) == {"a": 1}


def test_a_text_block_may_begin_with_text() -> None:
    block = {"type": "text", "text": "Hel"}
    assert events({"type": "content_block_start", "index": 0, "content_block": block}) == [Text("Hel")]
