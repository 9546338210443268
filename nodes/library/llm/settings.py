"""Settings that the nodes which ask a model share."""

from __future__ import annotations

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.node import PRIORITIES, USUAL_PRIORITY, ChatTimes, NodeContext
from innkeeper.nodes.tavern.documents import kind_of

FIRST_TOKEN_S = 600
SILENCE_S = 600.0
_MAX_S = 315_576_000
ON_CRASH = ("restart", "continue", "accept")

SETTINGS = {
    "first_token_timeout": Input(
        "FLOAT",
        display_name="Longest wait for the first piece",
        description="Seconds until the answer begins; 0 waits for ever. 'timeoutSeconds' is for the time between two"
        " pieces.",
        config={"default": FIRST_TOKEN_S, "min": 0, "max": _MAX_S},
    ),
    "total_timeout": Input(
        "FLOAT",
        display_name="Longest answer in time",
        description="Seconds for the whole answer; 0 has no limit.",
        config={"default": 0, "min": 0, "max": _MAX_S},
    ),
    "priority": Input(
        "INTEGER",
        display_name="Priority",
        description="Of those that wait for one limit, 1 goes before all others and 5 behind them.",
        config={"default": USUAL_PRIORITY, "min": PRIORITIES[0], "max": PRIORITIES[1], "step": 1},
    ),
    "on_crash": Input(
        "STRING",
        display_name="When a worker dies in the answer",
        description="Ask anew, let the model go on with what is there (where its channel can), or take what is there.",
        match_categories=("ComboOption",),
        config={
            "default": ON_CRASH[0],
            "suggestions": tuple({"value": word, "label": word} for word in ON_CRASH),
        },
    ),
}


def times_of(context: NodeContext) -> ChatTimes:
    """How long the model may take.

    Raises:
        NodeInputError: A setting is no number of seconds.
    """
    return ChatTimes(
        first=_seconds(context, "first_token_timeout", FIRST_TOKEN_S),
        silence=context.timeout_s or SILENCE_S,
        whole=_seconds(context, "total_timeout", 0),
    )


def priority_of(context: NodeContext) -> int:
    """Who goes first where several wait.

    Raises:
        NodeInputError: The setting is no whole number from 1 to 5.
    """
    value = context.config_values.get("priority")
    value = USUAL_PRIORITY if value is None else value
    least, most = PRIORITIES
    if is_number(value) and least <= value <= most and value == int(value):
        return int(value)
    found = value if is_number(value) else kind_of(value)
    raise NodeInputError(f"'priority' must be a whole number from {least} (first) to {most}, found {found}")


def _seconds(context: NodeContext, setting: str, default: float) -> float | None:
    value = context.config_values.get(setting)
    value = default if value is None else value
    if not is_number(value) or value < 0:
        raise NodeInputError(f"{setting!r} must be a number of seconds, found {kind_of(value)}")
    return float(value) or None
