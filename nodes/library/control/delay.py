"""core:Delay and core:WaitUntil: durable timers."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition
from innkeeper.nodes.library.control.settings import VALUE_IN, VALUE_OUT

MAX_DELAY_S = 10 * 366 * 86_400
"""Ten years, as the wait itself reads it: more is a mistake in the unit."""

delay = NodeDefinition(
    type="Delay",
    category="Control",
    display_name="Delay",
    display_names={"zh": "延时"},
    description="Hands a value on after some time, however often everything restarts meanwhile.",
    inputs={
        "value": VALUE_IN,
        "seconds": Input(
            "FLOAT",
            display_name="Seconds",
            required=True,
            config={"default": 1, "min": 0, "max": MAX_DELAY_S},
        ),
    },
    outputs={"value": VALUE_OUT},
    bypass_behavior=BypassBehavior(pass_through={"value": "value"}),
    placement="workflow",
    is_preview_unsafe=True,
)

wait_until = NodeDefinition(
    type="WaitUntil",
    category="Control",
    display_name="Wait until",
    display_names={"zh": "等待至指定时间"},
    description="Hands a value on at a moment; at once, when the moment is past.",
    inputs={
        "value": VALUE_IN,
        "time": Input(
            "STRING",
            display_name="Moment",
            description="Such as 2030-01-31T08:00:00Z or 2030-01-31 09:00 Europe/Berlin; without a zone it is UTC.",
            required=True,
            config={"placeholder": "2030-01-31T08:00:00Z"},
        ),
    },
    outputs={"value": VALUE_OUT},
    bypass_behavior=BypassBehavior(pass_through={"value": "value"}),
    placement="workflow",
    is_preview_unsafe=True,
)

definitions = (delay, wait_until)
