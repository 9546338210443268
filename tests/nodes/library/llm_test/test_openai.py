from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.nodes.errors import BudgetReached, NodeInputError, NodeMustWait, ProviderError
from innkeeper.nodes.library.llm_test.openai import definition
from innkeeper.nodes.node import ChatRequest, Chunk, NodeContext
from innkeeper.nodes.testing import MemorySecrets, ToyLlm, collect, memory_services

SETTINGS = {"base_url": "https://api.example.com/v1", "api_key": "sk-test", "use_env_vars": False}
USAGE = {"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3}
ANSWER = {"response": "gamma beta alpha", "finish_reason": "stop", "reasoning": "", "usage": USAGE}
PNG = b"\x89PNG\r\n\x1a\n rest"


def run(llm: ToyLlm | None = None, secrets: MemorySecrets | None = None, **inputs: Any) -> tuple[list[Chunk], Any]:
    values = {"api_settings": SETTINGS, "prompt": "alpha beta gamma", **inputs}
    return collect(definition, values, services=memory_services(llm=llm, secrets=secrets))


def request_of(**inputs: Any) -> ChatRequest:
    llm = ToyLlm()
    run(llm, **inputs)
    (request,) = llm.requests
    return request


def test_without_stream_there_is_an_answer_and_no_chunk() -> None:
    assert run() == ([], ANSWER)


def test_with_stream_the_text_comes_in_chunks_and_the_reason_bare() -> None:
    chunks, outputs = run(stream=True)
    assert [chunk.to_json() for chunk in chunks] == [
        {"type": "text_chunk", "content": "gamma"},
        {"type": "text_chunk", "content": " beta"},
        {"type": "text_chunk", "content": " alpha"},
        {"type": "finish_reason_chunk", "content": "stop"},
    ]
    assert outputs == ANSWER


@pytest.mark.parametrize(("flag", "streams"), [("false", True), (1, True), (0, False), (None, False), ("", False)])
def test_the_stream_flag_is_read_as_a_browser_does(flag: Any, streams: bool) -> None:
    chunks, outputs = run(stream=flag)
    assert bool(chunks) is streams
    assert outputs == ANSWER


def test_the_request_has_model_parameters_and_key() -> None:
    request = request_of(model="m", temperature=1, max_tokens=100.0)
    assert (request.base_url, request.api_key, request.model) == ("https://api.example.com/v1", "sk-test", "m")
    assert json.dumps(request.parameters) == '{"temperature": 1, "max_tokens": 100}'
    assert request_of().parameters == {"temperature": 0.7, "max_tokens": 512}


def test_parameters_win_over_the_single_fields_and_null_leaves_one_out() -> None:
    request = request_of(parameters='{"max_tokens": null, "stop": ["x"], "temperature": 0, "model": "other"}')
    assert (request.model, request.parameters) == (
        "deepseek-chat",
        {"temperature": 0, "max_tokens": None, "stop": ["x"]},
    )


def test_reasoning_is_streamed_apart_and_is_an_output() -> None:
    class Thinker(ToyLlm):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            yield Chunk("reasoning_chunk", "Hm")
            yield Chunk("text_chunk", "Yes")
            yield Chunk("usage_chunk", USAGE)
            yield Chunk("finish_reason_chunk", {"finish_reason": "length", "accumulated_text": "Yes", "usage": USAGE})

    chunks, outputs = run(Thinker(), stream=True)
    assert [(chunk.type, chunk.content) for chunk in chunks] == [
        ("reasoning_chunk", "Hm"),
        ("text_chunk", "Yes"),
        ("finish_reason_chunk", "length"),
    ]
    assert outputs == {"response": "Yes", "finish_reason": "length", "reasoning": "Hm", "usage": USAGE}


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_is_sent_without_the_line_end_it_was_pasted_with(stream: bool) -> None:
    assert request_of(api_settings={**SETTINGS, "api_key": " sk-test\r\n"}, stream=stream).api_key == "sk-test"


def test_an_address_may_have_the_query_that_its_server_needs() -> None:
    settings = {**SETTINGS, "base_url": " https://h.example/openai/deployments/d?api-version=1 "}
    assert request_of(api_settings=settings).base_url == "https://h.example/openai/deployments/d?api-version=1"


def test_the_key_is_revealed_for_the_host_and_port_of_the_address() -> None:
    for base_url, host in (
        ("https://api.example.com/v1", "api.example.com:443"),
        ("http://127.0.0.1:8090/demo/v1", "127.0.0.1:8090"),
        ("http://[::1]/v1", "[::1]:80"),
    ):
        secrets = MemorySecrets()
        run(secrets=secrets, api_settings={**SETTINGS, "base_url": base_url})
        assert secrets.revealed == [("secret-1", host)]


def test_the_key_is_not_touched_when_there_is_nothing_to_ask() -> None:
    secrets = MemorySecrets()
    with pytest.raises(NodeInputError):
        run(secrets=secrets, prompt="")
    assert secrets.revealed == []


@pytest.mark.parametrize("key", ["", None])
def test_a_server_may_need_no_key(key: str | None) -> None:
    assert request_of(api_settings={**SETTINGS, "api_key": key}).api_key == ""


def test_every_attempt_of_a_node_has_one_idempotency_key() -> None:
    first, second = request_of(), request_of(temperature=1)
    assert first.idempotency_key == second.idempotency_key
    assert len(first.idempotency_key or "") == 64


@pytest.mark.parametrize(
    ("inputs", "messages"),
    [
        ({}, [{"role": "user", "content": "alpha beta gamma"}]),
        (
            {"system_prompt": "S", "history": '[{"role":"assistant","content":"H"}]', "prompt": "P"},
            [
                {"role": "system", "content": "S"},
                {"role": "assistant", "content": "H"},
                {"role": "user", "content": "P"},
            ],
        ),
        ({"history": [{"role": "user", "content": "H"}], "prompt": ""}, [{"role": "user", "content": "H"}]),
        ({"prompt": 12.0}, [{"role": "user", "content": "12"}]),
        (
            {"image": "data:image/png;base64,AAAA"},
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "alpha beta gamma"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                }
            ],
        ),
        (
            {"image": "http://x/y.png", "prompt": ""},
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}],
        ),
    ],
)
def test_messages_are_system_history_and_the_users_turn(inputs: dict[str, Any], messages: list[Any]) -> None:
    assert request_of(**inputs).messages == messages


