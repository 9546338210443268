"""Language models for a node whose limit counts silence: what a model says is a sign of life."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from innkeeper.activities.execution.active_time import ActiveTime
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk, Llm


class WatchedLlm:
    """The models of one attempt (`nodes.node.Llm`).

    Until the first chunk of a stream the request's own limit for that counts, where it is the longer one: a model may
    think for long before it begins. A whole answer comes at once, so for it the node's limit is that of all of it.

    Args:
        time: The attempt's clock.
        silence_s: How long the node may be silent.
    """

    def __init__(self, llm: Llm, time: ActiveTime, silence_s: float) -> None:
        self._llm = llm
        self._time = time
        self._silence_s = silence_s

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return await self._llm.chat(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        first_s = request.times.first
        self._time.restart(0.0 if first_s is None else max(first_s, self._silence_s))
        try:
            async with aclosing(cast("AsyncGenerator[Chunk, None]", self._llm.stream(request))) as chunks:
                async for chunk in chunks:
                    self._time.restart(self._silence_s)
                    yield chunk
        finally:
            self._time.restart(self._silence_s)
