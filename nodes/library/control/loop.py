"""core:Loop: a workflow again and again."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.library.control.settings import REFERENCED_WORKFLOW

definition = NodeDefinition(
    type="Loop",
    category="Control",
    display_name="Loop",
    display_names={"zh": "循环"},
    description="Runs a workflow at least once, and again while its condition output holds.",
    inputs={
        "state": Input(
            "OBJECT",
            display_name="State",
            description="The workflow's inputs; its outputs replace them for the next round.",
            config={"default": {}},
        )
    },
    outputs={
        "state": Output("OBJECT", display_name="State", description="The outputs of the last round."),
        "iterations": Output("INTEGER", display_name="Rounds", description="How many there were."),
    },
    config_schema={
        "referencedWorkflowId": REFERENCED_WORKFLOW,
        "conditionKey": Input(
            "STRING",
            display_name="Condition",
            description="The workflow's output that says whether to go on.",
            required=True,
        ),
        "maxIterations": Input(
            "INTEGER", display_name="At most", config={"default": 100, "min": 1, "max": 10_000}, description="Rounds."
        ),
        "onLimit": Input(
            "STRING",
            display_name="At the limit",
            description="Fail the node, or stop with what there is.",
            match_categories=("ComboOption",),
            config={
                "default": "fail",
                "suggestions": tuple({"value": word, "label": word} for word in ("fail", "stop")),
            },
        ),
    },
    placement="workflow",
    runs_workflow="loop",
)
