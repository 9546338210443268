"""Small node types for the gateway's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.errors import BudgetReached, NodeError, NodeMustWait
from innkeeper.nodes.node import Chunk, Outputs

TEXT_IN = {"text": Input("STRING", config={"default": "hi"})}
TEXT_OUT = {"text": Output("STRING")}


async def say(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"text": inputs["text"]}


async def shout(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"text": inputs["text"].upper() * inputs["times"]}


async def fail(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    raise NodeError("no luck today", code="bad_luck", retryable=False)


async def hold(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    """Wait until there is a file of this name, or so many seconds without one."""
    if not inputs["gate"]:
        await asyncio.sleep(inputs["seconds"])
    while inputs["gate"] and not Path(inputs["gate"]).exists():
        await asyncio.sleep(0.01)
    return {"text": "held"}


async def count(inputs: dict[str, Any], context: Any) -> AsyncIterator[Any]:
    for index in range(inputs["upto"]):
        await asyncio.sleep(inputs["pause"])
        yield Chunk("text_chunk", f"{index} ".ljust(inputs["pad"]))
    yield Outputs({"last": inputs["upto"] - 1})


async def spend(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    """Spend more than it may in so many attempts."""
    if context.attempt <= inputs["refused"]:
        limit = 100 * context.attempt
        about = {"scope": inputs["scope"], "limit": {"tokens": limit}, "used": {"tokens": limit - 1, "money": 0.5}}
        raise BudgetReached(f"it may spend {limit} tokens", details=about)
    return {"text": "spent"}


async def come_back(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    if context.attempt == 1:
        raise NodeMustWait("full", delay_s=inputs["seconds"], details={"reason": "60 requests a minute", "limit": "x"})
    return {"text": "came back"}


async def picture(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    return {"image": b"<script>alert(1)</script>"}


async def key_length(inputs: dict[str, Any], context: Any) -> dict[str, Any]:
    key = await context.services.secrets.reveal(inputs["api_key"])
    return {"length": len(key)}


def _node(type: str, execute: Any, inputs: dict[str, Input], outputs: dict[str, Output], **more: Any) -> NodeDefinition:
    return NodeDefinition(
        type=type, category="Toys", display_name=type, description=type, inputs=inputs, outputs=outputs,
        execute=execute, **more,
    )  # fmt: skip


definitions = [
    _node("Say", say, TEXT_IN, TEXT_OUT, bypass_behavior=BypassBehavior(pass_through={"text": "text"})),
    _node("Shout", shout, {**TEXT_IN, "times": Input("INTEGER", config={"default": 1})}, TEXT_OUT),
    _node("Fail", fail, TEXT_IN, TEXT_OUT),
    _node(
        "Hold",
        hold,
        {"seconds": Input("FLOAT", config={"default": 30}), "gate": Input("STRING", config={"default": ""})},
        TEXT_OUT,
    ),
    _node(
        "Count",
        count,
        {
            "upto": Input("INTEGER", config={"default": 3}),
            "pause": Input("FLOAT", config={"default": 0}),
            "pad": Input("INTEGER", config={"default": 0}),
        },
        {"stream": Output("STRING", is_stream=True), "last": Output("INTEGER")},
    ),
    _node(
        "Spend",
        spend,
        {"refused": Input("INTEGER", config={"default": 1}), "scope": Input("STRING", config={"default": "run"})},
        TEXT_OUT,
    ),
    _node("ComeBack", come_back, {"seconds": Input("FLOAT")}, TEXT_OUT),
    _node("Picture", picture, {}, {"image": Output("BINARY")}),
    _node("KeyLength", key_length, {"api_key": Input("STRING", secret=True)}, {"length": Output("INTEGER")}),
]
