"""Nodes that make large values and hand them on, each one a different value."""

from __future__ import annotations

from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, Output

MB = 1_000_000
ROW = {"name": "somebody", "says": "something that is long enough to be worth a row of its own, and not much more"}


async def make_text(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    name = f"{context.node_id:>20}"
    return {"value": name + "x" * (int(inputs["mb"] * MB) - len(name))}


async def make_rows(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    return {"value": [{"n": number, **ROW} for number in range(int(inputs["mb"] * MB) // 130)]}


async def pass_on(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    value = inputs["value"]
    if isinstance(value, str):
        return {"value": f"{context.node_id:>20}" + value[20:]}
    value[0] = {**value[0], "seen": context.node_id}
    return {"value": value}


async def measure(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    return {"count": sum(len(value) for value in inputs["values"])}


def big(type: str, execute: Any, inputs: dict[str, Input], **outputs: Output) -> NodeDefinition:
    return NodeDefinition(
        type=type,
        category="test",
        display_name=type,
        description="Makes a large value, hands one on, or measures some.",
        inputs=inputs,
        outputs=outputs,
        execute=execute,
    )


SIZE = {"mb": Input("FLOAT", required=True)}
definitions = [
    big("Text", make_text, SIZE, value=Output("STRING")),
    big("Rows", make_rows, SIZE, value=Output("ARRAY")),
    big("Pass", pass_on, {"value": Input("WILDCARD", required=True)}, value=Output("WILDCARD")),
    big("Measure", measure, {"values": Input("WILDCARD", multi=True, required=True)}, count=Output("INTEGER")),
]
