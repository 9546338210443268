"""An inline node that draws by lot and tells in a file that it ran: a repeated segment must draw the same."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, Output


async def execute(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    text = f"{inputs.get('text') or ''}[{context.random.randint(0, 10**9)}]"
    file = os.open(inputs["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{context.prompt_id} {context.node_id} {text}\n".encode())
    os.close(file)
    await asyncio.sleep(inputs["seconds"])
    return {"text": text}


definition = NodeDefinition(
    type="Lot",
    category="test",
    display_name="Lot",
    description="Adds a number drawn by lot to a text. The file is for the test alone.",
    inputs={
        "file": Input("STRING", required=True),
        "text": Input("STRING"),
        "seconds": Input("FLOAT", config={"default": 0.0}),
    },
    outputs={"text": Output("STRING")},
    execute=execute,
    placement="inline",
)
