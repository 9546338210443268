"""core:GroupInput: the values a workflow is called with."""

from __future__ import annotations

from nodes.definition import NodeDefinition, Output
from nodes.node import Inputs, NodeContext, Outputs


async def group_input(inputs: Inputs, context: NodeContext) -> Outputs:
    """Give each interface input of the workflow as an output of the same key; keys without a value are absent."""
    return Outputs(context.workflow_interface_inputs)


definition = NodeDefinition(
    type="GroupInput",
    category="Group",
    display_name="Group input",
    display_names={"zh": "组输入"},
    description="Gives the inputs of this workflow. A connected empty slot becomes a new input.",
    outputs={
        "output_0": Output(
            "CONVERTIBLE_ANY",
            display_name="New input",
            match_categories=("BehaviorConvertible",),
            allow_dynamic_type=True,
        )
    },
    execute=group_input,
    placement="inline",
    dynamic_slots=True,
    bypassable=False,
    interface_values=True,
)
