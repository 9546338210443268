"""Messages of graphs as one model of a conversation."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
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
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()


def parts_of(content: Any, role: str = "user", **fields: Any) -> tuple[Any, ...]:
    return read_messages([{"role": role, "content": content, **fields}])[0].parts


def test_texts_in_all_their_forms_are_text() -> None:
    found = parts_of(["a", {"type": "text", "text": "b"}, {"type": "input_text", "text": "c"}])
    assert found == (TextPart("a"), TextPart("b"), TextPart("c"))
    assert parts_of(None) == ()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": f"data:image/PNG;base64,{PNG}"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    ],
)
def test_images_of_all_providers_forms_are_one(part: Any) -> None:
    (found,) = parts_of([part])
    assert (found.kind, found.mime, found.data) == ("image", "image/png", PNG)


def test_media_that_are_elsewhere_keep_their_address() -> None:
    image, sound, file, upload = parts_of(
        [
            {"type": "image_url", "image_url": {"url": "user://cat.png", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://x.example/a.pdf"}},
            {"type": "input_file", "file_id": "file-1"},
        ]
    )
    assert (image.url, image.detail, image.place) == ("user://cat.png", "low", "messages[0].content[0]")
    assert (sound.kind, sound.mime) == ("audio", "audio/mpeg")
    assert (file.kind, file.url, file.name) == ("file", "https://x.example/a.pdf", "a.pdf")
    assert upload.file_id == "file-1"


def test_calls_of_tools_name_the_tool_of_their_results() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    said, result = read_messages(
        [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        ]
    )
    assert said.parts == (ToolUse("c1", "look", '{"at": 1}', "", "messages[0].tool_calls[0]"),)
    assert result.parts == (ToolResult("c1", "look", (TextPart("blue"),)),)


def test_thoughts_keep_their_signature() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]
    assert parts_of("x", "assistant", thinking_blocks=blocks)[:2] == (Thought("hm", "s"), Thought(hidden="d"))
    assert parts_of("x", "assistant", reasoning_content="hm") == (Thought("hm"), TextPart("x"))
    summary = {"type": "reasoning", "id": "r1", "encrypted_content": "e", "summary": [{"text": "hm"}]}
    assert parts_of([summary], "assistant") == (Thought("hm", "", "e", "r1"),)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "wizard", "content": "x"}, "messages[0]: there is no known 'role'"),
        ({"role": [], "content": "x"}, "messages[0]: there is no known 'role'"),
        ({"role": "user", "content": 7}, "messages[0].content must be"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[0].content[0] has the type 'video'"),
        ({"role": "user", "content": ["a", 7]}, "messages[0].content[1] has no type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text must be a text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0] names no image"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "not base64!"}]},
            "messages[0].content[0]: its data is no base64",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/svg+xml,<svg/>"}]},
            "messages[0].content[0]: its data URI is not base64",
        ),
        (
            # Megabytes of options would be looked at one by one.
            {"role": "user", "content": [{"type": "image_url", "image_url": f"data:{';a=b' * 300};base64,AAAA"}]},
            "messages[0].content[0]: its data URI is not base64",
        ),
        ({"role": "assistant", "content": "", "tool_calls": {"a": 1}}, "messages[0].tool_calls must be a list"),
        ({"role": "assistant", "content": "", "tool_calls": [{}]}, "messages[0].tool_calls[0] names no function"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(message: Any, place: str) -> None:
    with pytest.raises(NodeInputError) as caught:
        read_messages([message])
    assert caught.value.message.startswith(place)


@pytest.mark.parametrize("arguments", ["[1]", "{", "7", '"a"'])
def test_arguments_that_are_no_object_are_refused_where_an_object_is_needed(arguments: str) -> None:
    with pytest.raises(NodeInputError, match="no JSON object"):
        ToolUse("c", "look", arguments, place="messages[0]").argument_object()


def test_arguments_may_come_as_an_object_or_not_at_all() -> None:
    call = {"function": {"name": "look", "arguments": {"at": 1}}}
    assert parts_of("", "assistant", tool_calls=[call])[1].argument_object() == {"at": 1}
    assert ToolUse("c", "look", " ").argument_object() == {}


def test_the_system_speaks_first_and_later_in_its_place() -> None:
    said = [("system", "a"), ("developer", "b"), ("user", "c"), ("system", "d")]
    system, turns = split_system(read_messages([{"role": role, "content": text} for role, text in said]))
    assert system == "a\n\nb"
    assert [(turn.role, turn.text) for turn in turns] == [("user", "c"), ("user", "d")]


def test_a_conversation_of_the_system_alone_is_asked_by_the_user() -> None:
    system, turns = split_system(read_messages([{"role": "system", "content": "a"}]))
    assert (system, [turn.role for turn in turns]) == ("", ["user"])


def test_names_stand_before_the_text_once() -> None:
    assert spoken(Message("user", (TextPart("Hi"),), "Ann")).text == "Ann: Hi"
    assert spoken(Message("user", (TextPart("Ann: Hi"),), "Ann")).text == "Ann: Hi"
    assert spoken(Message("user", (MediaPart("image"),), "Ann")).parts == (MediaPart("image"),)


def test_a_long_text_that_is_no_base64_is_refused_too() -> None:
    with pytest.raises(NodeInputError):
        parts_of([{"type": "image_url", "image_url": "é" * 20_000}])
