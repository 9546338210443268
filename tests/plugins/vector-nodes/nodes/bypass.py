"""Nodes that are only ever bypassed: one for each behaviour. Run, they say `EXECUTED`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from innkeeper import Input, NodeContext, NodeDefinition, Output
from innkeeper import Outputs as LastWord
from innkeeper.nodes.definition import BypassBehavior
from innkeeper.nodes.node import Inputs

_INPUTS = {
    "s": Input("STRING"),
    "i": Input("INTEGER"),
    "f": Input("FLOAT"),
    "o": Input("OBJECT"),
    "st": Input("STRING", is_stream=True),
}
_OUTPUTS = {
    "s": Output("STRING"),
    "i": Output("INTEGER"),
    "f": Output("FLOAT"),
    "b": Output("BOOLEAN"),
    "arr": Output("ARRAY"),
    "o": Output("OBJECT"),
    "bin": Output("BINARY"),
    "w": Output("WILDCARD"),
    "st": Output("STRING", is_stream=True),
}


async def execute(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    return {"s": "EXECUTED"}


async def execute_stream(inputs: Inputs, context: NodeContext) -> AsyncIterator[LastWord]:
    yield LastWord(s="EXECUTED")


definitions = [
    NodeDefinition(
        type="BypassAuto",
        namespace="test",
        category="test",
        display_name="Bypass by type",
        description="Each output takes the first unused input that fits.",
        inputs=_INPUTS,
        outputs=_OUTPUTS,
        execute=execute_stream,
    ),
    NodeDefinition(
        type="BypassDefaults",
        namespace="test",
        category="test",
        display_name="Bypass with defaults",
        description="Some outputs have values for the bypass.",
        inputs=_INPUTS,
        outputs=_OUTPUTS,
        execute=execute_stream,
        bypass_behavior=BypassBehavior(defaults={"s": "dflt", "i": 42, "o": {"k": [1]}}),
    ),
    NodeDefinition(
        type="BypassMute",
        namespace="test",
        category="test",
        display_name="Bypass muted",
        description="Bypassed, it gives nothing at all.",
        inputs=_INPUTS,
        outputs=_OUTPUTS,
        execute=execute_stream,
        bypass_behavior="mute",
    ),
    NodeDefinition(
        type="BypassReq",
        namespace="test",
        category="test",
        display_name="Bypass with a required input",
        description="Bypassed, its required input may be missing.",
        inputs={"s": Input("STRING", required=True)},
        outputs={"s": Output("STRING")},
        execute=execute,
    ),
]
