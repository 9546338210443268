"""bench:Ticks: a stream at an even pace whose chunks tell when they were made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.node import Inputs

YIELD_EVERY = 50


async def ticks(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk]:
    """`ready`, then, as soon as the file `go` tells the time to begin, `number nanoseconds` again and again.

    Without `go` it begins at once, without `pause` it goes as fast as it can.
    """
    yield Chunk("text_chunk", "ready")
    pause = inputs["pause"]
    begin = await _told(Path(inputs["go"])) if inputs["go"] else time.monotonic()
    begin += context.random.random() * pause
    for number in range(inputs["count"]):
        if pause:
            await asyncio.sleep(begin + number * pause - time.monotonic())
        elif number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        yield Chunk("text_chunk", f"{number} {time.monotonic_ns()}")


async def _told(go: Path) -> float:
    while not go.exists():
        await asyncio.sleep(0.05)
    return float(go.read_text())


definition = NodeDefinition(
    type="Ticks",
    category="Benchmarks",
    display_name="Ticks",
    description="Streams numbered time stamps at a pace.",
    inputs={
        "count": Input("INTEGER", config={"default": 100}),
        "pause": Input("FLOAT", config={"default": 0.02}),
        "go": Input("STRING", config={"default": ""}),
    },
    outputs={"stream": Output("STRING", is_stream=True)},
    execute=ticks,
)
