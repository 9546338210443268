from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from innkeeper.gateway.events import followers as followers_module
from innkeeper.gateway.events import streams as streams_module
from innkeeper.gateway.events.fence import StoredText, fact_message, status_message
from innkeeper.gateway.events.followers import MAX_FOLLOWS, WINDOW_BYTES, WINDOW_CHUNKS, Followers, TooManyFollows
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.streams import RING_BYTES, RING_CHUNKS
from innkeeper.gateway.events.writer import LogWriter

Block = dict[str, Any]


def opened(attempt: int = 1, path: str = "p", **more: Any) -> dict[str, Any]:
    return {"t": "open", "path": path, "epoch": [attempt, 0], **more}


def chunks(first: int, behind: int, attempt: int = 1, path: str = "p", content: str = "x", **more: Any) -> list[Any]:
    message = {"t": "chunk", "path": path, "epoch": [attempt, 0], **more}
    return [
        {**message, "i": i, "chunk": {"type": "text_chunk", "content": f"{i} {content}"}} for i in range(first, behind)
    ]


def complete(attempt: int = 1, path: str = "p") -> dict[str, Any]:
    return {"t": "complete", "path": path, "epoch": [attempt, 0], "outputs": {}, "end": True}


class Worker:
    """One worker connection: takes frames as its socket does."""

    def __init__(self, writer: LogWriter) -> None:
        self._woken = asyncio.Event()
        self.followers = Followers(writer.streams, writer.log, self._woken.set)
        self.consumers: dict[str, Consumer] = {}

    def follow(self, id: str, run: str = "r", path: str = "p", origin: Any = None, next: int = 0) -> Consumer:
        consumer = self.consumers[id] = Consumer(origin=origin, next=next)
        self.followers.follow(id, run, path, origin=origin, next=next)
        return consumer

    async def frame(self, max_bytes: int = 1_000_000) -> list[Block]:
        """The next frame with something in it."""
        while not (blocks := self.followers.take(max_bytes)):
            self._woken.clear()
            await asyncio.wait_for(self._woken.wait(), 30)
        parsed = [orjson.loads(block) for block in blocks]
        for block in parsed:
            self.consumers[block["id"]].take(block)
        return parsed

    async def settle(self, condition: Callable[[], bool] = lambda: True) -> None:
        """Take what comes, without thanks, until the condition holds and nothing comes any more."""
        await self.until(condition, got=False)
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.1):
                    await self.frame()

    async def until(self, condition: Callable[[], bool], *, got: bool = True) -> None:
        if got:
            self._got_all()
        while not condition():
            await self.frame()
            if got:
                self._got_all()

    def _got_all(self) -> None:
        for id, consumer in self.consumers.items():
            self.followers.got(id, consumer.next)


@dataclass
class Consumer:
    """What one consumer makes of its blocks: no chunk twice, none left out, all of one origin."""

    origin: Any = None
    next: int = 0
    held: list[str] = field(default_factory=list)
    blocks: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    end: Mapping[str, Any] | None = None

    def take(self, block: Block) -> None:
        assert self.end is None
        self.blocks += 1
        if block["origin"] != (list(self.origin) if self.origin else None):
            self.origin, self.next, self.held = block["origin"], 0, []
            assert block["i"] == 0 or not block["chunks"]
        if block["i"] > self.next:
            self.holes.append((self.next, block["i"]))
            self.next = block["i"]
        assert block["i"] == self.next
        self.next += len(block["chunks"])
        self.held.extend(chunk["content"] for chunk in block["chunks"])
        self.end = block.get("end")


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[LogWriter]:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    writer = LogWriter(log, Hub(log))
    await writer.start()
    yield writer
    await writer.stop()
    await log.close()


@pytest.fixture
async def worker(writer: LogWriter) -> AsyncIterator[Worker]:
    worker = Worker(writer)
    yield worker
    worker.followers.close()
    assert writer.streams._tails == {}
    assert (writer.streams._held, len(writer.streams._rings)) == (0, 0)


