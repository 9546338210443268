"""core:Switch: one of several ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output

MAX_CASES = 100
DRAWN_CASES = 4
"""ComfyTavern's editor draws the ways that the definition declares, whatever the settings are. An edge from a way whose
case is not there is a problem of the document."""
_OTHERWISE = Output("WILDCARD", display_name="Otherwise", description="The value, when it fits no case.")


def outputs_of(config: Mapping[str, Any]) -> dict[str, Output]:
    """One output for each case, and `default`."""
    cases = config.get("cases")
    return _ways(min(len(cases), MAX_CASES) if isinstance(cases, list | tuple) else 0)


def _ways(count: int) -> dict[str, Output]:
    told = "The value, when it fits this case first."
    outputs = {f"case_{index}": Output("WILDCARD", f"Case {index}", told) for index in range(count)}
    return {**outputs, "default": _OTHERWISE}


definition = NodeDefinition(
    type="Switch",
    category="Control",
    display_name="Switch",
    display_names={"zh": "多路分支"},
    description="Sends a value the way of the first case that it fits. What hangs on the others is skipped.",
    inputs={
        "value": Input("WILDCARD", display_name="Value", description="What is compared, and goes on.", required=True)
    },
    outputs=_ways(DRAWN_CASES),
    config_schema={
        "cases": Input(
            "ARRAY",
            display_name="Cases",
            description='Values, or tests such as {"operator": "contains", "value": "help"}.',
            config={"default": ()},
        )
    },
    bypass_behavior=BypassBehavior(pass_through={"*": "value"}),
    placement="workflow",
    dynamic_slots=True,
    branches=True,
    outputs_of=outputs_of,
)
