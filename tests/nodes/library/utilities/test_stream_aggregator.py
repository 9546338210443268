from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError, NodeTimeout
from innkeeper.nodes.library.utilities.stream_aggregator import definition
from innkeeper.nodes.node import Chunk
from innkeeper.nodes.testing import collect_async, run_node

STREAM = [
    Chunk("text_chunk", "a", {"n": 1}),
    Chunk("custom", {"text": "no text"}),
    Chunk("text_chunk", "b"),
    Chunk("finish_reason_chunk", "stop"),
]
LISTED = [chunk.to_json() for chunk in STREAM]


@pytest.mark.parametrize(
    ("config", "text", "chunks"),
    [
        ({}, "ab", LISTED),
        ({"aggregation_mode": "collect_chunks_array"}, "ab", LISTED),
        ({"aggregation_mode": "concatenate_text"}, "ab", []),
        ({"max_chunks_count": 2}, "a", LISTED[:2]),
        ({"max_chunks_count": 4}, "ab", LISTED),
        ({"max_chunks_count": 99}, "ab", LISTED),
        ({"timeout_ms": 5000}, "ab", LISTED),
    ],
)
def test_a_stream_becomes_text_and_list(config: dict[str, Any], text: str, chunks: list[Any]) -> None:
    outputs = run_node(definition, {"input_stream": STREAM}, config=config)
    assert outputs == {"aggregated_text": text, "chunk_list": chunks}


def test_an_empty_stream_gives_empty_values() -> None:
    assert run_node(definition, {"input_stream": []}) == {"aggregated_text": "", "chunk_list": []}


async def _then(ending: Exception | None) -> AsyncIterator[Chunk]:
    yield STREAM[0]
    if ending:
        raise ending
    await asyncio.sleep(30)


async def test_enough_chunks_end_the_node_while_the_stream_goes_on() -> None:
    _, outputs = await collect_async(definition, {"input_stream": _then(None)}, config={"max_chunks_count": 1})
    assert outputs["aggregated_text"] == "a"


async def test_a_stream_that_does_not_end_in_time_fails_the_node_for_good() -> None:
    with pytest.raises(NodeTimeout, match="within 20 ms") as caught:
        await collect_async(definition, {"input_stream": _then(None)}, config={"timeout_ms": 20})
    assert not caught.value.retryable


@pytest.mark.parametrize("ending", [NodeError("the producer failed"), TimeoutError("of the producer")])
async def test_a_failed_stream_fails_the_node_with_its_own_error(ending: Exception) -> None:
    with pytest.raises(type(ending), match="producer"):
        await collect_async(definition, {"input_stream": _then(ending)}, config={"timeout_ms": 5000})


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"aggregation_mode": "sum"}, "aggregation_mode"),
        ({"timeout_ms": -1}, "timeout_ms"),
        ({"timeout_ms": "soon"}, "timeout_ms"),
        ({"max_chunks_count": 1.5}, "max_chunks_count"),
        ({"max_chunks_count": True}, "max_chunks_count"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(NodeInputError, match=named):
        run_node(definition, {"input_stream": STREAM}, config=config)


@pytest.mark.parametrize(("given", "found"), [({}, "input_stream"), ({"input_stream": "a"}, "must be a stream")])
def test_without_a_stream_the_input_is_named(given: dict[str, Any], found: str) -> None:
    with pytest.raises(NodeInputError, match=found):
        run_node(definition, given)
