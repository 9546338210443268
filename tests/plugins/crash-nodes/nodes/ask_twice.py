"""A node that asks a model twice, one answer after the other, and tells in a file which process it runs in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.definition import Retry
from innkeeper.nodes.node import ChatRequest


async def execute(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk]:
    line = f"{context.prompt_id} {context.node_id} {context.attempt} {os.getpid()}\n".encode()
    file = os.open(inputs["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)
    request = ChatRequest(inputs["base_url"], "slow", [{"role": "user", "content": "Tell"}])
    for _ in range(2):
        async for chunk in context.services.llm.stream(request):
            if chunk.type == "text_chunk":
                yield chunk


definition = NodeDefinition(
    type="AskTwice",
    category="test",
    display_name="Ask twice",
    description="Streams two answers of a model.",
    inputs={"file": Input("STRING", required=True), "base_url": Input("STRING", required=True)},
    outputs={"stream": Output("STRING", is_stream=True)},
    execute=execute,
    retry=Retry(maximum_attempts=10, initial_seconds=0.1),
)
