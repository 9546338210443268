"""What the stream nodes share: how a stream is taken from the inputs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import Chunk, Inputs
from innkeeper.nodes.tavern.documents import kind_of


def stream_of(inputs: Inputs, slot: str) -> AsyncIterator[Chunk]:
    """The stream in a slot.

    Raises:
        NodeInputError: There is nothing in the slot, or something that is no stream.
    """
    if slot not in inputs:
        raise NodeInputError(f"{slot!r} has no stream; connect an output to it")
    value = inputs[slot]
    if not isinstance(value, AsyncIterator):
        raise NodeInputError(f"{slot!r} must be a stream, found {kind_of(value)}")
    return value
