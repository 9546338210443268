"""The one `Llm` that nodes see: each request goes to the adapter it names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from innkeeper.nodes.errors import RequestRefused
from innkeeper.nodes.hosts import is_demo_model
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.adapter import LlmAdapter
from innkeeper.nodes.services.llm.plugin_adapter import ThreadedAdapter
from innkeeper.nodes.services.llm.registry import AdapterRegistry
from innkeeper.nodes.services.llm.request_secrets import keys_of
from innkeeper.nodes.services.masking import ChunkMask, forms_of_all, mask

_TUPLES = frozenset({"choices", "tool_calls", "tried"})


@dataclass(frozen=True)
class DemoEndpoint:
    base_url: str
    token: str = field(repr=False)


class DispatchingLlm:
    """Sends requests to the adapters of a registry, made when they are first needed (`nodes.node.Llm`).

    Answers that repeat the key, or one in the headers or the query of a channel, come back with `***` in its place, so
    that no node can store or show it.

    Args:
        policy: What requests to an address out of a graph may reach.
        demo: Where the demo model is, and the token that it is shown; without it there is none.
        channel_policy: What requests through a channel of the operator may reach. They have connections of their
            own: one that was opened for a channel would serve a graph without being checked.
        is_operators: Is the channel of this id one of the operator? Those that users have made reach what an address
            in a graph may reach: who may talk to the gateway may not thereby talk to the network around it.
    """

    def __init__(
        self,
        registry: AdapterRegistry,
        policy: AddressPolicy,
        channel_policy: AddressPolicy,
        *,
        demo: DemoEndpoint | None = None,
        is_operators: Callable[[str], bool] = bool,
    ) -> None:
        self._registry = registry
        self._demo = demo
        self._is_operators = is_operators
        self._policies = {False: policy, True: channel_policy}
        self._adapters: dict[tuple[str, bool], LlmAdapter] = {}
        self._sources: dict[tuple[str, bool], object] = {}

    async def chat(self, request: ChatRequest) -> ChatResponse:
        request = self._addressed(request)
        response = await self._adapter_for(request).chat(request)
        forms = forms_of_all(keys_of(request))
        if not forms:
            return response
        masked: dict[str, Any] = {part.name: mask(getattr(response, part.name), forms) for part in fields(response)}
        masked |= {name: tuple(masked[name]) for name in _TUPLES}  # lists by now
        return ChatResponse(**masked)

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        request = self._addressed(request)
        chunks = self._adapter_for(request).stream(request)
        forms = forms_of_all(keys_of(request))
        return _masked(chunks, forms) if forms else chunks

    async def warm_up(self) -> None:
        for name in tuple(self._registry.names)[:1]:
            await self._adapter(name, False).warm_up()

    async def aclose(self) -> None:
        adapters, self._adapters = self._adapters, {}
        for adapter in adapters.values():
            await adapter.aclose()

    def _addressed(self, request: ChatRequest) -> ChatRequest:
        if not is_demo_model(request.base_url):
            return request
        if self._demo is None:
            raise RequestRefused("there is no demo model here: this worker has no gateway")
        return replace(request, base_url=self._demo.base_url, api_key=self._demo.token)

    def _adapter_for(self, request: ChatRequest) -> LlmAdapter:
        return self._adapter(request.adapter, bool(request.channel_id) and self._is_operators(request.channel_id))

    def _adapter(self, name: str, is_channel: bool) -> LlmAdapter:
        key, kind = (name, is_channel), self._registry.get(name)
        held = self._adapters.get(key)
        if held is None or self._sources[key] is not kind.source:
            if isinstance(held, ThreadedAdapter):  # its plugin was loaded anew
                held.retire()
            held = self._adapters[key] = kind.make(self._policies[is_channel])
            self._sources[key] = kind.source
        return held


async def _masked(chunks: AsyncIterator[Chunk], forms: tuple[str, ...]) -> AsyncIterator[Chunk]:
    """The chunks without the key, also where it is split over several pieces of the text."""
    masking = ChunkMask(forms)
    # The consumer closes this generator when a run is interrupted: the provider's stream must end with it.
    async with aclosing(cast("AsyncGenerator[Chunk, None]", chunks)) as parts:
        async for chunk in parts:
            for masked in masking.feed(chunk):
                yield masked
    for rest in masking.end():
        yield rest
