"""A consumer that stops after some chunks, and gives them as a stream and as a text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, Output, Outputs


async def execute(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    text = ""
    number = 0
    async for chunk in inputs["stream"]:
        if number == inputs["count"]:
            break
        number += 1
        text += str(chunk.content)
        yield chunk
    yield Outputs({"text": text})


definition = NodeDefinition(
    type="Take",
    category="test",
    display_name="Take",
    description="Reads some chunks and no more.",
    inputs={
        "stream": Input("WILDCARD", is_stream=True, required=True),
        "count": Input("INTEGER", config={"default": 1_000_000}),
    },
    outputs={"out": Output("STRING", is_stream=True), "text": Output("STRING")},
    execute=execute,
)
