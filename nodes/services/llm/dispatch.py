"""The one `Llm` that nodes see: each request goes to the adapter it names."""

from __future__ import annotations

from collections.abc import AsyncIterator

from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.adapter import LlmAdapter
from innkeeper.nodes.services.llm.registry import AdapterRegistry


class DispatchingLlm:
    """Sends requests to the adapters of a registry, made when they are first needed (`nodes.node.Llm`).

    Args:
        policy: What requests to an address out of a graph may reach.
        channel_policy: What requests through a channel of the operator may reach. They have connections of their
            own: one that was opened for a channel would serve a graph without being checked.
    """

    def __init__(self, registry: AdapterRegistry, policy: AddressPolicy, channel_policy: AddressPolicy) -> None:
        self._registry = registry
        self._policies = {False: policy, True: channel_policy}
        self._adapters: dict[tuple[str, bool], LlmAdapter] = {}

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return await self._adapter_for(request).chat(request)

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        return self._adapter_for(request).stream(request)

    async def warm_up(self) -> None:
        for name in self._registry.names[:1]:
            await self._adapter(name, False).warm_up()

    async def aclose(self) -> None:
        adapters, self._adapters = self._adapters, {}
        for adapter in adapters.values():
            await adapter.aclose()

    def _adapter_for(self, request: ChatRequest) -> LlmAdapter:
        return self._adapter(request.adapter, bool(request.channel_id))

    def _adapter(self, name: str, is_channel: bool) -> LlmAdapter:
        key = (name, is_channel)
        if key not in self._adapters:
            self._adapters[key] = self._registry.make(name, self._policies[is_channel])
        return self._adapters[key]
