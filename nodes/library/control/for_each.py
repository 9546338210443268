"""core:ForEach: a workflow for each item of a list."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.library.control.settings import REFERENCED_WORKFLOW

definition = NodeDefinition(
    type="ForEach",
    category="Control",
    display_name="For each",
    display_names={"zh": "遍历"},
    description="Runs a workflow for each item of a list. Further inputs of that workflow are inputs of this node.",
    inputs={
        "items": Input(
            "ARRAY", display_name="Items", description="The list; the workflow runs once for each.", required=True
        )
    },
    outputs={
        "results": Output("ARRAY", display_name="Results", description="The outputs for each item, in their order."),
        "errors": Output("ARRAY", display_name="Errors", description="With 'collect': index, message and code."),
    },
    config_schema={
        "referencedWorkflowId": REFERENCED_WORKFLOW,
        "itemKey": Input(
            "STRING",
            display_name="Item goes to",
            description="The workflow's input that gets the item. An input named 'index' gets its number.",
            config={"default": "item"},
        ),
        "concurrency": Input(
            "INTEGER", display_name="At once", config={"default": 8, "min": 1, "max": 100}, description="Items at once."
        ),
        "onError": Input(
            "STRING",
            display_name="When an item fails",
            description="Fail the node, leave the item out, or collect errors (its result is null then).",
            match_categories=("ComboOption",),
            config={
                "default": "fail",
                "suggestions": tuple({"value": word, "label": word} for word in ("fail", "skip", "collect")),
            },
        ),
        "resultKey": Input(
            "STRING",
            display_name="Result",
            description="Results are the values of this output; empty: objects of all outputs.",
            config={"default": ""},
        ),
    },
    placement="workflow",
    dynamic_slots=True,
    runs_workflow="each",
)
