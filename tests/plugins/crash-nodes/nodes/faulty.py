"""Nodes with bad habits, chosen by the input `kind`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext


async def faulty(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    kind = inputs["kind"]
    if kind == "nan":
        context.progress(float("nan"), 100)
    if kind == "half":
        raise NodeError("bad \ud83d", retryable=False, details={"x": "\ud83d"})
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fail" and context.attempt == 1:
        context.warn("first", "of an attempt that failed")
        raise NodeError("not yet", code="too_early")
    if kind == "fail":
        context.warn("second", "it took another attempt")
    if kind == "slow":
        await asyncio.sleep(inputs["seconds"])
    return {"text": str(context.attempt)}


async def leaver(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    async for _ in inputs["stream"]:
        pass
    sys.exit(3)


FAULTY = NodeDefinition(
    type="Faulty",
    category="test",
    display_name="Faulty",
    description="A node with a bad habit.",
    inputs={
        "kind": Input("STRING", config={"default": ""}),
        "seconds": Input("FLOAT", config={"default": 1.0}),
    },
    outputs={"text": Output("STRING")},
    execute=faulty,
    retry=Retry(initial_seconds=0.1),
)

definitions = [
    FAULTY,
    replace(FAULTY, type="FaultyInline", placement="inline"),
    NodeDefinition(
        type="Leaver",
        category="test",
        display_name="Leaver",
        description="Reads a stream and calls exit().",
        inputs={"stream": Input("STRING", is_stream=True, required=True)},
        outputs={"text": Output("STRING")},
        execute=leaver,
    ),
]
