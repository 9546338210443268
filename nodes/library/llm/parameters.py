"""What every node that asks a model has: numbers among its inputs, and the choice to stream."""

from __future__ import annotations

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.node import Inputs
from innkeeper.nodes.tavern.documents import kind_of

STREAM = Input(
    "BOOLEAN",
    display_name="Stream",
    description="Give the answer in pieces, as it comes.",
    config={"default": False},
)


def number_of(inputs: Inputs, slot: str) -> int | float | None:
    """The number in a slot; None when there is none. Raises NodeInputError when it is something else."""
    value = inputs.get(slot)
    if value is None:
        return None
    if not is_number(value):
        raise NodeInputError(f"{slot!r} must be a number, found {kind_of(value)}")
    # JSON from a browser may say 512.0, which providers refuse where they want a whole number.
    return int(value) if value == int(value) else value
