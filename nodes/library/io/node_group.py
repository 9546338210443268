"""core:NodeGroup: another workflow as one node."""

from __future__ import annotations

from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.library.control.settings import REFERENCED_WORKFLOW

definition = NodeDefinition(
    type="NodeGroup",
    category="Group",
    display_name="Node group",
    display_names={"zh": "节点组"},
    description="Runs another workflow. Its slots are that workflow's inputs and outputs.",
    config_schema={"referencedWorkflowId": REFERENCED_WORKFLOW},
    placement="workflow",
    dynamic_slots=True,
    runs_workflow="group",
    width=250,
)
