"""core:StreamLogger: write a line to the log for each chunk of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.library.utilities.stream_input import stream_of
from innkeeper.nodes.node import Chunk, Inputs, NodeContext

SUMMARY_CHARS = 100


async def stream_logger(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk]:
    """Log number, type and a summary of each chunk, and pass it on unchanged.

    Numbers count what this attempt has seen: after a worker's death they start again where the stream goes on.

    Raises:
        NodeInputError: `inputStream` holds no stream.
        NodeError: The stream itself failed.
    """
    number = 0
    async for chunk in stream_of(inputs, "inputStream"):
        number += 1
        context.logger.info("%s: chunk %d, %s: %s", context.node_id, number, chunk.type, summary(chunk.content))
        yield chunk


def summary(content: Any) -> str:
    """One line about a chunk's content: texts up to 100 characters, objects by their keys.

    Example:
        >>> summary("a text"), summary({"b": 1, "a": 2}), summary(None)
        ('"a text"', '{b, a}', 'null')
    """
    if isinstance(content, Mapping):
        return _cut(f"{{{', '.join(map(str, content))}}}")
    # As JSON, so that a line break in a text does not begin a line of its own.
    return dump_json(_cut(content)) if isinstance(content, str) else _cut(dump_json(content))


def _cut(text: str) -> str:
    return text if len(text) <= SUMMARY_CHARS else f"{text[:SUMMARY_CHARS]}…"


definition = NodeDefinition(
    type="StreamLogger",
    category="实用工具",
    display_name="Stream logger",
    display_names={"zh": "流日志"},
    description="Writes a line to the worker's log for each chunk and passes the stream on.",
    inputs={
        "inputStream": Input(
            "WILDCARD", display_name="Stream", description="What is logged.", is_stream=True, required=True
        ),
    },
    outputs={"outputStream": Output("WILDCARD", display_name="Stream", description="The same chunks.", is_stream=True)},
    execute=stream_logger,
    bypass_behavior=BypassBehavior(pass_through={"outputStream": "inputStream"}),
    stream_resumable=True,
)
