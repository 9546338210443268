"""core:Approval: a person decides."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.library.control.settings import TIMEOUT

definition = NodeDefinition(
    type="Approval",
    category="Control",
    display_name="Approval",
    display_names={"zh": "审批"},
    description="Waits until somebody approves or rejects. Values that they change go on instead of the old ones.",
    inputs={"data": Input("WILDCARD", display_name="Data", description="What is to be decided on.")},
    outputs={
        "approved": Output("WILDCARD", display_name="Approved", description="The data, with changed values."),
        "rejected": Output("WILDCARD", display_name="Rejected", description="The data, when somebody said no."),
        "timeout": Output("WILDCARD", display_name="No answer", description="The data, when nobody answered in time."),
        "answer": Output("OBJECT", display_name="Answer", description="approved, values, comment, by."),
    },
    config_schema={
        "form": Input(
            "ARRAY",
            display_name="Form",
            description='What may be changed: fields of the object in "data", or the field "data" for any other value; '
            'a list of {"key", "dataFlowType", "displayName", "required", "config"}.',
            config={"default": ()},
        ),
        "timeoutSeconds": TIMEOUT,
    },
    bypass_behavior=BypassBehavior(pass_through={"approved": "data"}, without=("rejected", "timeout", "answer")),
    placement="workflow",
    is_preview_unsafe=True,
    branches=True,
)
