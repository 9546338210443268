"""core:RandomNumber: a 32-bit number that stays, counts, or is new in each run."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.library.math.numbers import number_in
from innkeeper.nodes.node import Inputs, NodeContext

MAX_VALUE = 2**32 - 1
FIXED, INCREMENT, DECREMENT, RANDOM = "固定", "增加", "减少", "随机"
_ALIASES = {"fixed": FIXED, "increment": INCREMENT, "decrement": DECREMENT, "random": RANDOM}
_STEPS: dict[str, Callable[[int], int]] = {INCREMENT: lambda value: value + 1, DECREMENT: lambda value: value - 1}
_LABELS = {FIXED: "Fixed", INCREMENT: "Increment", DECREMENT: "Decrement", RANDOM: "Random"}


async def random_number(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Apply the mode to `value`, once, and give the number it comes to: the `value` of the next run.

    Counting stops at the ends of the range, 0 and 4294967295, and drops fractions. A fixed value passes as it is when
    it reads as a number, also beyond the range, and null passes. A mode that does not exist is random. Random numbers
    follow from run and node: the same when the node has to run again.

    Example:
        >>> run_node(definition, {"mode": "增加", "value": 41})
        {'number': 42}

    Raises:
        NodeInputError: `value` is to be kept or counted and is no number.
    """
    value = inputs.get("value", 0)
    mode = _mode(inputs.get("mode"))
    if mode == FIXED:
        number_in(value, "value")
        return {"number": value}
    if mode in _STEPS:
        return {"number": _stepped(number_in(value, "value"), _STEPS[mode])}
    return {"number": _drawn(context.random)}


def _mode(value: Any) -> str:
    if value is None or value == "":
        return FIXED
    return _ALIASES.get(value, value) if isinstance(value, str) else RANDOM


def _stepped(value: float, step: Callable[[int], int]) -> int:
    # One beyond each end is as far as any value: a step brings it back to the end. Infinity has no floor.
    near = min(max(value, -1.0), MAX_VALUE + 1.0)
    return min(max(step(math.floor(near)), 0), MAX_VALUE)


def _drawn(random: Random) -> int:
    return random.randrange(MAX_VALUE + 1)


definition = NodeDefinition(
    type="RandomNumber",
    category="实用工具",
    display_name="Random number",
    display_names={"zh": "随机数"},
    description="Gives a 32-bit number that stays, counts up or down, or is new in each run.",
    inputs={
        "mode": Input(
            "STRING",
            display_name="Mode",
            description="What happens to the value in each run.",
            match_categories=("ComboOption",),
            config={
                "default": FIXED,
                "suggestions": tuple({"value": mode, "label": label} for mode, label in _LABELS.items()),
            },
        ),
        "value": Input(
            "INTEGER",
            display_name="Value",
            description="The number of the last run; counting stops at both ends of the range.",
            config={"default": 0, "min": 0, "max": MAX_VALUE},
        ),
        "reroll": Input(
            "WILDCARD",
            display_name="Reroll",
            description="A button of editors: a new number in the field.",
            match_categories=("Trigger",),
            config={"label": "New number"},
        ),
    },
    outputs={
        "number": Output(
            "INTEGER", display_name="Number", description="The value after the mode: store it for the next run."
        )
    },
    client_script_url="client-scripts/RandomNumberNode.js",
    execute=random_number,
    placement="inline",
    bypass_behavior=BypassBehavior(pass_through={"number": "value"}),
    width=260,
)
