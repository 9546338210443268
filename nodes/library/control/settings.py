"""Settings and slots that several control nodes share."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, Output

REFERENCED_WORKFLOW = Input(
    "STRING",
    display_name="Workflow",
    description="Id of the stored workflow to run.",
    required=True,
    match_categories=("ResourceId",),
    config={"acceptedTypes": ({"value": "workflow", "label": "Workflow"},), "placeholder": "Choose a workflow"},
)
TIMEOUT = Input(
    "FLOAT",
    display_name="Time limit",
    description="Seconds to wait; 0 waits for ever.",
    config={"default": 0, "min": 0, "max": 315_576_000},
)
VALUE_IN = Input("WILDCARD", display_name="Value", description="What goes on.")
VALUE_OUT = Output("WILDCARD", display_name="Value", description="What came in.")
