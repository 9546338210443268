"""core:GenericLlmRequest: what it asks, what it gives, and how it fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, NodeMustWait, ProviderError
from innkeeper.nodes.library.llm.generic_llm_request import definition
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk, ModelWish, NodeContext, Route
from innkeeper.nodes.testing import MemoryChannels, MemorySecrets, ToyLlm, collect, memory_services

MESSAGES = '[{"role":"user","content":"alpha beta"}]'
USAGE = {"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}
REST = {"usage": USAGE, "finish_reason": "stop", "reasoning": "", "tool_calls": [], "data": None}
MADE_BY = {"model": "m", "channel_id": "main"}
KEYS = MemorySecrets()
ROUTE = Route("main", "m", "https://api.example.com/v1", KEYS.hide("sk-channel"), "other")


class FullLlm(ToyLlm):
    """Answers with everything a provider may say."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        message = {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": [{"id": "t"}]}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        raw = {"id": "r1", "choices": [choice], "more": 1}
        return ChatResponse("Hi", "m-2024", "stop", USAGE, "r1", (choice,), raw)


def run(llm: ToyLlm | None = None, *, config: Any = None, **inputs: Any) -> tuple[list[Chunk], dict[str, Any]]:
    services = memory_services(llm=llm, secrets=KEYS, channels=MemoryChannels(ROUTE))
    return collect(definition, {"messages": MESSAGES, **inputs}, config=config, services=services)


def request_of(**inputs: Any) -> ChatRequest:
    llm = ToyLlm()
    run(llm, **inputs)
    return llm.requests[0]


def wish_of(config: Any = None, **inputs: Any) -> ModelWish:
    channels = MemoryChannels(ROUTE)
    services = memory_services(secrets=KEYS, channels=channels)
    collect(definition, {"messages": MESSAGES, **inputs}, config=config, services=services)
    return channels.wishes[0]


def failing(error: Exception) -> ToyLlm:
    def answer(request: ChatRequest) -> str:
        raise error

    return ToyLlm(answer)


def test_batch_gives_the_standard_response_its_text_and_its_usage() -> None:
    chunks, outputs = run(FullLlm())
    response = outputs.pop("response")
    assert (chunks, outputs) == ([], {"responseText": "Hi", **REST})
    assert response.pop("raw_response")["more"] == 1
    assert response == {
        "text": "Hi",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "t"}]},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "model": "m-2024",
        "response_id": "r1",
    }


def test_stream_forwards_every_chunk_and_builds_the_response() -> None:
    chunks, outputs = run(stream=True)
    assert [chunk.to_json() for chunk in chunks] == [
        {"type": "text_chunk", "content": "beta"},
        {"type": "text_chunk", "content": " alpha"},
        {"type": "usage_chunk", "content": USAGE},
        {
            "type": "finish_reason_chunk",
            "content": {"finish_reason": "stop", "accumulated_text": "beta alpha", "usage": USAGE, **MADE_BY},
        },
    ]
    response = {"text": "beta alpha", "model": "m", "usage": USAGE}
    assert outputs == {"response": response, "responseText": "beta alpha", **REST}


def test_stream_without_a_finish_chunk_still_has_a_response() -> None:
    class Abrupt(ToyLlm):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            yield Chunk("text_chunk", "x")
            yield Chunk("text_chunk", "y")

    outputs = run(Abrupt(), stream=True, activated_model_id="asked")[1]
    response = {"text": "xy", "model": "asked", "usage": None}
    assert outputs == {"response": response, "responseText": "xy", **REST, "usage": None}


def test_request_goes_to_the_best_route_with_its_key_and_adapter() -> None:
    request = request_of()
    assert (request.base_url, request.model, request.api_key) == (ROUTE.base_url, "m", "sk-channel")
    assert (request.adapter, request.channel_id) == ("other", "main")
    assert KEYS.revealed[-1] == (ROUTE.api_key.id, "api.example.com:443")  # type: ignore[union-attr]
    assert len(request.idempotency_key or "") == 64
    assert request.idempotency_key == request_of(seed=3).idempotency_key


def test_channel_without_a_key_reveals_none() -> None:
    secrets, llm = MemorySecrets(), ToyLlm()
    channels = MemoryChannels(Route("local", "m", "http://10.0.0.1/v1"))
    collect(definition, {"messages": MESSAGES}, services=memory_services(llm=llm, secrets=secrets, channels=channels))
    assert (llm.requests[0].api_key, secrets.revealed) == ("", [])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, {"temperature": 0.7, "max_tokens": 2048, "top_p": 1}),
        ({"seed": 7, "top_p": 0.5}, {"temperature": 0.7, "max_tokens": 2048, "top_p": 0.5, "seed": 7}),
        ({"seed": -1, "max_tokens": 5.0}, {"temperature": 0.7, "max_tokens": 5, "top_p": 1}),
        ({"temperature": None, "top_p": None, "max_tokens": None}, {}),
        (
            {"parameters": '{"temperature": 1.1, "stop": ["x"], "seed": 0}', "seed": 2},
            {"temperature": 1.1, "max_tokens": 2048, "top_p": 1, "seed": 0, "stop": ["x"]},
        ),
        (
            {"parameters": {"model": "gpt", "messages": [], "stream": True, "n": 1}},
            {"temperature": 0.7, "max_tokens": 2048, "top_p": 1, "n": 1},
        ),
        ({"parameters": {"max_tokens": None, "temperature": None}}, {"top_p": 1}),
        ({"parameters": {"max_completion_tokens": 9}}, {"temperature": 0.7, "top_p": 1, "max_completion_tokens": 9}),
        ({"parameters": " "}, {"temperature": 0.7, "max_tokens": 2048, "top_p": 1}),
        ({"parameters": None}, {"temperature": 0.7, "max_tokens": 2048, "top_p": 1}),
    ],
)
def test_parameters_overlay_the_single_fields(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = request_of(**inputs).parameters
    assert {name: value for name, value in sent.items() if value is not None} == expected


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        (
            [{"role": "tool", "content": "1", "tool_call_id": "t"}],
            [{"role": "tool", "content": "1", "tool_call_id": "t"}],
        ),
        ({"role": "user", "content": None}, [{"role": "user", "content": None}]),
    ],
)
def test_messages_are_text_or_native_and_keep_their_fields(messages: Any, sent: list[Any]) -> None:
    llm = ToyLlm(lambda request: "ok")
    run(llm, messages=messages)
    assert llm.requests[0].messages == sent


