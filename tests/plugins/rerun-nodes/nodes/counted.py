"""Nodes whose every execution can be counted: one line in a file each time one runs."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, NodeError, Output


async def execute(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    file = os.open(inputs["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{context.node_id}\n".encode())
    os.close(file)
    await asyncio.sleep(inputs["seconds"])
    if inputs["text"] == "broken":
        raise NodeError("the text is broken", code="broken_text", retryable=False)
    return {"text": f"{inputs['text']}." * inputs["times"]}


def counted(type: str, **more: Any) -> NodeDefinition:
    return NodeDefinition(
        type=type,
        category="test",
        display_name=type,
        description="Writes a line to a file and hands its text on, with a dot.",
        inputs={
            "file": Input("STRING", required=True),
            "text": Input("STRING", config={"default": ""}),
            "times": Input("INTEGER", config={"default": 1}),
            "seconds": Input("FLOAT", config={"default": 0.0}),
        },
        outputs={"text": Output("STRING")},
        execute=execute,
        **more,
    )


definitions = [
    counted("Plain"),
    counted("Paid", side_effects=True),
    counted("Sure", deterministic=True),
]
