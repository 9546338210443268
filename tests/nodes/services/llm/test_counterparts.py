"""Our adapters and the providers' own clients talk to the same servers, and understand the same.

So both ends are not ours: a server of ours that errs would be told by the clients, and requests of ours are held
against the types that the clients send.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import TypeAdapter

from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from tests.nodes.services.llm.conftest import serving
from tests.nodes.services.llm.provider_answers import MEANINGS, SCENARIOS, Meaning
from tests.nodes.services.llm.provider_server import ProviderServer
from tests.nodes.services.llm.test_protocols import NAMES, PROTOCOLS, expected, meaning_of

HERE = AddressPolicy(allow_loopback=True)
KEY = "sk-canary-1234567890"
PATHS = {"anthropic": "/anthropic", "openai-responses": "/openai/v1", "gemini": "/gemini", "ollama": "/ollama"}
SAMPLING = ("temperature", "top_p", "top_k")
"""Anthropic's types leave them out, since the newest models refuse them; the others take them."""
PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjc="
FUNCTION = {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        ],
    },
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
PARAMETERS = {
    **{"temperature": 0.5, "max_tokens": 99, "stop": ["END"], "top_p": 0.9},
    **{"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "auto"},
}


@asynccontextmanager
async def talking(name: str) -> AsyncIterator[tuple[ProviderServer, ProtocolAdapter, str]]:
    """A server, our adapter for one protocol, and the address of it there."""
    server = ProviderServer()
    async with serving(server.app) as address:
        adapter = ProtocolAdapter(PROTOCOLS[name], HERE)
        try:
            yield server, adapter, address + PATHS[name]
        finally:
            await adapter.aclose()


def asked(base_url: str, scenario: str, **fields: Any) -> ChatRequest:
    return ChatRequest(base_url, scenario, HISTORY, KEY, **{"parameters": PARAMETERS, **fields})


async def streamed(adapter: ProtocolAdapter, request: ChatRequest) -> Meaning:
    chunks = [chunk async for chunk in adapter.stream(request)]
    end = chunks[-1].content
    assert chunks[-1].type == "finish_reason_chunk"
    for kind, field in (("text_chunk", "accumulated_text"), ("reasoning_chunk", "reasoning")):
        assert "".join(chunk.content for chunk in chunks if chunk.type == kind) == end.get(field, "")
    calls = tuple(end.get("tool_calls", ()))
    return meaning_of(
        ChatResponse(
            end["accumulated_text"],
            end["model"],
            end["finish_reason"],
            end["usage"],
            reasoning=end.get("reasoning", ""),
            tool_calls=calls,
        )
    )


def without_ollama(request_of_history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ollama takes no files."""
    return [
        {**message, "content": [part for part in message["content"] if part["type"] != "file"]}
        if isinstance(message["content"], list)
        else message
        for message in request_of_history
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_our_adapters_understand_the_servers(name: str) -> None:
    messages = without_ollama(HISTORY) if name == "ollama" else HISTORY
    async with talking(name) as (server, adapter, base_url):
        for scenario in SCENARIOS:
            request = ChatRequest(base_url, scenario, messages, KEY, PARAMETERS)
            response = await adapter.chat(request)
            assert meaning_of(response) == await streamed(adapter, request) == expected(name, scenario)
            if name == "gemini" and scenario == "tools":
                # Without its signature Gemini refuses the call when it is sent back, from a stream as from an answer.
                *_, end = [chunk async for chunk in adapter.stream(request)]
                assert end.content["tool_calls"] == list(response.tool_calls)
                assert "c2ln" in json.dumps(response.tool_calls[0])
        models = await adapter.list_models(base_url, KEY)
        assert len(models) == 1
        assert models[0]["id"].endswith(("-1", "-test"))
        for _, path, headers, _ in server.requests:
            assert KEY not in path
            assert sum(KEY in value for value in headers.values()) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_channel_adds_is_sent(name: str) -> None:
    traits = ChannelTraits(headers={"X-Title": "inn"}, query={"api-version": "2026 a&b"})
    async with talking(name) as (server, adapter, base_url):
        messages = [{"role": "user", "content": "Hi"}]
        await streamed(adapter, ChatRequest(base_url, "text", messages, traits=traits))
        _, path, headers, _ = server.requests[-1]
        assert headers["x-title"] == "inn"
        assert path.count("?") == 1
        assert "api-version=2026" in path


@pytest.mark.filterwarnings("ignore")  # what the client of another warns of is not ours
async def test_anthropics_own_client_understands_the_same() -> None:
    anthropic = pytest.importorskip("anthropic")
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming

    async with talking("anthropic") as (server, adapter, base_url):
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=base_url, max_retries=0) as client:
            for scenario in SCENARIOS:
                given: Any = {
                    "model": scenario,
                    "max_tokens": 99,
                    "messages": [{"role": "user", "content": "Hi"}],
                }
                whole = await client.messages.create(**given)
                async with client.messages.stream(**given) as stream:
                    last = await stream.get_final_message()
                assert _of_anthropic(whole) == _of_anthropic(last) == expected("anthropic", scenario)
                theirs = server.requests[-1]
            ours_listed = await adapter.list_models(base_url, KEY)
            assert [model.id async for model in client.models.list()] == [model["id"] for model in ours_listed]
        await adapter.chat(asked(base_url, "text"))
        _check(MessageCreateParamsNonStreaming, server.body)
        await streamed(adapter, asked(base_url, "text"))
        _check(MessageCreateParamsStreaming, server.body)
        ours = server.requests[-1]
        assert ours[1] == theirs[1]
        # Their newest client names a newer version, which has no sampling parameters, and sends the key as a token.
        assert (ours[2]["anthropic-version"], ours[2]["x-api-key"]) == ("2023-06-01", KEY)
        assert "anthropic-version" in theirs[2]


def _check(kind: Any, body: Any) -> None:
    """Holds a body against the type of a client's request; a field that the type does not know is refused."""
    TypeAdapter(kind).validate_python(body)
    assert set(body) <= {*kind.__annotations__, *SAMPLING}


def _of_anthropic(message: Any) -> Meaning:
    usage, blocks = message.usage, message.content
    finish = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}[message.stop_reason]
    cached, created = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Meaning(
        "".join(block.text for block in blocks if block.type == "text"),
        finish,
        usage.input_tokens + cached + created,
        usage.output_tokens,
        "".join(block.thinking for block in blocks if block.type == "thinking"),
        tuple((block.name, block.input) for block in blocks if block.type == "tool_use"),
        cached,
        usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0,
    )


@pytest.mark.filterwarnings("ignore")  # what the client of another warns of is not ours
async def test_openais_own_client_understands_the_same() -> None:
    openai = pytest.importorskip("openai")
    from openai.types.responses.response_create_params import (
        ResponseCreateParamsNonStreaming,
        ResponseCreateParamsStreaming,
    )

    async with talking("openai-responses") as (server, adapter, base_url):
        async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
            for scenario in SCENARIOS:
                whole = await client.responses.create(model=scenario, input="Hi")
                last = None
                async for event in await client.responses.create(model=scenario, input="Hi", stream=True):
                    last = getattr(event, "response", last)
                assert _of_openai(whole) == _of_openai(last) == expected("openai-responses", scenario)
                theirs = server.requests[-1]
            ours_listed = await adapter.list_models(base_url, KEY)
            assert [model.id async for model in client.models.list()] == [model["id"] for model in ours_listed]
        await adapter.chat(asked(base_url, "text"))
        _check(ResponseCreateParamsNonStreaming, server.body)
        await streamed(adapter, asked(base_url, "text"))
        _check(ResponseCreateParamsStreaming, server.body)
        ours = server.requests[-1]
        assert ours[1] == theirs[1]
        assert ours[2]["authorization"] == theirs[2]["authorization"]


def _of_openai(response: Any) -> Meaning:
    usage, items = response.usage, response.output
    calls = tuple((item.name, json.loads(item.arguments)) for item in items if item.type == "function_call")
    finish = "length" if response.status == "incomplete" else "tool_calls" if calls else "stop"
    summaries = [part.text for item in items if item.type == "reasoning" for part in item.summary]
    return Meaning(
        response.output_text,
        finish,
        usage.input_tokens,
        usage.output_tokens,
        "\n\n".join(summaries),
        calls,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens_details.reasoning_tokens,
    )


@pytest.mark.filterwarnings("ignore")  # what the client of another warns of is not ours
async def test_googles_own_client_understands_the_same() -> None:
    genai = pytest.importorskip("google.genai")
    from google.genai import types

    async with talking("gemini") as (server, adapter, base_url):
        options = types.HttpOptions(base_url=base_url, api_version="v1beta")
        client = genai.Client(api_key=KEY, http_options=options)
        for scenario in SCENARIOS:
            whole = await client.aio.models.generate_content(model=scenario, contents="Hi")
            parts = [
                part async for part in await client.aio.models.generate_content_stream(model=scenario, contents="Hi")
            ]
            theirs = server.requests[-1]
            assert _of_google([whole]) == _of_google(parts) == MEANINGS[scenario]
        await adapter.chat(asked(base_url, "text"))
        body = dict(server.body)
        # The client's types refuse fields that they do not know.
        for content in (*body.pop("contents"), body.pop("systemInstruction")):
            types.Content.model_validate(content)
        types.GenerationConfig.model_validate(body.pop("generationConfig"))
        for tool in body.pop("tools"):
            types.Tool.model_validate(tool)
        types.ToolConfig.model_validate(body.pop("toolConfig"))
        assert body == {}
        await streamed(adapter, asked(base_url, "text"))
        ours = server.requests[-1]
        assert ours[1] == theirs[1].replace(SCENARIOS[-1], "text")
        assert ours[2]["x-goog-api-key"] == theirs[2]["x-goog-api-key"]
        await client.aio.aclose()


def _of_google(answers: list[Any]) -> Meaning:
    parts = [part for answer in answers for part in answer.candidates[0].content.parts or ()]
    calls = tuple((part.function_call.name, part.function_call.args or {}) for part in parts if part.function_call)
    last = answers[-1]
    reason = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}[last.candidates[0].finish_reason.name]
    usage = last.usage_metadata
    thoughts = usage.thoughts_token_count or 0
    return Meaning(
        "".join(part.text for part in parts if part.text and not part.thought),
        reason,
        usage.prompt_token_count,
        usage.candidates_token_count + thoughts,
        "".join(part.text for part in parts if part.text and part.thought),
        calls,
        usage.cached_content_token_count or 0,
        thoughts,
    )
