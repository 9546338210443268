"""Stream nodes that count: c0, c1, c2, ..."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, NodeError, Output, Outputs
from innkeeper.nodes.definition import Retry
from innkeeper.nodes.node import Inputs

_INPUTS = {
    "count": Input("INTEGER", config={"default": 3}),
    "prefix": Input("STRING", config={"default": "c"}),
    "delay": Input("INTEGER", config={"default": 0}),
}


async def count_up(inputs: Inputs) -> AsyncIterator[Chunk]:
    for number in range(inputs["count"]):
        if inputs["delay"] > 0:
            await asyncio.sleep(inputs["delay"] / 1000)
        yield Chunk("text_chunk", f"{inputs['prefix']}{number}")


async def emit(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    texts = []
    async for chunk in count_up(inputs):
        texts.append(chunk.content)
        yield chunk
    yield Outputs(text="".join(texts), count=len(texts))


async def emit_only(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk]:
    async for chunk in count_up(inputs):
        yield chunk


async def emit_and_fail(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk]:
    async for chunk in count_up(inputs):
        yield chunk
    raise NodeError("stream boom", retryable=False)


definitions = [
    NodeDefinition(
        type="Emit",
        namespace="test",
        category="test",
        display_name="Emit",
        description="Streams numbered texts, then gives them joined and their count.",
        inputs=_INPUTS,
        outputs={"out": Output("STRING", is_stream=True), "text": Output("STRING"), "count": Output("INTEGER")},
        execute=emit,
    ),
    NodeDefinition(
        type="EmitTwo",
        namespace="test",
        category="test",
        display_name="Emit to two",
        description="Streams numbered texts to two outputs at once and gives nothing else.",
        inputs=_INPUTS,
        outputs={"a": Output("STRING", is_stream=True), "b": Output("STRING", is_stream=True)},
        execute=emit_only,
    ),
    NodeDefinition(
        type="EmitThrow",
        namespace="test",
        category="test",
        display_name="Emit and fail",
        description="Streams numbered texts, then fails, once.",
        inputs=_INPUTS,
        outputs={"out": Output("STRING", is_stream=True), "text": Output("STRING")},
        execute=emit_and_fail,
        retry=Retry(maximum_attempts=1),
    ),
]
