"""core:GroupOutput: what a workflow gives."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.nodes.node import Inputs, NodeContext, Outputs


async def group_output(inputs: Inputs, context: NodeContext) -> Outputs:
    """Do nothing: the node marks outputs of the workflow; their values and streams are read at the source."""
    return Outputs()


definition = NodeDefinition(
    type="GroupOutput",
    category="Group",
    display_name="Group output",
    display_names={"zh": "组输出"},
    description="Takes the outputs of this workflow. A connected empty slot becomes a new output.",
    inputs={
        "input_0": Input(
            "CONVERTIBLE_ANY",
            display_name="New output",
            match_categories=("BehaviorConvertible",),
            allow_dynamic_type=True,
        )
    },
    execute=group_output,
    placement="workflow",
    dynamic_slots=True,
    bypassable=False,
    interface_sink=True,
)