def test_a_model_id_wins_over_capabilities() -> None:
    assert wish_of({"required_capabilities": "vision"}, activated_model_id=" m1 ") == ModelWish("m1")
    assert wish_of() == ModelWish(capabilities=("llm", "chat"))
    assert wish_of({"required_capabilities": "llm, vision,"}, activated_model_id=" ") == ModelWish(
        capabilities=("llm", "vision")
    )


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"messages": "{oops"}, "'messages' is not valid JSON"),
        ({"messages": ""}, "nothing to ask"),
        ({"messages": None}, "nothing to ask"),
        ({"messages": []}, "nothing to ask"),
        ({"messages": [{"role": "user"}]}, "item 0 is no message"),
        ({"messages": [{"role": "boss", "content": ""}]}, "unknown role"),
        ({"parameters": "{oops"}, "'parameters' is not valid JSON"),
        ({"parameters": "[1]"}, "'parameters' must be an object"),
        ({"parameters": '{"a": NaN}'}, "not valid JSON"),
        ({"parameters": {"a": float("inf")}}, "not JSON"),
        ({"parameters": "[" * 100_000}, "'parameters' is n"),
        ({"temperature": "hot"}, "'temperature' must be a number"),
        ({"activated_model_id": 5}, "'activated_model_id' must be a text"),
    ],
)
def test_bad_input_fails_before_any_call_and_touches_no_key(inputs: dict[str, Any], complaint: str) -> None:
    llm, revealed = ToyLlm(), len(KEYS.revealed)
    with pytest.raises(NodeInputError, match=complaint):
        run(llm, **inputs)
    assert (llm.requests, len(KEYS.revealed)) == ([], revealed)


def test_no_route_fails_the_node() -> None:
    with pytest.raises(ProviderError, match="no channel"):
        collect(definition, {"messages": MESSAGES}, services=memory_services())


async def chunks_before_failure(error: Exception, *, is_last: bool, stream: bool = True) -> list[dict[str, Any]]:
    services = memory_services(llm=failing(error), channels=MemoryChannels(Route("c", "m", "http://x/v1")))
    context = NodeContext("run", "node", services, is_last_attempt=is_last)
    assert definition.execute is not None
    running: Any = definition.execute({"messages": MESSAGES, "stream": stream}, context)
    seen = []
    with contextlib.suppress(type(error)):
        async for chunk in running:
            seen.append(chunk.to_json())
    return seen


FINAL = ProviderError("no", code="permission_error", details={"provider_code": "blocked"}, retryable=False)
PASSING = ProviderError("no", code="server_error", details={"status": 503}, retryable=True)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_final_error_ends_the_stream_and_says_what_and_why(stream: bool) -> None:
    (chunk,) = await chunks_before_failure(FINAL, is_last=False, stream=stream)
    assert chunk == {
        "type": "error_chunk",
        "content": {"message": "no", "code": "blocked", "type": "permission_error"},
    }


async def test_an_error_that_is_tried_again_stays_out_of_the_stream_until_the_last_attempt() -> None:
    assert await chunks_before_failure(PASSING, is_last=False) == []
    (chunk,) = await chunks_before_failure(PASSING, is_last=True)
    assert chunk["content"] == {"message": "no", "code": 503, "type": "server_error"}
    assert await chunks_before_failure(NodeMustWait("wait", delay_s=1), is_last=True) == []


async def test_closing_the_node_closes_the_call_at_once() -> None:
    closed = asyncio.Event()

    class Endless(ToyLlm):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            try:
                while True:
                    yield Chunk("text_chunk", "x")
            finally:
                closed.set()

    services = memory_services(llm=Endless(), channels=MemoryChannels(Route("c", "m", "http://x/v1")))
    assert definition.execute is not None
    running: Any = definition.execute({"messages": MESSAGES, "stream": True}, NodeContext("run", "node", services))
    await anext(running)
    await running.aclose()
    assert closed.is_set()


def test_the_definition_is_as_recorded() -> None:
    data = definition.to_json()
    assert (data["category"], data["width"], data["bypassBehavior"]) == ("LLM", 350, "mute")
    assert {key: slot.get("config", {}).get("default") for key, slot in data["inputs"].items()} == {
        "messages": "[]",
        "parameters": "{}",
        "activated_model_id": None,
        "temperature": 0.7,
        "max_tokens": 2048,
        "top_p": 1.0,
        "seed": 0,
        "stream": False,
        "responseSchema": None,
    }
    assert list(data["outputs"]) == [
        *("response", "responseText", "usage", "stream_output"),
        *("finish_reason", "reasoning", "tool_calls", "data"),
    ]
    assert data["configSchema"]["required_capabilities"]["config"]["default"] == "llm,chat"
