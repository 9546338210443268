"""core:StreamSuffixRelay: add a suffix to each text of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.library.utilities.stream_input import stream_of
from innkeeper.nodes.library.utilities.text import parse_escapes, to_text
from innkeeper.nodes.node import Chunk, Inputs, NodeContext


async def stream_suffix_relay(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk]:
    r"""Pass a stream on, each text chunk with the suffix behind it; all else stays as it is.

    A suffix that is no text counts as empty.

    Example:
        >>> chunks, _ = collect(definition, {"inputStream": [Chunk("text_chunk", "a")], "suffix": r"\n"})
        >>> chunks[0].content
        'a\n'

    Raises:
        NodeInputError: `inputStream` holds no stream.
        NodeError: The stream itself failed.
    """
    given = inputs.get("suffix")
    suffix = parse_escapes(given) if isinstance(given, str) else ""
    async for chunk in stream_of(inputs, "inputStream"):
        if chunk.type == "text_chunk":
            chunk = replace(chunk, content=to_text(chunk.content) + suffix)
        yield chunk


definition = NodeDefinition(
    type="StreamSuffixRelay",
    category="实用工具",
    display_name="Stream suffix",
    display_names={"zh": "流后缀"},
    description="Adds a suffix to each text of a stream, as it passes.",
    inputs={
        "inputStream": Input(
            "STRING", display_name="Stream", description="Texts as they come.", is_stream=True, required=True
        ),
        "suffix": Input(
            "STRING",
            display_name="Suffix",
            description=r"Stands behind each text. \n is a line break, \t a tab, \\ a backslash.",
            config={"default": "---", "multiline": False},
        ),
    },
    outputs={
        "outputStream": Output(
            "STRING", display_name="Stream", description="The same texts, each with the suffix.", is_stream=True
        )
    },
    execute=stream_suffix_relay,
    bypass_behavior=BypassBehavior(pass_through={"outputStream": "inputStream"}),
    stream_resumable=True,
)
