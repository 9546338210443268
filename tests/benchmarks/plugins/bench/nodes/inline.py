"""bench:Inline: gives its text on, inline."""

from __future__ import annotations

from innkeeper import Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.node import Inputs


async def inline(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    return {"text": inputs["text"]}


definition = NodeDefinition(
    type="Inline",
    category="Benchmarks",
    display_name="Inline",
    description="Gives the text it got, without an activity of its own.",
    inputs={"text": Input("STRING", config={"default": "x"})},
    outputs={"text": Output("STRING")},
    execute=inline,
    placement="inline",
)
