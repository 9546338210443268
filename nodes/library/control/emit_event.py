"""core:EmitEvent: say that something happened."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import MAX_DEPTH, NotJsonData, encode_json, read_json
from innkeeper.nodes.library.utilities.text import to_text
from innkeeper.nodes.node import EmittedEvent, Inputs, NodeContext
from innkeeper.nodes.secret_values import holds_secret

DAY_S = 86_400.0


async def emit_event(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Post one event of this node; run again after a crash, it is the same event.

    Raises:
        NodeInputError: No name, data that is no JSON, or a secret in it.
        NodeMustWait: The gateway is away.
    """
    name, data = to_text(inputs.get("name")).strip(), inputs.get("data")
    if not name:
        raise NodeInputError("'name' is empty; it must be the name that triggers and other runs look for")
    if holds_secret(data):
        raise NodeInputError("'data' holds a secret; whoever gets an event can read it", code="secret_in_event")
    try:
        plain = read_json(encode_json(data, max_depth=MAX_DEPTH).data)
    except NotJsonData as error:
        raise NodeInputError(f"'data' {error}") from None
    reach = await context.services.events.emit(EmittedEvent(context.prompt_id, context.node_id, name, plain))
    return {"eventId": reach.event_id, "started": reach.started, "woken": reach.woken}


definition = NodeDefinition(
    type="EmitEvent",
    category="Control",
    display_name="Emit event",
    display_names={"zh": "发出事件"},
    description="Posts an event: it starts what triggers want, and wakes runs that wait for it. Once, whatever fails.",
    inputs={
        "name": Input(
            "STRING",
            display_name="Event",
            description="Name of the event.",
            required=True,
            config={"default": "", "placeholder": "orders.paid"},
        ),
        "data": Input(
            "WILDCARD",
            display_name="Data",
            description="What is told: JSON of at most 256,000 bytes, without secrets.",
            config={"multiline": True},
        ),
    },
    outputs={
        "eventId": Output("STRING", display_name="Id", description="Of the event."),
        "started": Output("INTEGER", display_name="Started", description="How many runs triggers start."),
        "woken": Output("INTEGER", display_name="Woken", description="How many runs waited for it."),
    },
    execute=emit_event,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=60,
    # A gateway that is away is waited for.
    total_timeout_s=DAY_S,
)