async def test_follower_waits_for_its_producer_then_gets_everything_as_it_comes(
    writer: LogWriter, worker: Worker
) -> None:
    consumer, of_new_run = worker.follow("a"), worker.follow("b", run="new")
    await worker.settle()
    assert consumer.blocks == 0
    await writer.append("r", [opened()])
    assert await worker.frame() == [{"id": "a", "origin": [1, 0], "i": 0, "chunks": []}]
    await writer.append("r", chunks(0, 2))
    await writer.append("r", [*chunks(2, 3), complete()])
    await worker.until(lambda: consumer.end is not None)
    assert (consumer.held, consumer.end) == (["0 x", "1 x", "2 x"], {"type": "NODE_COMPLETE"})
    await writer.create_run("new", {})
    await writer.append("new", [opened(), *chunks(0, 1)])
    await worker.until(lambda: of_new_run.held == ["0 x"])


async def test_stored_stream_is_caught_up_within_the_window(writer: LogWriter, worker: Worker) -> None:
    await writer.append("r", [opened(), opened(path="other")])
    for first in range(0, 3000, 500):
        await writer.append("r", chunks(first, first + 500))
        await writer.append("r", chunks(first, first + 500, path="other"))
    consumer = worker.follow("a")
    await worker.settle(lambda: consumer.next >= WINDOW_CHUNKS)
    assert consumer.next == WINDOW_CHUNKS
    worker.followers.got("a", 700)
    await worker.settle(lambda: consumer.next >= 1700)
    assert consumer.next == 1700
    await writer.append("r", [*chunks(3000, 3100), complete()])
    await worker.until(lambda: consumer.end is not None)
    assert consumer.held == [f"{i} x" for i in range(3100)]


