"""One client's send queue, with a client that takes messages as the test lets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import pytest

from innkeeper.gateway.events.send_rate import SendRate
from innkeeper.gateway.realtime import send_queue
from innkeeper.gateway.realtime.reader import EventReader
from innkeeper.gateway.realtime.send_queue import SendQueue


class Client:
    """Takes messages while `takes` is set."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, texts: Iterable[str]) -> None:
        for text in texts:
            await self.takes.wait()
            self.got.append(json.loads(text))


@contextlib.asynccontextmanager
async def running(client: Client, calm: float = 1e9) -> AsyncIterator[SendQueue]:
    reader = EventReader(cast(Any, None), cast(Any, None), SendRate(calm=calm))
    box = SendQueue(client.send, reader)
    task = asyncio.create_task(box.run())
    try:
        async with asyncio.timeout(30):
            yield box
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_ready_at_the_same_time_goes_out_as_one_array() -> None:
    client = Client()
    async with running(client) as box:
        await asyncio.gather(box.put([b"1", b"2"], batch=True), box.put([b"3"], batch=True), box.put([b"4", b"5"]))
    assert sorted(map(str, client.got)) == ["4", "5", "[1, 2, 3]"]


async def test_put_waits_for_a_client_that_takes_nothing() -> None:
    client = Client()
    client.takes.clear()
    async with running(client) as box:
        first, second = asyncio.create_task(box.put([b"1"])), asyncio.create_task(box.put([b"2"]))
        await settled()
        assert not first.done()
        assert not second.done()
        client.takes.set()
        await asyncio.gather(first, second)
    assert client.got == [1, 2]


async def test_frames_of_a_caller_that_was_cancelled_are_not_sent() -> None:
    client = Client()
    client.takes.clear()
    async with running(client) as box:
        first = asyncio.create_task(box.put([b"1"]))
        await settled()
        second = asyncio.create_task(box.put([b"2"]))
        await settled()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        client.takes.set()
        await first
        await box.put([b"3"])
    assert client.got == [1, 3]


async def test_of_announcements_that_wait_only_the_newest_of_a_kind_is_sent() -> None:
    client = Client()
    client.takes.clear()
    async with running(client) as box:
        waiting = asyncio.create_task(box.put([b"0"]))
        await settled()
        for number in range(1000):
            box.announce("count", b"%d" % number)
            box.announce("other", b'"other"')
        client.takes.set()
        await waiting
        await box.put([b'"end"'])
    assert sorted(map(str, client.got)) == ["0", "999", "end", "other"]


async def test_array_ends_at_its_size_and_a_larger_event_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_queue, "ARRAY_BYTES", 10)
    client = Client()
    async with running(client) as box:
        await box.put([b'"aaaa"', b"1", b'"bbbb"', b'"cccccccccccc"', b"2"], batch=True)
    assert client.got == [["aaaa", 1], ["bbbb"], ["cccccccccccc"], [2]]


async def test_busy_gateway_sends_one_frame_for_all_subscriptions_of_a_client_each_30_ms() -> None:
    client = Client()

    async def subscription(box: SendQueue) -> None:
        while True:
            await box.put([b"1"], batch=True)

    async with running(client, calm=0) as box:
        begun = time.monotonic()
        tasks = [asyncio.create_task(subscription(box)) for _ in range(20)]
        await asyncio.sleep(0.3)
        lasted = time.monotonic() - begun
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert 2 <= len(client.got) <= lasted / 0.03 + 2
    assert {len(array) for array in client.got[1:]} == {20}
