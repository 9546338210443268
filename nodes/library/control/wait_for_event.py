"""core:WaitForEvent: something outside happens."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.library.control.settings import TIMEOUT

definition = NodeDefinition(
    type="WaitForEvent",
    category="Control",
    display_name="Wait for event",
    display_names={"zh": "等待事件"},
    description="Waits until an event of a name is posted whose fields fit the filter. Earlier ones do not count.",
    inputs={
        "filter": Input(
            "OBJECT",
            display_name="Filter",
            description='Field to value, or to a test such as {"operator": "greater", "value": 3}.',
        )
    },
    outputs={
        "data": Output("WILDCARD", display_name="Data", description="What was posted."),
        "timeout": Output("BOOLEAN", display_name="None came", description="True, when none came in time."),
    },
    config_schema={
        "name": Input("STRING", display_name="Event", description="Name of the event.", required=True),
        # Without a default: editors show it in a field for text, where an object reads `[object Object]`.
        "filter": Input("OBJECT", display_name="Filter", description="The same, when the input has none."),
        "timeoutSeconds": TIMEOUT,
    },
    bypass_behavior=BypassBehavior(defaults={"data": None}, without=("timeout",)),
    placement="workflow",
    is_preview_unsafe=True,
    branches=True,
)