async def test_window_counts_bytes_and_lets_a_larger_chunk_go_alone(writer: LogWriter, worker: Worker) -> None:
    large = "y" * (WINDOW_BYTES // 4)
    await writer.append("r", [opened(), *chunks(0, 10, content=large)])
    consumer = worker.follow("a")
    # Three fit into the window; a page of the log may end before the third.
    await worker.settle(lambda: consumer.next >= 2)
    first = consumer.next
    assert 2 <= first <= 3
    worker.followers.got("a", first)
    await worker.settle(lambda: consumer.next >= first + 2)
    assert first + 2 <= consumer.next <= first + 3
    await writer.append("r", [*chunks(10, 11, content=8 * large), complete()])
    await worker.until(lambda: consumer.end is not None)
    assert len(consumer.held) == 11


async def test_consumer_that_comes_back_gets_what_it_lacks(writer: LogWriter, worker: Worker) -> None:
    await writer.append("r", [opened(), *chunks(0, 1500)])
    same, other = worker.follow("a", origin=(1, 0), next=1495), worker.follow("b", origin=(1, 1), next=1495)
    ahead = worker.follow("c", origin=(1, 0), next=1500)
    await worker.until(lambda: same.next == other.next == 1500)
    assert (len(same.held), len(other.held), ahead.blocks) == (5, 1500, 1)


async def test_origin_changes_when_the_producer_starts_over_not_when_it_goes_on(
    writer: LogWriter, worker: Worker
) -> None:
    consumer = worker.follow("a")
    await writer.append("r", [opened(resume=[7, 0]), *chunks(0, 4, u=1)])
    await worker.settle()
    await writer.append("r", [opened(2, resume=[7, 0]), *chunks(4, 6, attempt=2, content="more", u=2)])
    await worker.until(lambda: consumer.next == 6)
    assert consumer.origin == [1, 0]
    await writer.append("r", [opened(3), *chunks(0, 2, attempt=3, content="anew")])
    await worker.until(lambda: consumer.held == ["0 anew", "1 anew"])
    assert consumer.origin == [3, 0]
    worker.followers.got("a", 6)  # said before it knew
    await writer.append("r", [*chunks(2, 3, attempt=3), complete(3)])
    await worker.until(lambda: consumer.end is not None)


async def test_consumer_of_a_kept_stream_reads_on_and_begins_anew_only_when_the_producer_does(
    writer: LogWriter, worker: Worker
) -> None:
    consumer = worker.follow("a")
    await writer.append("r", [opened(), *chunks(0, 2)])
    await worker.settle()
    await writer.append("r", [opened(2, keep=True), *chunks(2, 4, attempt=2)])
    await worker.until(lambda: consumer.next == 4)
    assert (consumer.origin, consumer.held) == ([1, 0], ["0 x", "1 x", "2 x", "3 x"])
    anew = {**opened(2), "epoch": [2, 1]}
    await writer.append("r", [anew, {**chunks(0, 1, content="anew")[0], "epoch": [2, 1]}])
    await worker.until(lambda: consumer.held == ["0 anew"])
    assert consumer.origin == [2, 1]


async def test_ends_are_told_as_they_are(writer: LogWriter, worker: Worker) -> None:
    failed, skipped, never = worker.follow("a"), worker.follow("b", path="q"), worker.follow("c", path="never")
    details = {"message": "no more", "code": "server_error", "retryable": False}
    await writer.append("r", [opened(), *chunks(0, 1), fact_message("p", "NODE_ERROR", {"errorDetails": details})])
    await writer.append("r", [fact_message("q", "NODE_SKIPPED", {"reason": "upstream_error"})])
    await worker.until(lambda: failed.end is not None and skipped.end is not None)
    assert (failed.held, failed.end) == (["0 x"], {"type": "NODE_ERROR", "error": details})
    assert (skipped.origin, skipped.end) == (None, {"type": "NODE_SKIPPED"})
    await worker.settle()
    assert never.blocks == 0
    await writer.close_run("r", [status_message("error")])
    await worker.until(lambda: never.end is not None)
    assert never.end == {"type": "NODE_INTERRUPTED"}


async def test_sealed_run_is_served_from_the_log(writer: LogWriter, worker: Worker) -> None:
    await writer.append("r", [opened(), *chunks(0, 2500), complete()])
    await writer.close_run("r", [status_message("complete")])
    consumer, missing = worker.follow("a"), worker.follow("b", path="nobody")
    await worker.until(lambda: consumer.end is not None and missing.end is not None)
    assert consumer.held == [f"{i} x" for i in range(2500)]


async def test_gap_is_passed_by(writer: LogWriter, worker: Worker) -> None:
    gap = {"t": "gap", "path": "p", "epoch": [1, 0], "from": 2, "to": 900}
    await writer.append("r", [opened(), *chunks(0, 2), gap, *chunks(901, 903)])
    stored, live = worker.follow("a"), worker.follow("b", path="q")
    await writer.append("r", [opened(path="q"), *chunks(0, 1, path="q")])
    await worker.settle()
    await writer.append("r", [{**gap, "path": "q", "from": 1}, *chunks(901, 905, path="q"), complete(path="q")])
    await worker.until(lambda: live.end is not None and stored.next == 903)
    assert stored.held == ["0 x", "1 x", "901 x", "902 x"]
    assert (live.held[-1], live.holes) == ("904 x", [(1, 901)])


async def test_slow_follower_holds_up_nobody_and_memory_stays_bounded(writer: LogWriter, worker: Worker) -> None:
    slow, fast = worker.follow("slow"), [worker.follow(f"fast {n}") for n in range(20)]
    await writer.append("r", [opened()])
    for first in range(0, 12_000, 400):
        await writer.append("r", chunks(first, first + 400))
        for block in await worker.frame():
            if block["id"] != "slow":
                worker.followers.got(block["id"], block["i"] + len(block["chunks"]))
    ring = next(iter(writer.streams._rings)).ring
    assert len(ring._chunks) <= RING_CHUNKS
    assert ring.size <= RING_BYTES
    assert slow.next == WINDOW_CHUNKS
    await writer.append("r", [complete()])
    worker.followers.got("slow", slow.next)
    await worker.until(lambda: slow.end is not None and all(consumer.end for consumer in fast))
    assert slow.held == fast[0].held == [f"{i} x" for i in range(12_000)]


async def test_all_rings_together_are_bounded(
    writer: LogWriter, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "ALL_RINGS_BYTES", 50_000)
    paths = [f"p{n}" for n in range(20)]
    consumers = [worker.follow(path, path=path) for path in paths]
    for path in paths:
        await writer.append("r", [opened(path=path), *chunks(0, 40, path=path)])
        assert writer.streams._held <= 50_000
    await worker.until(lambda: all(consumer.next == 40 for consumer in consumers))


async def test_blocks_are_dealt_in_turn(writer: LogWriter, worker: Worker) -> None:
    worker.follow("busy")
    calm = worker.follow("calm", path="q")
    await worker.settle()
    await writer.append(
        "r", [opened(), *chunks(0, 90, content="z" * 10_000), opened(path="q"), *chunks(0, 1, path="q")]
    )
    dealt = [block["id"] for block in await worker.frame(200_000)]
    # Who begins is nobody's business; that the busy one gets no second block before the calm one's first is.
    assert sorted(dealt[:2]) == ["busy", "calm"]
    assert dealt[2] == "busy"
    assert calm.held == ["0 x"]


async def test_follower_of_a_deleted_log_ends(writer: LogWriter, worker: Worker) -> None:
    await writer.append("r", [opened(), *chunks(0, 3000)])
    await writer.close_run("r", [status_message("interrupted")])
    consumer = worker.follow("a")
    await worker.settle()
    await writer.log.delete_sealed(max_age_s=0, max_bytes=0)
    await worker.until(lambda: consumer.end is not None)
    assert consumer.end == {"type": "NODE_INTERRUPTED"}


async def test_unfollow_stops_at_once_and_follows_are_limited(
    writer: LogWriter, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.append("r", [opened(), *chunks(0, 10)])
    consumer = worker.follow("a")
    worker.followers.unfollow("a")
    worker.followers.unfollow("a")
    worker.followers.got("a", 3)
    await worker.settle()
    assert consumer.blocks == 0
    assert MAX_FOLLOWS == 5000
    monkeypatch.setattr(followers_module, "MAX_FOLLOWS", 2)
    worker.follow("a")
    worker.follow("b")
    worker.follow("b")
    with pytest.raises(TooManyFollows):
        worker.follow("c")


async def test_text_of_a_stream_is_read_from_the_log(writer: LogWriter) -> None:
    other = {"t": "chunk", "path": "p", "epoch": [1, 0], "i": 1500, "chunk": {"type": "json_chunk", "content": {}}}
    await writer.append("r", [opened(), opened(path="q"), *chunks(0, 1500), other, *chunks(1501, 1503)])
    text = await writer.streams.text(StoredText("r", "p", 1, 1502))
    assert text == "".join(f"{i} x" for i in (*range(1500), 1501))
    assert await writer.streams.text(StoredText("gone", "p", 1, 1502)) == ""


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_of_events_gives_every_follower_the_same_stream(
    writer: LogWriter, worker: Worker, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Producers that start over and go on, consumers that come, go, come back, lag; tiny rings, windows and pages."""
    for module, limits in (
        (streams_module, {"RING_CHUNKS": 8, "MARK_EVERY": 4, "ALL_RINGS_BYTES": 3000}),
        (followers_module, {"WINDOW_CHUNKS": 10, "LOADED_PAGES": 2}),
    ):
        for name, value in limits.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("innkeeper.gateway.events.chunks.PAGE", 7)
    dice = random.Random(seed)
    paths = ["p", "q", "s"]
    told: dict[str, list[str]] = {}

    async def produce(path: str) -> None:
        attempt, held = 1, told.setdefault(path, [])
        await writer.append("r", [opened(attempt, path, resume=[1, 0])])
        for _ in range(40):
            disposition = dice.random()
            if disposition < 0.15:
                attempt += 1
                goes_on = disposition < 0.08
                await writer.append("r", [opened(attempt, path, resume=[1 if goes_on else attempt, 0])])
                answer_next = writer._open["r"].nodes[path].next
                del held[answer_next:]
            count = dice.randint(1, 12)
            new = chunks(len(held), len(held) + count, attempt, path, f"{attempt}", u=1)
            await writer.append("r", new)
            held.extend(message["chunk"]["content"] for message in new)
            await asyncio.sleep(dice.choice((0, 0, 0.002)))
        await writer.append("r", [complete(attempt, path)])

    async def consume(number: int) -> None:
        path = dice.choice(paths)
        consumer = worker.follow(f"c{number}.0", path=path)
        for life in range(1, 5):
            await asyncio.sleep(dice.random() * 0.05)
            if consumer.end is not None:
                break
            worker.followers.unfollow(f"c{number}.{life - 1}")
            before = consumer
            origin = tuple(before.origin) if before.origin else None
            consumer = worker.follow(f"c{number}.{life}", path=path, origin=origin, next=before.next)
            consumer.held = before.held
        while consumer.end is None:
            await asyncio.sleep(0.005)
        assert consumer.held == told[path]

    async def pump() -> None:
        while True:
            for block in await worker.frame(dice.choice((1, 500, 10_000))):
                asyncio.get_running_loop().call_later(dice.choice((0, 0, 0.005)), thank, block["id"])

    def thank(id: str) -> None:
        worker.followers.got(id, worker.consumers[id].next)

    pumping = asyncio.create_task(pump())
    async with asyncio.timeout(30):
        await asyncio.gather(*(produce(path) for path in paths), *(consume(number) for number in range(12)))
    pumping.cancel()
