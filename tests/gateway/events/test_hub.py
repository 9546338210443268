from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest

from innkeeper.gateway.events.hub import RING_FRAMES, AfterBeyondEnd, Hub
from innkeeper.gateway.events.log import Batch, encode, frame_of
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.nodes.errors import RunNotFound


class Stage:
    """A log with its hub; `say` does what the writer does: commit, then publish."""

    def __init__(self, log: SqliteEventLog) -> None:
        self.log, self.hub, self.last = log, Hub(log), 0

    async def say(self, count: int, *, publish: bool = True, size: int = 1) -> None:
        first = self.last + 1
        seqs = range(first, first + count)
        lines = [encode({"seq": s, "type": "T", "payload": {"x": "y" * size}, "e": (1, 0)}) for s in seqs]
        await self.log.append([Batch("r", first, lines)])
        self.last += count
        if publish:
            self.hub.publish("r", first, [frame_of(line) for line in lines])

    async def end(self) -> None:
        await self.log.seal("r")
        self.hub.seal("r")

    async def collect(self, after: int = 0, pause_s: float = 0) -> list[int]:
        seqs: list[int] = []
        async for frames in self.hub.follow("r", after):
            for seq, frame in frames:
                event = orjson.loads(frame)
                assert event["seq"] == seq
                assert "e" not in event
                seqs.append(seq)
            await asyncio.sleep(pause_s)
        return seqs


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    yield Stage(log)
    await log.close()


async def test_follower_gets_the_stored_then_the_live_then_ends(stage: Stage) -> None:
    await stage.say(5)
    tasks = [asyncio.create_task(stage.collect(after)) for after in (0, 3, 5)]
    await asyncio.sleep(0.02)
    await stage.say(2)
    await asyncio.sleep(0)
    await stage.say(1)
    await stage.end()
    assert await asyncio.gather(*tasks) == [list(range(after + 1, 9)) for after in (0, 3, 5)]
    assert await stage.collect(after=6) == [7, 8]
    assert await stage.collect(after=8) == []


async def test_slow_and_fast_followers_get_everything_and_memory_stays_bounded(stage: Stage) -> None:
    slow = asyncio.create_task(stage.collect(pause_s=0.03))
    fast = asyncio.create_task(stage.collect())
    await asyncio.sleep(0.01)
    for _ in range(60):
        await stage.say(100)
    ring = stage.hub._rings["r"]
    assert len(ring._frames) <= 2 * RING_FRAMES
    await stage.end()
    everything = list(range(1, 6001))
    assert await fast == everything
    assert await slow == everything


async def test_large_frames_do_not_fill_the_ring(stage: Stage) -> None:
    fast = asyncio.create_task(stage.collect())
    await asyncio.sleep(0.01)
    for _ in range(6):
        await stage.say(1, size=3_000_000)
        assert stage.hub._rings["r"]._bytes <= 4_000_000
    await stage.end()
    assert await fast == list(range(1, 7))


async def test_nothing_is_lost_between_reading_the_log_and_going_live(stage: Stage) -> None:
    async def talk() -> None:
        for _ in range(150):
            await stage.say(1)
        await stage.end()

    talking = asyncio.create_task(talk())
    followers = []
    while not talking.done():
        after = min(stage.last, len(followers))
        followers.append((after, asyncio.create_task(stage.collect(after))))
        await asyncio.sleep(0.002)
    for after, follower in followers:
        assert await follower == list(range(after + 1, 151))


async def test_rings_are_freed_with_their_last_follower(stage: Stage) -> None:
    await stage.say(1)
    assert not stage.hub.is_followed("r")
    async with aclosing(stage.hub.follow("r")) as frames:
        assert [seq for seq, _ in await anext(frames)] == [1]
        assert stage.hub.is_followed("r")
    assert not stage.hub.is_followed("r")


async def test_cancelled_follower_leaves_nothing(stage: Stage) -> None:
    task = asyncio.create_task(stage.collect())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not stage.hub.is_followed("r")


async def test_end_is_awaited_without_reading(stage: Stage) -> None:
    await stage.say(1)
    waiting = [asyncio.create_task(stage.hub.until_sealed("r")) for _ in range(3)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    await stage.end()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[1:])
        await stage.hub.until_sealed("r")  # it has ended long ago
    with pytest.raises(RunNotFound):
        await stage.hub.until_sealed("unknown")


async def test_after_beyond_the_end_and_unknown_runs_are_told(stage: Stage) -> None:
    await stage.say(2)
    with pytest.raises(AfterBeyondEnd, match="has 2 events, not 3"):
        await stage.collect(after=3)
    with pytest.raises(RunNotFound):
        await anext(stage.hub.follow("unknown"))
    assert not stage.hub.is_followed("r")
    assert not stage.hub.is_followed("unknown")


async def test_followers_that_come_and_go_leave_nothing_beside_one_that_stays(stage: Stage) -> None:
    await stage.say(1)
    staying = asyncio.create_task(stage.collect())
    await asyncio.sleep(0.05)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stage.collect()
    assert len(stage.hub._rings["r"]._waiting) == 1
    await stage.end()
    assert await staying == [1]
