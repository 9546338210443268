"""Answers that broke off: when they are gone on with, what is asked for then, and how the pieces are joined."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import ChannelTraits, ChatRequest, PrefixKind
from innkeeper.nodes.services.llm.continuation import (
    ECHO_CERTAIN,
    CannotContinue,
    NothingLeft,
    Seam,
    continued,
    why_not,
)
from innkeeper.nodes.services.llm.estimates import estimate_input
from tests.effort import examples

USER = {"role": "user", "content": "Tell me of the inn"}
TEXT = "Once upon a time"


def request(parameters: dict[str, Any] | None = None, *, prefix: PrefixKind = "trailing", **fields: Any) -> ChatRequest:
    traits = ChannelTraits(prefix=prefix, **fields.pop("traits", {}))
    return ChatRequest(messages=[USER], parameters=parameters or {}, traits=traits, **fields)


def kept(text: str = TEXT, *kinds: str) -> KeptStream:
    return KeptStream(text=text, kinds=frozenset({"text_chunk", *kinds}))


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n": 1, "tools": [{}], "tool_choice": "auto", "response_format": {"type": "text"}},
        {"tool_choice": {"type": "auto"}, "thinking": {"type": "disabled"}, "modalities": ["text"], "format": ""},
        {"text": {"format": {"type": "text"}}, "responseMimeType": "text/plain"},
    ],
)
def test_plain_text_that_broke_off_is_gone_on_with(parameters: dict[str, Any]) -> None:
    assert why_not(kept(TEXT, "usage_chunk"), request(parameters)) is None


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (kept(""), "no text had come"),
        (kept(" \n"), "no text had come"),
        (kept(TEXT, "tool_call_chunk"), "it had called tools"),
        (kept(TEXT, "reasoning_chunk"), "it held reasoning"),
        (kept(TEXT, "error_chunk"), "it had ended with an error"),
        (kept(TEXT, "custom"), "it held more than text"),
        (kept(TEXT, "finish_reason_chunk"), "it held more than text"),
        (kept(TEXT, "hole"), "some of its chunks were dropped"),
        (kept("", "too_large"), "it is too large"),
    ],
)
def test_what_had_come_may_exclude_it(stream: KeptStream, reason: str) -> None:
    assert why_not(stream, request()) == reason


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"n": 2}, "several answers were asked for"),
        ({"response_format": {"type": "json_object"}}, "the answer has a format"),
        ({"response_format": "json"}, "the answer has a format"),
        ({"format": {"properties": {}}}, "the answer has a format"),
        ({"format": "json"}, "the answer has a format"),
        ({"guided_regex": "a+"}, "the answer has a format"),
        ({"responseSchema": {"type": "object"}}, "the answer has a format"),
        ({"text": {"format": {"type": "json_schema"}}}, "the answer has a format"),
        ({"tool_choice": "required"}, "a tool was forced"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "a tool was forced"),
        ({"tool_choice": {"type": "any"}}, "a tool was forced"),
        ({"function_call": {"name": "f"}}, "a tool was forced"),
        ({"modalities": ["text", "audio"]}, "more than text was asked for"),
        ({"audio": {"voice": "x"}}, "more than text was asked for"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "the model was asked to think"),
        ({"thinking": True}, "the model was asked to think"),
    ],
)
def test_what_was_asked_for_may_exclude_it(parameters: dict[str, Any], reason: str) -> None:
    assert why_not(kept(), request(parameters)) == reason


def test_a_schema_or_an_assistants_turn_at_the_end_excludes_it() -> None:
    assert why_not(kept(), request(response_schema={"type": "object"})) == "the answer has a format"
    assistant = ChatRequest(messages=[USER, {"role": "assistant", "content": "Well,"}])
    assert why_not(kept(), assistant) == "the conversation ends with a turn of the assistant"
    with_prefix = ChatRequest(messages=[USER], prefix="Well,")
    assert why_not(kept(), with_prefix) == "the conversation ends with a turn of the assistant"


# --- the request ------------------------------------------------------------------------------------------------------


def test_the_rest_is_asked_for_without_white_space_at_the_end() -> None:
    asked = continued(request({"temperature": 1}), "  Once \n\t")
    assert (asked.prefix, asked.parameters, asked.messages) == ("  Once", {"temperature": 1}, [USER])


def test_an_endpoint_that_does_not_say_so_is_not_asked_to_go_on() -> None:
    with pytest.raises(CannotContinue, match="channel 'big' takes no beginning"):
        continued(request(prefix="none", channel_id="big"), TEXT)
    with pytest.raises(CannotContinue, match="its endpoint takes no beginning"):
        continued(request(prefix="none"), TEXT)


@pytest.mark.parametrize(
    ("adapter", "kind", "can"),
    [
        *(("openai", kind, True) for kind in ("trailing", "prefix", "partial", "continue_final_message")),
        *((adapter, "trailing", True) for adapter in ("anthropic", "gemini", "ollama", "of-a-plugin")),
        *((adapter, "prefix", False) for adapter in ("anthropic", "gemini", "ollama")),
        ("openai-responses", "trailing", False),
    ],
)
def test_a_protocol_that_does_not_have_the_channels_way_is_not_asked(adapter: str, kind: PrefixKind, can: bool) -> None:
    asked = request(prefix=kind, adapter=adapter)
    if can:
        assert continued(asked, TEXT).prefix == TEXT
        return
    with pytest.raises(CannotContinue, match=adapter):
        continued(asked, TEXT)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_what_came_is_taken_from_the_tokens_that_the_answer_may_have(name: str) -> None:
    text = "x" * 400  # 100 tokens
    assert continued(request({name: 250}), text).parameters == {name: 150}
    assert continued(request({name: 101}), text).parameters == {name: 1}
    for spent in (100, 99, 0):
        with pytest.raises(NothingLeft):
            continued(request({name: spent}), text)


def test_the_limit_that_the_channel_sets_shrinks_too_and_the_requests_own_wins() -> None:
    text, traits = "x" * 400, {"defaults": {"max_tokens": 120, "top_k": 3}}
    assert continued(request(traits=traits), text).parameters == {"max_tokens": 20}
    assert continued(request({"max_tokens": 300}, traits=traits), text).parameters == {"max_tokens": 200}
    assert continued(request({"max_tokens": None}), text).parameters == {"max_tokens": None}


# --- the seam ---------------------------------------------------------------------------------------------------------


def join(text: str, pieces: Sequence[str]) -> str:
    seam = Seam(text)
    return text + "".join([*(seam.feed(piece) for piece in pieces), seam.end()])


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "answer", "whole"),
    [
        ("Once upon", " a time", "Once upon a time"),
        ("Once upon", "Once upon a time", "Once upon a time"),  # an echo
        ("Once upon ", "a time", "Once upon a time"),  # white space stripped, and not sent again
        ("Once upon ", " a time", "Once upon a time"),  # sent again
        ("Once upon ", "Once upon a time", "Once upon a time"),
        ("Once upon\n\n", "\n\nThe end", "Once upon\n\nThe end"),
        ("Once upon\n", "\n\nThe end", "Once upon\n\nThe end"),
        ("Once upon ", "\n\nThe end", "Once upon \n\nThe end"),
        ("def f():\n    ", "\n  return", "def f():\n    return"),
        ("  Once", "Once upon", "  Once upon"),  # an echo of the stripped beginning
        ("Once upon", "Once more", "Once uponOnce more"),  # begins alike, and is none
        ("Once", "", "Once"),
        ("Once ", "", "Once "),
        ("Once ", " ", "Once "),
        ("Once upon a time there", "Once upon a time", "Once upon a time there"),  # the echo itself was cut short
        ("Once upon a time", "Once", "Once upon a timeOnce"),
        ("从前", "从前有一座山", "从前有一座山"),
        ("go 🙂", "🙂", "go 🙂🙂"),
    ],
)
def test_echo_and_white_space_that_come_again_are_left_out(text: str, answer: str, whole: str, size: int) -> None:
    assert join(text, cut(answer, size)) == whole


def test_the_first_characters_are_held_back_only_until_it_is_clear() -> None:
    seam = Seam("Once upon ")
    assert [seam.feed(piece) for piece in ("On", "ce upon", " ", "", "a", " ", "time")] == [
        *("", "", "", "", "a", " ", "time")
    ]
    seam = Seam("Once")
    assert [seam.feed(piece) for piece in ("O", "h", "!")] == ["", "Oh", "!"]


def test_an_echo_that_was_cut_short_is_told_from_a_short_answer_by_its_length() -> None:
    text = "x" * (2 * ECHO_CERTAIN)
    assert join(text, ["x" * ECHO_CERTAIN]) == text
    assert join(text, ["x" * (ECHO_CERTAIN - 1)]) == text + "x" * (ECHO_CERTAIN - 1)


def test_a_long_beginning_that_comes_again_bit_by_bit_is_looked_at_once() -> None:
    text = "word " * 100_000 + " " * 100_000
    began = time.process_time()
    assert join(text, [*cut(text.rstrip(), 2), *cut(" " * 100_000, 1), "end"]) == text + "end"
    assert time.process_time() - began < 5  # looked at anew for each bit it took minutes


def test_a_beginning_counts_as_input() -> None:
    asked = request()
    assert estimate_input(continued(asked, "x" * 400)) == estimate_input(asked) + 100


@examples(200)
@given(st.text("ab \n", min_size=1, max_size=12), st.text("cd \n", max_size=12), st.integers(1, 5))
def test_a_provider_that_echoes_gives_the_same_text_as_one_that_does_not(text: str, rest: str, size: int) -> None:
    """Whatever comes behind the beginning; the first character tells a rest from an echo here."""
    stem = text.rstrip()
    if not stem:
        return
    space = text[len(stem) :]
    asked = f"{space}{rest}"  # what a model writes behind the stem
    plain, echoing = join(text, cut(asked, size)), join(text, cut(stem + asked, size))
    assert plain == echoing == text + rest
