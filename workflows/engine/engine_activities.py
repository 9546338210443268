"""The engine's own small activities, as the workflow calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

import orjson
from temporalio import workflow
from temporalio.common import RetryPolicy

from innkeeper.nodes.call import GATHER_VALUES, INLINE_LIMIT, MERGE_VALUES, STORE_VALUES, is_blob
from innkeeper.workflows.engine.state import PIECE_BYTES
from innkeeper.workflows.engine.workflow_context import WorkflowContext

LONG = frozenset({GATHER_VALUES, MERGE_VALUES})
"""Activities that read many values; they send heartbeats, so that the death of their worker is noticed at once."""
T = TypeVar("T")
JSON: type[Any] = Any  # Temporal decodes into it what it finds; into `object` it cannot


def engine_activity(name: str, arg: Any, result_type: type[T]) -> workflow.ActivityHandle[T]:
    """One short activity of the engine's own. A value that is not there will not come back: that fails at once."""
    handle: workflow.ActivityHandle[T] = workflow.start_activity(
        name,
        arg,
        result_type=result_type,
        start_to_close_timeout=timedelta(minutes=30) if name in LONG else timedelta(seconds=30),
        heartbeat_timeout=timedelta(seconds=5) if name in LONG else None,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=200),
            maximum_interval=timedelta(seconds=10),
            non_retryable_error_types=["PayloadsTooLarge", "ResourceError", "InvalidNode"],
        ),
    )
    return handle


async def shielded(context: WorkflowContext, work: workflow.ActivityHandle[T]) -> T:
    """Await an engine activity; an interruption meanwhile is remembered, and takes effect afterwards."""
    while True:
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled():
                raise
            context.interrupted = True
            context.wake_all()


async def stored_pieces(context: WorkflowContext, pieces: list[Any]) -> list[dict[str, Any]]:
    """References of the pieces, in order; each travels by itself."""
    refs: list[dict[str, Any]] = []
    for piece in pieces:
        refs += await shielded(context, engine_activity(STORE_VALUES, [piece], list))
    return refs


def pieces_of(items: list[Any]) -> list[list[Any]]:
    """The items in parts of at most PIECE_BYTES of JSON."""
    pieces: list[list[Any]] = []
    size = PIECE_BYTES
    for item in items:
        item_size = len(orjson.dumps(item))
        if size + item_size > PIECE_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(item)
        size += item_size
    return pieces


async def packed(context: WorkflowContext, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The same outputs with large values as blobs."""
    heavy = [key for key, value in outputs.items() if not is_blob(value) and len(orjson.dumps(value)) > INLINE_LIMIT]
    if not heavy:
        return dict(outputs)
    refs = await shielded(context, engine_activity(STORE_VALUES, [outputs[key] for key in heavy], list))
    return {**outputs, **dict(zip(heavy, refs, strict=True))}
