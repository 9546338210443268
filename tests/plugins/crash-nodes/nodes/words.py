"""A stream that is the same each time it begins anew: so many words, at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, Output, Outputs
from innkeeper.nodes.definition import Retry


async def execute(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    words = []
    for number in range(inputs["count"]):
        await asyncio.sleep(inputs["pause"])
        words.append(f"{inputs['prefix']}{number} ")
        yield Chunk("text_chunk", words[-1])
    yield Outputs(text="".join(words))


definition = NodeDefinition(
    type="Words",
    category="test",
    display_name="Words",
    description="Streams numbered words at a pace, in seconds between two.",
    inputs={
        "count": Input("INTEGER", config={"default": 10}),
        "pause": Input("FLOAT", config={"default": 0.05}),
        "prefix": Input("STRING", config={"default": "w"}),
    },
    outputs={"stream": Output("STRING", is_stream=True), "text": Output("STRING")},
    execute=execute,
    retry=Retry(maximum_attempts=50, initial_seconds=0.1, maximum_seconds=1.0),
)
