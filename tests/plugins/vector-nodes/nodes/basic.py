"""Batch nodes: they echo, sleep, fail, or give nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, NodeError, Output
from innkeeper.nodes.definition import Retry
from innkeeper.nodes.node import Inputs


async def give_value(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    return {"value": inputs["value"]} if "value" in inputs else {}


async def echo(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    return {"all": dict(inputs)}


async def fail(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    raise NodeError(str(inputs.get("message")), retryable=False)


async def sleep(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Sleep so long or, with a gate, until there is a file of that name."""
    gate = inputs.get("gate")
    if not gate:
        await asyncio.sleep(inputs["ms"] / 1000)
    while gate and not Path(gate).exists():
        await asyncio.sleep(0.01)
    return {"out": "slept"}


async def give_nothing(inputs: Inputs, context: NodeContext) -> None:
    return None


definitions = [
    NodeDefinition(
        type="Source",
        namespace="test",
        category="test",
        display_name="Source",
        description="Gives the value it was set to.",
        inputs={"value": Input("WILDCARD")},
        outputs={"value": Output("WILDCARD")},
        execute=give_value,
        placement="inline",
    ),
    NodeDefinition(
        type="Echo",
        namespace="test",
        category="test",
        display_name="Echo",
        description="Gives all its inputs as they came.",
        inputs={"a": Input("STRING"), "b": Input("STRING"), "n": Input("INTEGER", config={"default": 7})},
        outputs={"all": Output("OBJECT")},
        execute=echo,
        placement="inline",
    ),
    NodeDefinition(
        type="EchoReq",
        namespace="test",
        category="test",
        display_name="Echo, required",
        description="Gives all its inputs as they came; both are required, one has a default.",
        inputs={
            "a": Input("STRING", required=True),
            "b": Input("STRING", required=True, config={"default": "dflt"}),
        },
        outputs={"all": Output("OBJECT")},
        execute=echo,
        placement="inline",
    ),
    NodeDefinition(
        type="Fail",
        namespace="test",
        category="test",
        display_name="Fail",
        description="Fails with its message, once.",
        inputs={"message": Input("STRING", config={"default": "boom"}), "trigger": Input("WILDCARD")},
        outputs={"out": Output("STRING")},
        execute=fail,
        retry=Retry(maximum_attempts=1),
    ),
    NodeDefinition(
        type="Sleep",
        namespace="test",
        category="test",
        display_name="Sleep",
        description="Waits some milliseconds.",
        inputs={
            "ms": Input("INTEGER", config={"default": 100}),
            "after": Input("WILDCARD"),
            "gate": Input("STRING", config={"default": ""}),
        },
        outputs={"out": Output("STRING")},
        execute=sleep,
    ),
    NodeDefinition(
        type="ReturnsNothing",
        namespace="test",
        category="test",
        display_name="Returns nothing",
        description="Succeeds without any output.",
        inputs={"trigger": Input("WILDCARD")},
        outputs={"out": Output("STRING")},
        execute=give_nothing,
        placement="inline",
    ),
]
