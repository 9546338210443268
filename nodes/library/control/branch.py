"""core:Branch: one of two ways."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.library.control.settings import VALUE_IN

definition = NodeDefinition(
    type="Branch",
    category="Control",
    display_name="Branch",
    display_names={"zh": "分支"},
    description="Sends a value one of two ways. What hangs on the other way is skipped.",
    inputs={
        "value": VALUE_IN,
        "condition": Input(
            "WILDCARD",
            display_name="Condition",
            description="Nothing, false, 0, what is empty, and the words false, no and off count as no.",
            required=True,
        ),
    },
    outputs={
        "true": Output("WILDCARD", display_name="Yes", description="The value, when the condition holds."),
        "false": Output("WILDCARD", display_name="No", description="The value, when it does not."),
    },
    bypass_behavior=BypassBehavior(pass_through={"true": "value", "false": "value"}),
    placement="workflow",
    branches=True,
)
