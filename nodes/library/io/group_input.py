"""core:GroupInput: the values a workflow is called with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.node import Chunk, Inputs, NodeContext, Outputs


async def group_input(inputs: Inputs, context: NodeContext) -> Outputs:
    """Give each interface input of the workflow as an output of the same key; keys without a value are absent.

    Runs as an activity only where a stream from outside is wanted whole: it is read to its end here.
    """
    collected = {key: await _collected(value) for key, value in inputs.items()}
    return Outputs({**context.workflow_interface_inputs, **collected})


async def _collected(streams: AsyncIterator[Chunk] | list[AsyncIterator[Chunk]]) -> dict[str, Any]:
    """One or several streams, one after the other, as `{text, chunks, items}`."""
    several = streams if isinstance(streams, list) else [streams]
    chunks = [chunk for stream in several async for chunk in stream]
    text = "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk" and isinstance(chunk.content, str))
    return {"text": text, "chunks": len(chunks), "items": [chunk.to_json() for chunk in chunks]}


definition = NodeDefinition(
    type="GroupInput",
    category="Group",
    display_name="Group input",
    display_names={"zh": "组输入"},
    description="Gives the inputs of this workflow. A connected empty slot becomes a new input.",
    outputs={
        "output_0": Output(
            "CONVERTIBLE_ANY",
            display_name="New input",
            match_categories=("BehaviorConvertible",),
            allow_dynamic_type=True,
        )
    },
    execute=group_input,
    placement="workflow",
    dynamic_slots=True,
    bypassable=False,
    interface_values=True,
)
