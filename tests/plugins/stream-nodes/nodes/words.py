"""A producer: `w0 w1 ...`, one chunk each; it can wait first, fail, say an error, or after ten wait for a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from innkeeper import Chunk, Input, NodeContext, NodeDefinition, NodeError, Output, Outputs
from innkeeper.nodes.definition import Retry
from innkeeper.nodes.errors import NodeMustWait


async def execute(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    if context.attempt <= inputs["waits"]:
        raise NodeMustWait("the provider asked to come back", delay_s=0.2)
    for index in range(inputs["count"]):
        if index == inputs["error_at"]:
            yield Chunk("error_chunk", {"message": "no more words", "code": "words_out"})
        if index == inputs["fail_at"] and context.attempt <= inputs["failures"]:
            raise NodeError(f"stumbled at {index}")
        yield Chunk("text_chunk", f"w{index} ")
        while inputs["gate"] and index == 9 and not Path(inputs["gate"]).exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(inputs["delay"])
    yield Outputs({"count": inputs["count"]})


definition = NodeDefinition(
    type="Words",
    category="test",
    display_name="Words",
    description="Gives words.",
    inputs={
        "count": Input("INTEGER", config={"default": 5}),
        "delay": Input("FLOAT", config={"default": 0.0}),
        "waits": Input("INTEGER", config={"default": 0}),
        "fail_at": Input("INTEGER", config={"default": -1}),
        "failures": Input("INTEGER", config={"default": 0}),
        "error_at": Input("INTEGER", config={"default": -1}),
        "gate": Input("STRING", config={"default": ""}),
        "begin": Input("WILDCARD"),
    },
    outputs={"out": Output("STRING", is_stream=True), "count": Output("INTEGER")},
    execute=execute,
    retry=Retry(maximum_attempts=3, initial_seconds=0.1),
)
