"""Requests find their adapter, and those through channels have a policy of their own."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from fastapi import FastAPI

from innkeeper.gateway.api.demo import router as demo_router
from innkeeper.nodes.catalogue.plugins import PluginAdapter
from innkeeper.nodes.errors import ProviderError, RequestRefused
from innkeeper.nodes.model_protocols import BUILT_IN_ADAPTERS
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.adapter import NO_TRAITS
from innkeeper.nodes.services.llm.dispatch import DemoEndpoint, DispatchingLlm
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.registry import AdapterRegistry, AdapterType, built_in_adapters

NOWHERE = AddressPolicy()
HERE = AddressPolicy(allow_loopback=True)


class Parrot:
    """An adapter that answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.warm = self.closed = False

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse(self.name, request.model)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        yield Chunk("text_chunk", self.name)

    async def list_models(
        self, base_url: str, api_key: str = "", traits: ChannelTraits = NO_TRAITS
    ) -> tuple[Mapping[str, Any], ...]:
        return ({"id": self.name},)

    async def warm_up(self) -> None:
        self.warm = True

    async def aclose(self) -> None:
        self.closed = True


def ask(adapter: str, channel: str = "") -> ChatRequest:
    return ChatRequest("http://h/v1", "m", [], adapter=adapter, channel_id=channel)


async def test_each_request_goes_to_the_adapter_it_names() -> None:
    made: list[Parrot] = []

    def kind(name: str) -> AdapterType:
        def make(policy: AddressPolicy) -> Parrot:
            made.append(Parrot(f"{name} {policy.allow_loopback}"))
            return made[-1]

        return AdapterType(name, name.title(), make)

    llm = DispatchingLlm(AdapterRegistry(kind("one"), kind("two")), NOWHERE, HERE)
    await llm.warm_up()
    assert (await llm.chat(ask("one"))).text == "one False"
    assert (await llm.chat(ask("one"))).text == "one False"
    assert (await llm.chat(ask("one", "c"))).text == "one True"
    assert [chunk.content async for chunk in llm.stream(ask("two"))] == ["two False"]
    with pytest.raises(ProviderError, match="there is no adapter 'three'; adapters are one, two"):
        await llm.chat(ask("three"))
    await llm.aclose()
    assert [(parrot.name, parrot.warm, parrot.closed) for parrot in made] == [
        ("one False", True, True),
        ("one True", False, True),
        ("two False", False, True),
    ]


class Leak(Parrot):
    """An adapter whose answers repeat the key, whole and in pieces."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        key = request.api_key
        raw = {"echo": [f"Bearer {key}"], key: 1}
        return ChatResponse(
            f"you said {key}.",
            key,
            response_id=key,
            choices=({"message": {key: key}},),
            raw_response=raw,
            reasoning=f"they said {key}",
            tool_calls=({"id": key},),
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        key = request.api_key
        try:
            for piece in ("Hi ", key[:3], key[3:9], key[9:], " and ", key[:5]):
                yield Chunk("text_chunk", piece)
            for piece in ("hm ", key[:3], key[3:], "."):
                yield Chunk("reasoning_chunk", piece)
            yield Chunk("usage_chunk", {"for": key})
            yield Chunk("finish_reason_chunk", {"finish_reason": "stop", "accumulated_text": f"x{key}"}, {"by": key})
        finally:
            self.closed = True


async def test_an_answer_that_repeats_the_key_comes_without_it() -> None:
    leaks = [Leak("leak")]
    llm = DispatchingLlm(AdapterRegistry(AdapterType("leak", "Leak", lambda policy: leaks[0])), NOWHERE, HERE)
    request = replace(ask("leak"), api_key="sk-canary-5512")
    response = await llm.chat(request)
    assert "sk-canary" not in repr(response)
    assert (response.text, response.choices) == ("you said ***.", ({"message": {"***": "***"}},))
    assert (response.reasoning, response.tool_calls) == ("they said ***", ({"id": "***"},))
    chunks = [chunk async for chunk in llm.stream(request)]
    assert "sk-canary" not in repr(chunks)
    assert "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk") == "Hi *** and sk-ca"
    assert "".join(chunk.content for chunk in chunks if chunk.type == "reasoning_chunk") == "hm ***."
    assert chunks[-1].content == {"finish_reason": "stop", "accumulated_text": "x***"}
    assert chunks[-1].extra == {"by": "***"}
    # Nobody has a key of one letter: such an answer stays as it is.
    assert (await llm.chat(replace(request, api_key="a"))).text == "you said a."


class HeaderLeak(Parrot):
    """An adapter whose answers repeat a header of the channel."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse(f"{request.traits.headers['X-My-Token']} of {request.traits.headers['X-Title']}", "m")

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        yield Chunk("text_chunk", (await self.chat(request)).text)


async def test_an_answer_that_repeats_a_key_in_the_headers_of_a_channel_comes_without_it() -> None:
    llm = DispatchingLlm(AdapterRegistry(AdapterType("leak", "Leak", lambda policy: HeaderLeak("x"))), NOWHERE, HERE)
    traits = ChannelTraits(headers={"X-My-Token": "Bearer tok-5512", "X-Title": "Innkeeper"})
    request = replace(ask("leak"), traits=traits)
    assert (await llm.chat(request)).text == "*** of Innkeeper"
    assert "".join([chunk.content async for chunk in llm.stream(request)]) == "*** of Innkeeper"


