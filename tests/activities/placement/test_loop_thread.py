"""Calls into the thread of plugins and news out of it: in order, with their context, and none lost."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from innkeeper.activities.placement.loop_thread import GATHER_S, LoopThread, NodeAborted
from tests.activities.fake_gateway import until

CALLER = contextvars.ContextVar("caller", default=0)


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("test")
    yield thread
    thread.close()


async def test_calls_come_in_order_each_with_the_context_of_its_caller(thread: LoopThread) -> None:
    seen: list[tuple[int, int, bool]] = []
    home = threading.get_ident()

    def note(number: int) -> None:
        seen.append((number, CALLER.get(), threading.get_ident() != home))

    for number in range(200):
        CALLER.set(number)
        thread.call_soon(note, number)
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    await until(lambda: len(seen) == 200)
    assert seen == [(number, number, True) for number in range(200)]


async def test_what_is_told_arrives_once_and_in_order(thread: LoopThread) -> None:
    home, heard = asyncio.get_running_loop(), list[int]()

    def tell(first: int) -> None:
        for number in range(first, first + 100):
            thread.tell(home, heard.append, number)

    for first in range(0, 1_000, 100):
        thread.call_soon(tell, first)
        await asyncio.sleep(0)
    await until(lambda: len(heard) == 1_000)
    assert heard == list(range(1_000))


async def test_what_is_told_in_passing_shares_few_wake_ups(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    home, heard, wake_ups = asyncio.get_running_loop(), list[int](), list[float]()
    wake = home.call_soon_threadsafe

    def counted(callback: Any, *args: Any, **options: Any) -> asyncio.Handle:
        wake_ups.append(time.monotonic())
        return wake(callback, *args, **options)

    def tell() -> None:
        for number in range(1_000):
            thread.tell_in_passing(home, heard.append, number)

    monkeypatch.setattr(home, "call_soon_threadsafe", counted)
    thread.call_soon(tell)
    await until(lambda: len(heard) == 1_000)
    assert heard == list(range(1_000))
    assert len(wake_ups) <= (wake_ups[-1] - wake_ups[0]) / GATHER_S + 2


async def test_what_was_told_before_the_thread_blocked_can_be_taken_meanwhile(thread: LoopThread) -> None:
    home, heard = asyncio.get_running_loop(), list[str]()

    def tell_and_block() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, 1.0)
        thread.tell(home, heard.append, "ended")

    thread.call_soon(tell_and_block)
    await asyncio.sleep(0.3)
    assert heard == []
    thread.take_news()
    assert heard == ["ended"]
    await asyncio.sleep(1.0)
    assert heard == ["ended"]


async def test_calls_and_news_survive_an_abort_between_two_of_them(thread: LoopThread) -> None:
    home, heard = asyncio.get_running_loop(), list[str]()

    def abort() -> None:
        thread.tell(home, heard.append, "before")
        raise NodeAborted

    thread.call_soon(time.sleep, 0.1)
    thread.call_soon(abort)
    thread.call_soon(thread.tell, home, heard.append, "after")
    await until(lambda: len(heard) == 2)
    assert heard == ["before", "after"]