def test_bytes_of_an_image_become_a_data_uri_of_their_kind() -> None:
    content = request_of(image=PNG).messages[0]["content"]
    assert content[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"prompt": ""}, "nothing to ask"),
        ({"prompt": "", "system_prompt": "S"}, "nothing to ask"),
        ({"prompt": "", "history": "[]"}, "nothing to ask"),
        ({"history": "{oops"}, "'history' is not valid JSON"),
        ({"image": "ftp://x"}, "'image' must be"),
        ({"image": b"text"}, "'image' must be"),
        ({"model": " "}, "'model' is empty"),
        ({"temperature": "hot"}, "'temperature' must be a number"),
        ({"temperature": float("nan")}, "'temperature' must be a number"),
        ({"max_tokens": True}, "'max_tokens' must be a number"),
        ({"api_settings": None}, "'api_settings' must be an object"),
        ({"api_settings": {"base_url": "https://me:pw@host.example/v1"}}, "holds a user name or password"),
        ({"api_settings": {}}, "no 'base_url'"),
        ({"api_settings": {**SETTINGS, "base_url": "api.example.com"}}, "not an http or https URL"),
        ({"api_settings": {**SETTINGS, "base_url": "http://good.com\\@evil.com/v1"}}, "not an http or https URL"),
        ({"api_settings": {**SETTINGS, "api_key": 5}}, "'api_key' must be a text"),
        ({"api_settings": {**SETTINGS, "base_url": "https://h.example/x?api_key=canary"}}, "holds a key in its query"),
        ({"api_settings": {**SETTINGS, "base_url": "https://h.example/x?a=1&Key=canary"}}, "holds a key in its query"),
        ({"parameters": "{oops"}, "'parameters' is not valid JSON"),
        ({"parameters": [1]}, "'parameters' must be an object"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_input_fails_the_node_before_any_call(inputs: dict[str, Any], complaint: str, stream: bool) -> None:
    llm = ToyLlm()
    with pytest.raises(NodeInputError, match=complaint):
        run(llm, stream=stream, **inputs)
    assert llm.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_provider_fails_the_node(stream: bool) -> None:
    def answer(request: ChatRequest) -> str:
        raise ProviderError("no", code="server_error", retryable=True)

    with pytest.raises(ProviderError):
        run(ToyLlm(answer), stream=stream)


@pytest.mark.parametrize(
    ("error", "is_last", "chunks"),
    [
        (ProviderError("no", retryable=False), False, ["error_chunk"]),
        (ProviderError("no", retryable=True), False, []),
        (ProviderError("no", retryable=True), True, ["error_chunk"]),
        (NodeMustWait("wait", delay_s=1), True, []),
        (BudgetReached("spent"), True, []),
    ],
)
async def test_a_final_error_also_ends_the_stream(error: Exception, is_last: bool, chunks: list[str]) -> None:
    def answer(request: ChatRequest) -> str:
        raise error

    inputs = {"api_settings": {**SETTINGS, "api_key": ""}, "prompt": "x", "model": "m", "stream": True}
    assert definition.execute is not None
    context = NodeContext("run", "node", memory_services(llm=ToyLlm(answer)), is_last_attempt=is_last)
    running: Any = definition.execute(inputs, context)
    seen = []
    with contextlib.suppress(type(error)):
        async for chunk in running:
            seen.append(chunk.type)
    assert seen == chunks


async def test_closing_the_node_closes_the_call_at_once() -> None:
    closed = asyncio.Event()

    class Endless(ToyLlm):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            try:
                while True:
                    yield Chunk("text_chunk", "x")
            finally:
                closed.set()

    services = memory_services(llm=Endless())
    inputs = {"api_settings": {**SETTINGS, "api_key": ""}, "prompt": "x", "model": "m", "stream": True}
    assert definition.execute is not None
    running: Any = definition.execute(inputs, NodeContext("run", "node", services))
    await anext(running)
    await running.aclose()
    assert closed.is_set()


def test_the_definition_is_careful_with_money() -> None:
    assert definition.side_effects
    assert definition.bypass_behavior == "mute"
    assert definition.inputs["api_settings"].secret_keys == ("api_key",)
