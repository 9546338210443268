"""Ask a model; a parameter that nobody asked for and the model refuses is left out, with a warning."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.library.llm.parameters import Asking, Changed, without_refused
from innkeeper.nodes.node import ChatResponse, Chunk, NodeContext

PARAMETER_REFUSED = "parameter_refused"


async def chat(asking: Asking, context: NodeContext) -> ChatResponse:
    """One whole answer. Raises as `nodes.node.Llm`."""
    while True:
        try:
            return await context.services.llm.chat(asking.request)
        except ProviderError as error:
            changed = without_refused(asking, error)
            if changed is None:
                raise
            asking = _told(changed, context)


async def stream(asking: Asking, context: NodeContext) -> AsyncGenerator[Chunk, None]:
    """The pieces of one answer, to be closed by whoever reads them. Raises as `nodes.node.Llm`."""
    while True:
        changed, has_begun = None, False
        try:
            # Closed at once when the run is interrupted, not when the garbage collector finds time: the provider keeps
            # writing, and billing, until the connection ends.
            chunks = cast("AsyncGenerator[Chunk, None]", context.services.llm.stream(asking.request))
            async with aclosing(chunks):
                async for chunk in chunks:
                    has_begun = True
                    yield chunk
            return
        except ProviderError as error:
            changed = None if has_begun else without_refused(asking, error)
            if changed is None:
                raise
        asking = _told(changed, context)


def _told(changed: Changed, context: NodeContext) -> Asking:
    if changed.message:
        context.warn(PARAMETER_REFUSED, changed.message)
    return changed.asking
