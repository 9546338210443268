"""What the nodes that ask a model tell beside the text, and when an answer is none."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ProviderError
from innkeeper.nodes.library.llm import generic_llm_request
from innkeeper.nodes.library.llm.answer import check_answer
from innkeeper.nodes.library.llm.settings import priority_of, times_of
from innkeeper.nodes.library.llm_test import openai, openai_chat
from innkeeper.nodes.node import ChatRequest, ChatResponse, ChatTimes, NodeContext, Route
from innkeeper.nodes.testing import MemoryChannels, ToyLlm, collect, memory_services

TRIED = ({"channel": "a", "model": "m1", "code": "overloaded_error", "message": "busy"},)
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {
    "api_settings": {"base_url": "http://x/v1"},
    **{"messages": [{"role": "user", "content": "x"}], "prompt": "x"},
    **{"system_prompt": "", "user_input": "x", "model": "m"},
}


def context(**given: Any) -> NodeContext:
    return NodeContext("run", "node", memory_services(), **given)


def warnings_of(response: ChatResponse) -> list[tuple[str, str]]:
    there = context()
    check_answer(response, there)
    return [(warning["code"], warning["message"]) for warning in there.warnings]


@pytest.mark.parametrize("node", [openai, openai_chat, generic_llm_request])
def test_all_nodes_tell_why_it_ended_what_was_thought_and_what_it_took(node: Any) -> None:
    class Full(ToyLlm):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            return ChatResponse("Hi", "m", "length", {"total_tokens": 3}, reasoning="Hm", tool_calls=(CALL,))

    values = {key: value for key, value in ASKED.items() if key in node.definition.inputs}
    warnings: list[dict[str, str]] = []
    services = memory_services(llm=Full(), channels=MemoryChannels(Route("c", "m", "http://x/v1")))
    outputs = collect(node.definition, values, services=services, warnings=warnings)[1]
    told = outputs["finish_reason"], outputs["reasoning"], outputs["usage"]
    assert told == ("length", "Hm", {"total_tokens": 3})
    assert [warning["code"] for warning in warnings] == ["cut_by_length"]
    assert outputs.get("tool_calls", [CALL]) == [CALL]


def test_a_warning_names_the_channel_that_answered_and_those_that_did_not() -> None:
    ((code, message),) = warnings_of(ChatResponse("x", "m2", "stop", channel_id="b", tried=TRIED))
    assert code == "model_failed_over"
    assert message == "channel 'b' ('m2') answered; 'a' ('m1') did not: overloaded_error: busy"


@pytest.mark.parametrize(
    ("response", "codes"),
    [
        (ChatResponse("x", "m", "stop"), []),
        (ChatResponse("x", "m", "content_filter"), ["content_filter"]),
        (ChatResponse("", "m", "stop"), ["empty_answer"]),
        (ChatResponse("", "m", None, reasoning="Hm"), ["empty_answer"]),
        (ChatResponse("", "m", "tool_calls", tool_calls=(CALL,)), []),
        (ChatResponse("", "m", "length", tool_calls=(CALL,)), ["cut_by_length"]),
    ],
)
def test_what_is_warned_of(response: ChatResponse, codes: list[str]) -> None:
    assert [code for code, _ in warnings_of(response)] == codes


@pytest.mark.parametrize(
    ("response", "code", "words"),
    [
        (ChatResponse("", "m", "length", reasoning="Hm"), "bad_answer", "spent all of them on reasoning; raise"),
        (ChatResponse("", "m", "length"), "bad_answer", "before any text came; raise 'max_tokens'"),
        (ChatResponse("", "m", "content_filter"), "content_filter", "content filter"),
    ],
)
def test_no_text_though_the_model_was_not_done_is_an_error(response: ChatResponse, code: str, words: str) -> None:
    with pytest.raises(ProviderError, match=words) as caught:
        check_answer(response, context())
    assert (caught.value.code, caught.value.retryable) == (code, False)


@pytest.mark.parametrize(
    ("config", "timeout_s", "times"),
    [
        ({}, 0.0, ChatTimes(600, 600, None)),
        ({}, 30.0, ChatTimes(600, 30, None)),
        ({"first_token_timeout": 5, "total_timeout": 60.5}, 1200.0, ChatTimes(5, 1200, 60.5)),
        ({"first_token_timeout": 0, "total_timeout": None}, 0.0, ChatTimes(None, 600, None)),
    ],
)
def test_times_come_from_the_settings_and_the_nodes_time_limit(
    config: dict[str, Any], timeout_s: float, times: ChatTimes
) -> None:
    assert times_of(context(config_values=config, timeout_s=timeout_s)) == times


@pytest.mark.parametrize(("value", "priority"), [(None, 3), (1, 1), (5.0, 5)])
def test_priority_is_a_number_from_1_to_5(value: Any, priority: int) -> None:
    assert priority_of(context(config_values={"priority": value})) == priority


@pytest.mark.parametrize("value", [0, 6, 2.5, "high", True, float("nan"), float("inf")])
def test_no_other_priority_is_taken(value: Any) -> None:
    with pytest.raises(NodeInputError, match="'priority' must be a whole number from 1"):
        priority_of(context(config_values={"priority": value}))


@pytest.mark.parametrize("value", ["soon", -1, True, float("nan")])
def test_a_time_that_is_no_number_of_seconds_is_refused(value: Any) -> None:
    with pytest.raises(NodeInputError, match="'total_timeout' must be a number of seconds"):
        times_of(context(config_values={"total_timeout": value}))
