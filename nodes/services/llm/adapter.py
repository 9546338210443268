"""What a provider's protocol must offer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk

NO_TRAITS = ChannelTraits()


class LlmAdapter(Protocol):
    """One way to talk to language models; it is a `nodes.node.Llm` that can be closed.

    An adapter asks once: trying again is the engine's business, which counts attempts.
    """

    async def chat(self, request: ChatRequest) -> ChatResponse: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]: ...

    async def list_models(
        self, base_url: str, api_key: str = "", traits: ChannelTraits = NO_TRAITS
    ) -> tuple[Mapping[str, Any], ...]:
        """The models of a server, each with its `id`. Of `traits` the headers and the query count.

        Raises as `chat` does.
        """

    async def warm_up(self) -> None:
        """Load what the first call would otherwise wait for."""

    async def aclose(self) -> None:
        """Close the connections. The adapter cannot be used afterwards."""
