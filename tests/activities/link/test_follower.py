"""Reading a stream from the log's blocks: order, beginnings anew, ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from innkeeper.activities.link.follower import Follower, StreamFailed, one_chunk
from innkeeper.nodes.node import Chunk


def follower(restarted: asyncio.Event | None = None, reports: list[int] | None = None) -> Follower:
    """A follower that adds to `reports` how far it is whenever the gateway should hear of it."""
    told = [] if reports is None else reports
    return Follower("f1", "r", "s", report=lambda it: told.append(it.consumed), restarted=restarted or asyncio.Event())


def block(origin: tuple[int, int], i: int, *words: str, **more: Any) -> dict[str, Any]:
    chunks = [{"type": "text_chunk", "content": word} for word in words]
    return {"id": "f1", "origin": list(origin), "i": i, "chunks": chunks, **more}


async def read(reader: Any) -> list[Any]:
    return [chunk.content async for chunk in reader]


async def test_chunks_come_once_and_in_order_although_blocks_overlap() -> None:
    stream = follower()
    stream.receive(block((1, 0), 0, "a", "b"))
    stream.receive(block((1, 0), 1, "b", "c"))
    stream.receive(block((1, 0), 3, end={"type": "NODE_COMPLETE"}))
    assert await read(stream.begin_reading()) == ["a", "b", "c"]


async def test_a_reader_that_waits_takes_nothing_of_a_stream_that_begins_anew() -> None:
    restarted = asyncio.Event()
    stream = follower(restarted)
    stream.receive(block((1, 0), 0, "old"))
    old = stream.begin_reading()
    assert (await anext(old)).content == "old"
    waiting = asyncio.create_task(anext(old))
    await asyncio.sleep(0)
    stream.receive(block((2, 0), 0, "new", "newer"))
    await asyncio.sleep(0.01)
    assert restarted.is_set()
    assert not waiting.done()
    fresh = stream.begin_reading()
    stream.receive(block((2, 0), 2, end={"type": "NODE_COMPLETE"}))
    assert await read(fresh) == ["new", "newer"]
    assert not waiting.done()
    waiting.cancel()


async def test_before_anybody_reads_a_new_beginning_restarts_nothing() -> None:
    restarted = asyncio.Event()
    stream = follower(restarted)
    stream.receive(block((1, 0), 0, "a"))
    stream.receive(block((2, 0), 0, "b", end={"type": "NODE_COMPLETE"}))
    assert not restarted.is_set()
    assert await read(stream.begin_reading()) == ["b"]


async def test_a_resumed_reader_skips_what_was_used() -> None:
    stream = follower()
    stream.receive(block((1, 0), 0, "a", "b", "c", end={"type": "NODE_COMPLETE"}))
    reader = stream.begin_reading(skip=2)
    assert await read(reader) == ["c"]
    assert reader.used == 3


@pytest.mark.parametrize("end", ["NODE_ERROR", "NODE_INTERRUPTED"])
async def test_a_producer_that_did_not_complete_fails_its_reader(end: str) -> None:
    stream = follower()
    stream.receive(block((1, 0), 0, "a", end={"type": end, "error": {"message": "boom"}}))
    reader = stream.begin_reading()
    assert (await anext(reader)).content == "a"
    with pytest.raises(StreamFailed, match="'s'"):
        await anext(reader)


async def test_the_gateway_hears_how_far_the_reader_is() -> None:
    reports: list[int] = []
    stream = follower(reports=reports)
    stream.receive(block((1, 0), 0, *["x"] * 600, end={"type": "NODE_COMPLETE"}))
    await read(stream.begin_reading())
    assert reports[:2] == [250, 500]


async def test_after_a_reconnect_it_asks_for_what_comes_next() -> None:
    stream = follower()
    assert stream.request() == {"id": "f1", "run": "r", "path": "s", "origin": None, "next": 0}
    stream.receive(block((3, 1), 0, "a", "b"))
    assert stream.request() == {"id": "f1", "run": "r", "path": "s", "origin": [3, 1], "next": 2}


async def test_a_batch_value_is_one_chunk() -> None:
    assert [chunk async for chunk in one_chunk("x")] == [Chunk("text_chunk", "x")]
    assert [chunk async for chunk in one_chunk({"a": 1})] == [Chunk("custom", {"a": 1})]
