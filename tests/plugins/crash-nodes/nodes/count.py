"""A node with a side effect that can be counted: one line in a file each time it runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, Output
from innkeeper.nodes.definition import Retry


async def execute(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    line = f"{context.prompt_id} {context.node_id} {context.attempt}\n".encode()
    file = os.open(inputs["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)
    await asyncio.sleep(inputs["seconds"])
    while inputs["gate"] and not Path(inputs["gate"]).exists():
        await asyncio.sleep(0.01)
    return {"text": f"{inputs.get('text') or ''}[{context.node_id}]"}


definition = NodeDefinition(
    type="Count",
    category="test",
    display_name="Count",
    description="Writes a line to a file, waits (for a time, and for another file), and passes its text on.",
    inputs={
        "file": Input("STRING", required=True),
        "text": Input("STRING"),
        "seconds": Input("FLOAT", config={"default": 0.0}),
        "gate": Input("STRING", config={"default": ""}),
    },
    outputs={"text": Output("STRING")},
    execute=execute,
    retry=Retry(maximum_attempts=10, initial_seconds=0.1),
)
