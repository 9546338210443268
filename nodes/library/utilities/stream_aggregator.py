"""core:StreamAggregator: turn a stream into its text and the list of its chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError, NodeTimeout
from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.library.utilities.stream_input import stream_of
from innkeeper.nodes.node import Chunk, Inputs, NodeContext

CONCATENATE, COLLECT = "concatenate_text", "collect_chunks_array"


async def stream_aggregator(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a stream to its end, or up to `max_chunks_count` chunks.

    `aggregated_text` is what its text chunks say, joined. `chunk_list` holds every chunk as `{type, content, ...}`;
    with the mode `concatenate_text` it stays empty. A stream that is left early goes on for everybody else.

    Raises:
        NodeInputError: `input_stream` holds no stream, or a setting cannot be used.
        NodeTimeout: The stream did not end within `timeout_ms`.
        NodeError: The stream itself failed.
    """
    mode = context.config_values.get("aggregation_mode") or COLLECT
    if mode not in (CONCATENATE, COLLECT):
        raise NodeInputError(f"'aggregation_mode' must be {CONCATENATE!r} or {COLLECT!r}")
    timeout_ms = _bound(context.config_values, "timeout_ms")
    stream, most = stream_of(inputs, "input_stream"), _bound(context.config_values, "max_chunks_count")
    try:
        async with asyncio.timeout(timeout_ms / 1000 if timeout_ms else None) as limit:
            texts, chunks = await _collect_chunks(stream, most, keep=mode == COLLECT)
    except TimeoutError:
        if not limit.expired():
            raise
        raise NodeTimeout(f"the stream did not end within {timeout_ms} ms ('timeout_ms')", retryable=False) from None
    return {"aggregated_text": "".join(texts), "chunk_list": chunks}


async def _collect_chunks(stream: AsyncIterator[Chunk], most: int | None, *, keep: bool) -> tuple[list[str], list[Any]]:
    texts: list[str] = []
    chunks: list[Any] = []
    count = 0
    async for chunk in stream:
        count += 1
        if chunk.type == "text_chunk" and isinstance(chunk.content, str):
            texts.append(chunk.content)
        if keep:
            chunks.append(chunk.to_json())
        if count == most:
            break
    return texts, chunks


def _bound(settings: Mapping[str, Any], name: str) -> int | None:
    """A setting that bounds something; None and 0 mean that there is no bound."""
    value = settings.get(name) or 0
    if not is_number(value) or value < 0 or value != int(value):
        raise NodeInputError(f"{name!r} must be a whole number of at least 0")
    return int(value) or None


definition = NodeDefinition(
    type="StreamAggregator",
    category="实用工具",
    display_name="Collect stream",
    display_names={"zh": "流聚合"},
    description="Waits for a whole stream and gives its text and the list of its chunks.",
    inputs={
        "input_stream": Input(
            "WILDCARD", display_name="Stream", description="What is collected.", is_stream=True, required=True
        ),
    },
    outputs={
        "aggregated_text": Output("STRING", display_name="Text", description="All texts of the stream, joined."),
        "chunk_list": Output("ARRAY", display_name="Chunks", description="Every chunk, in order."),
    },
    config_schema={
        "aggregation_mode": Input(
            "STRING",
            display_name="Mode",
            description="Text and chunks, or the text alone, which takes less room.",
            match_categories=("ComboOption",),
            config={"default": COLLECT, "suggestions": (COLLECT, CONCATENATE)},
        ),
        "timeout_ms": Input(
            "INTEGER",
            display_name="Time limit (ms)",
            description="The node fails when the stream has not ended by then. 0 waits as long as it takes.",
            config={"default": 0, "min": 0},
        ),
        "max_chunks_count": Input(
            "INTEGER",
            display_name="Most chunks",
            description="Goes on after that many chunks without waiting for the rest. 0 takes all.",
            config={"default": 0, "min": 0},
        ),
    },
    execute=stream_aggregator,
    bypass_behavior=BypassBehavior(defaults={"aggregated_text": "", "chunk_list": []}),
)
