"""What a provider's protocol must offer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from nodes.node import ChatRequest, ChatResponse, Chunk


class LlmAdapter(Protocol):
    """One way to talk to language models; it is a `nodes.node.Llm` that can be closed.

    An adapter asks once: trying again is the engine's business, which counts attempts.
    """

    async def chat(self, request: ChatRequest) -> ChatResponse: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]: ...

    async def aclose(self) -> None:
        """Close the connections. The adapter cannot be used afterwards."""
