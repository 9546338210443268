from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import NodeError, NodeInputError
from innkeeper.nodes.library.utilities import stream_logger, stream_suffix_relay
from innkeeper.nodes.node import Chunk, NodeContext
from innkeeper.nodes.testing import collect, collect_async, memory_services

RELAYS = [stream_logger.definition, stream_suffix_relay.definition]
SUFFIX = stream_suffix_relay.definition


def text(content: Any) -> Chunk:
    return Chunk("text_chunk", content)


@pytest.mark.parametrize(
    ("suffix", "relayed"),
    [
        ({}, "a---"),
        ({"suffix": ""}, "a"),
        ({"suffix": "!"}, "a!"),
        ({"suffix": r"\n"}, "a\n"),
        ({"suffix": r"\\t🦉"}, r"a\t🦉"),
        ({"suffix": 5}, "a"),
        ({"suffix": None}, "a"),
    ],
)
def test_suffix_stands_behind_each_text(suffix: dict[str, Any], relayed: str) -> None:
    chunks, outputs = collect(SUFFIX, {"inputStream": [text("a"), text("a")], **suffix})
    assert [chunk.content for chunk in chunks] == [relayed, relayed]
    assert outputs == {}


def test_suffix_leaves_other_chunks_and_further_fields_alone() -> None:
    others = [
        Chunk("finish_reason_chunk", "stop"),
        Chunk("usage_chunk", {"total_tokens": 3}),
        Chunk("custom", "a"),
    ]
    marked = Chunk("text_chunk", "a", {"language": "en"})
    chunks, _ = collect(SUFFIX, {"inputStream": [marked, *others], "suffix": "!"})
    assert chunks == [Chunk("text_chunk", "a!", {"language": "en"}), *others]


def test_logger_passes_every_chunk_on_and_logs_a_line_for_each(caplog: pytest.LogCaptureFixture) -> None:
    given = [text("two\nlines"), text("x" * 150), Chunk("usage_chunk", {"total": 3, "prompt": 1}), Chunk("custom", 5)]
    with caplog.at_level(logging.INFO, logger="innkeeper.node"):
        chunks, outputs = collect(stream_logger.definition, {"inputStream": given})
    assert (chunks, outputs) == (given, {})
    assert caplog.messages == [
        r'node: chunk 1, text_chunk: "two\nlines"',
        f'node: chunk 2, text_chunk: "{"x" * 100}…"',
        "node: chunk 3, usage_chunk: {total, prompt}",
        "node: chunk 4, custom: 5",
    ]


@pytest.mark.parametrize("relay", RELAYS, ids=lambda relay: relay.type)
def test_an_empty_stream_stays_empty(relay: NodeDefinition) -> None:
    assert collect(relay, {"inputStream": []}) == ([], {})


@pytest.mark.parametrize("relay", RELAYS, ids=lambda relay: relay.type)
async def test_what_came_before_a_failure_is_passed_on_and_the_failure_flies(relay: NodeDefinition) -> None:
    async def failing() -> AsyncIterator[Chunk]:
        yield text("a")
        raise NodeError("the producer failed")

    assert relay.execute is not None
    context = NodeContext(prompt_id="run", node_id="node", services=memory_services())
    chunks = cast("AsyncIterator[Chunk]", relay.execute({"inputStream": failing(), "suffix": ""}, context))
    relayed: list[Chunk] = []
    with pytest.raises(NodeError, match="the producer failed"):  # noqa: PT012 - the chunks before it count too
        async for chunk in chunks:
            relayed.append(chunk)
    assert relayed == [text("a")]


@pytest.mark.parametrize("relay", RELAYS, ids=lambda relay: relay.type)
def test_without_a_stream_the_input_is_named(relay: NodeDefinition) -> None:
    with pytest.raises(NodeInputError, match="inputStream"):
        collect(relay, {})
    with pytest.raises(NodeInputError, match="'inputStream' must be a stream, found a text"):
        collect(relay, {"inputStream": "a text"})


@pytest.mark.parametrize("relay", RELAYS, ids=lambda relay: relay.type)
async def test_the_second_half_of_a_stream_is_relayed_as_in_one_piece(relay: NodeDefinition) -> None:
    """What `stream_resumable` promises: each chunk depends on its own input chunk alone."""
    given = [text(str(number)) for number in range(6)]
    whole, _ = await collect_async(relay, {"inputStream": given})
    rest, _ = await collect_async(relay, {"inputStream": given[4:]})
    assert relay.stream_resumable
    assert rest == whole[4:]
