"""bench:Step: gives its text on, as an activity of its own."""

from __future__ import annotations

from innkeeper import Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.node import Inputs


async def step(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    return {"text": inputs["text"]}


definition = NodeDefinition(
    type="Step",
    category="Benchmarks",
    display_name="Step",
    description="Gives the text it got.",
    inputs={"text": Input("STRING", config={"default": "x"})},
    outputs={"text": Output("STRING")},
    execute=step,
    placement="activity",
)
