"""The engine's own small activities, as the workflow calls them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, RetryState
from temporalio.exceptions import TimeoutError as ActivityTimeout

from innkeeper.nodes.call import GATHER_VALUES, INLINE_LIMIT, MERGE_VALUES, STORE_VALUES, is_blob
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine.state import PIECE_BYTES
from innkeeper.workflows.engine.workflow_context import WorkflowContext

LONG = frozenset({GATHER_VALUES, MERGE_VALUES})
"""Activities that read many values."""
HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""All of them send heartbeats: without, the death of their worker would be noticed after 30 s."""
MAX_MESSAGE_BYTES = 1_900_000
"""JSON of one command's arguments, or of a result: 2 MB were measured to wedge a run."""
MAX_OUTPUT_BYTES = 256_000
"""JSON of all outputs of a run or group together that travels as it is."""
RETRIED_FOR = timedelta(days=7)
"""How long the engine tries, with a full disk for example, before what needs the value fails: until somebody has come
back and made room. The status of the run says meanwhile what fails."""
INTERRUPTED_FOR = timedelta(seconds=5)
"""How long a run that is interrupted waits for the engine's own activities; then it ends without them."""
BOUNDED_WHEN_INTERRUPTED = "bounded-when-interrupted"
"""The patch since which it does."""
T = TypeVar("T")
JSON: type[Any] = Any  # Temporal decodes into it what it finds; into `object` it cannot


def engine_activity(name: str, arg: Any, result_type: type[T]) -> workflow.ActivityHandle[T]:
    """One short activity of the engine's own. A value that is not there will not come back: that fails at once.

    Awaiting it raises ActivityError when it failed for good.

    Raises:
        ApplicationError: `value_too_large`: the server would refuse the message, and the workflow task, for ever.
    """
    if (size := json_size(arg)) > MAX_MESSAGE_BYTES:
        message = f"what the engine must {name} takes {size} bytes in one message; the limit is {MAX_MESSAGE_BYTES}"
        raise ApplicationError(message, type="value_too_large", non_retryable=True)
    handle: workflow.ActivityHandle[T] = workflow.start_activity(
        name,
        arg,
        result_type=result_type,
        start_to_close_timeout=timedelta(minutes=30) if name in LONG else timedelta(seconds=30),
        schedule_to_close_timeout=RETRIED_FOR,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=200),
            maximum_interval=timedelta(seconds=10),
            non_retryable_error_types=["PayloadsTooLarge", "ResourceError", "InvalidNode"],
        ),
    )
    return handle


def failure_of(error: ActivityError) -> ApplicationError:
    """Why an activity of the engine failed for good, for users: its own last error, or that time was up."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and error.retry_state == RetryState.NON_RETRYABLE_FAILURE:
        return cause
    last = cause.cause if isinstance(cause, ActivityTimeout) else cause
    reason = f"; last: {last.message}" if isinstance(last, ApplicationError) else ""
    message = f"the engine could not {error.activity_type} within {RETRIED_FOR.total_seconds():g} s{reason}"
    return ApplicationError(message, type="storage_failed", non_retryable=True)


async def shielded(context: WorkflowContext, work: workflow.ActivityHandle[T]) -> T:
    """Await an engine activity. An interruption meanwhile is remembered, and takes effect afterwards.

    A run that is interrupted does not wait for long.

    Raises:
        ActivityError: It failed for good, or the run was interrupted and it took too long.
    """
    if not context.interrupted:
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Not the run's primary task: that one is cancelled first, and cancels the others.
            if work.cancelled() or not (context.interrupted or context.take_interruption()):
                raise
    if workflow.patched(BOUNDED_WHEN_INTERRUPTED):
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(work.done, timeout=INTERRUPTED_FOR)
        if not work.done():
            work.cancel()
    return await work


async def if_possible(context: WorkflowContext, work: Awaitable[T], otherwise: T) -> T:
    """What `work` gives; `otherwise` when it fails in a run that is interrupted, which ends without it."""
    try:
        return await work
    except (ActivityError, ApplicationError):
        if not context.interrupted:
            raise
        return otherwise


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
        item_size = json_size(item)
        if size + item_size > PIECE_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(item)
        size += item_size
    return pieces


def too_heavy(outputs: Mapping[str, Any], limit: int) -> list[str]:
    """The fewest outputs without which the others have at most `limit` bytes of JSON; finished streams come last."""
    sizes = {key: json_size(value) + len(key) + 4 for key, value in outputs.items() if not is_blob(value)}
    left = sum(sizes.values())
    chosen = []
    for key in sorted(sizes, key=lambda key: (is_stream_value(outputs[key]), -sizes[key])):
        if left <= limit:
            break
        left -= sizes[key]
        chosen.append(key)
    return chosen


def is_stream_value(value: Any) -> bool:
    """Is this what a stream slot holds in the end: `{"text", "chunks"[, "items"]}`?"""
    return isinstance(value, Mapping) and value.keys() >= {"text", "chunks"}


async def lightened(context: WorkflowContext, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The same outputs, the heaviest as blobs when all together are too large: each alone may be small."""
    chosen = too_heavy(outputs, MAX_OUTPUT_BYTES)
    refs: list[Any] = []
    for piece in pieces_of([outputs[key] for key in chosen]):
        refs += await shielded(context, engine_activity(STORE_VALUES, piece, list))
    return {**outputs, **dict(zip(chosen, refs, strict=True))}


async def packed(context: WorkflowContext, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The same outputs with large values as blobs."""
    heavy = [key for key, value in outputs.items() if not is_blob(value) and json_size(value) > INLINE_LIMIT]
    if not heavy:
        return dict(outputs)
    refs = await shielded(context, engine_activity(STORE_VALUES, [outputs[key] for key in heavy], list))
    return {**outputs, **dict(zip(heavy, refs, strict=True))}
