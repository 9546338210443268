"""bench:Busy: an inline node that takes its time, to see what stands beside a long segment."""

from __future__ import annotations

import time

from innkeeper import Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.node import Inputs


async def busy(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    end = time.perf_counter() + inputs["seconds"]
    while time.perf_counter() < end:
        pass
    return {"text": inputs["text"]}


definition = NodeDefinition(
    type="Busy",
    category="Benchmarks",
    display_name="Busy",
    description="Gives the text it got, after some work.",
    inputs={"text": Input("STRING", config={"default": "x"}), "seconds": Input("FLOAT", config={"default": 0.015})},
    outputs={"text": Output("STRING")},
    execute=busy,
    placement="inline",
)