async def test_a_masked_stream_that_is_given_up_ends_the_providers() -> None:
    leak = Leak("leak")
    llm = DispatchingLlm(AdapterRegistry(AdapterType("leak", "Leak", lambda policy: leak)), NOWHERE, HERE)
    chunks = cast("AsyncGenerator[Chunk, None]", llm.stream(replace(ask("leak"), api_key="sk-canary-5512")))
    assert (await anext(chunks)).content == "Hi "
    await chunks.aclose()
    assert leak.closed


def test_registering_again_replaces_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    registry = built_in_adapters()
    assert tuple(registry.names) == BUILT_IN_ADAPTERS
    assert [kind.display_name for kind in registry][:2] == ["OpenAI-compatible", "OpenAI Responses"]
    with caplog.at_level(logging.WARNING):
        registry.register(AdapterType("openai", "Other", lambda policy: Parrot("other")))
    assert "'openai' is registered again" in caplog.text
    assert isinstance(registry.make("openai", NOWHERE), Parrot)


async def test_a_channel_may_be_where_a_graph_may_not_go(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)
    llm = DispatchingLlm(built_in_adapters(), NOWHERE, HERE)
    async with serve(app) as url:
        messages = [{"role": "user", "content": "hello there"}]
        through = ChatRequest(f"{url}/demo/v1", "demo-echo@0", messages, channel_id="demo")
        response = await llm.chat(through)
        assert "hello" in response.text
        assert response.raw_response is not None
        assert response.raw_response["object"] == "chat.completion"
        # The connection of the channel is open now; a graph must not get it.
        with pytest.raises(RequestRefused):
            await llm.chat(ChatRequest(f"{url}/demo/v1", "demo-echo@0", messages))
        await llm.aclose()


async def test_openai_adapter_lists_models_and_hides_no_error(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)

    @app.get("/odd/models")
    async def odd() -> dict[str, Any]:
        return {"data": {"a": 1}}

    adapter = ProtocolAdapter(OpenAIChat(), HERE)
    async with serve(app) as url:
        assert "demo-echo" in [model["id"] for model in await adapter.list_models(f"{url}/demo/v1", "key")]
        with pytest.raises(ProviderError, match="did not answer with a list of models"):
            await adapter.list_models(f"{url}/odd")
        with pytest.raises(ProviderError) as caught:
            await adapter.list_models(f"{url}/nothing")
        assert caught.value.code == "not_found_error"
        await adapter.aclose()


async def test_the_demo_model_is_asked_at_its_gateway_with_its_own_token_whatever_key_was_given() -> None:
    asked: list[ChatRequest] = []

    class Listener(Parrot):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            asked.append(request)
            return ChatResponse(self.name, request.model)

        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            asked.append(request)
            yield Chunk("text_chunk", self.name)

    registry = AdapterRegistry(AdapterType("one", "One", lambda policy: Listener("one")))
    llm = DispatchingLlm(registry, NOWHERE, HERE, demo=DemoEndpoint("http://127.0.0.1:5/demo/v1", "its-own"))
    request = replace(ask("one"), base_url=" Demo ", api_key="of-somebody")
    await llm.chat(request)
    assert [chunk async for chunk in llm.stream(request)]
    assert [(one.base_url, one.api_key) for one in asked] == [("http://127.0.0.1:5/demo/v1", "its-own")] * 2
    with pytest.raises(RequestRefused, match="no gateway"):
        await DispatchingLlm(registry, NOWHERE, HERE).chat(request)


# --- adapters of plugins ----------------------------------------------------------------------------------------------


def offered(make: Callable[[], Any], name: str = "mine") -> PluginAdapter:
    return PluginAdapter(name, "Mine", "toys", make)


async def test_adapters_of_plugins_come_and_go(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)
    plugins: list[PluginAdapter] = []
    registry = built_in_adapters(plugins=lambda: plugins)
    names = registry.names
    llm = DispatchingLlm(registry, HERE, HERE)
    async with serve(app) as url:
        request = ChatRequest(f"{url}/demo/v1", "demo-echo@0", [{"role": "user", "content": "hi"}], adapter="mine")
        with pytest.raises(ProviderError, match="there is no adapter 'mine'"):
            await llm.chat(request)
        plugins.append(offered(OpenAIChat))
        assert "mine" in names
        assert (await llm.chat(request)).text == "hi"
        # Loaded anew: what is made next is made of the new code, and the stream goes on with the old.
        stream = llm.stream(request)
        await anext(stream)
        plugins[:] = [offered(lambda: 1 / 0)]
        with pytest.raises(ProviderError, match="the adapter 'mine' of the plugin 'toys' failed: ZeroDivisionError"):
            await llm.chat(request)
        assert [chunk.type async for chunk in stream][-1] == "finish_reason_chunk"
    await llm.aclose()


async def test_what_a_plugin_makes_is_looked_at(serve: Any) -> None:
    registry = built_in_adapters(plugins=lambda: [offered(lambda: "no protocol"), offered(OpenAIChat, "openai")])
    llm = DispatchingLlm(registry, HERE, HERE)
    with pytest.raises(ProviderError, match="is no WireProtocol: it needs framing"):
        await llm.chat(ChatRequest("http://h", "m", [{"role": "user", "content": "hi"}], adapter="mine"))
    assert registry.get("openai").display_name == "OpenAI-compatible"  # a built-in name is not taken
    assert registry.remote_media("mine") == ()
    assert registry.remote_media("openai") == ("http://", "https://")
    await llm.aclose()
