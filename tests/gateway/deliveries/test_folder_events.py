"""What the real system tells of folders."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from innkeeper.gateway.deliveries import folder_events
from innkeeper.gateway.deliveries.folder_events import FolderEvents
from innkeeper.gateway.deliveries.watched_folder import Place
from tests.gateway.conftest import Stack


@pytest.fixture
async def events() -> AsyncIterator[FolderEvents]:
    events = FolderEvents()
    yield events
    await events.aclose()


def place(folder: Path) -> Place:
    folder.mkdir(exist_ok=True)
    facts = folder.stat()
    return Place(str(folder), facts.st_dev, facts.st_ino)


class Owner:
    """Watches a folder; `wait` returns when it is woken."""

    def __init__(self, events: FolderEvents, *folders: Path) -> None:
        self.events = events
        self.places = {place(folder) for folder in folders}
        self.woken = asyncio.Event()
        self.is_told = events.watch(self, self.places, self.woken.set)

    async def wait(self) -> None:
        async with asyncio.timeout(10):
            await self.woken.wait()
        self.woken.clear()

    async def is_quiet(self) -> bool:
        await asyncio.sleep(1.2)
        return not self.woken.is_set()


async def test_owner_is_woken_when_its_watch_has_begun_and_by_changes(events: FolderEvents, tmp_path: Path) -> None:
    one, other = Owner(events, tmp_path / "one"), Owner(events, tmp_path / "other")
    assert one.is_told
    assert other.is_told
    await one.wait()
    await other.wait()
    for change in (
        lambda: (tmp_path / "one" / "a").write_text("x"),
        lambda: (tmp_path / "one" / "a").write_text("xy"),
        lambda: os.rename(tmp_path / "one" / "a", tmp_path / "one" / "b"),
        lambda: (tmp_path / "one" / "b").unlink(),
        lambda: (tmp_path / "one" / "inner").mkdir(),
        lambda: os.rmdir(tmp_path / "one" / "inner"),
        lambda: os.rmdir(tmp_path / "one"),
    ):
        change()
        await one.wait()
        await asyncio.sleep(0.3)
        one.woken.clear()
    assert not other.woken.is_set()


async def test_nothing_is_told_of_what_lies_deeper_and_of_reading(events: FolderEvents, tmp_path: Path) -> None:
    (tmp_path / "one" / "inner").mkdir(parents=True)
    (tmp_path / "one" / "a").write_text("x")
    one = Owner(events, tmp_path / "one")
    await one.wait()
    (tmp_path / "one" / "inner" / "a").write_text("x")
    (tmp_path / "one" / "a").read_text()
    list((tmp_path / "one").iterdir())
    one.woken.clear()
    assert await one.is_quiet()


async def test_owner_that_looks_elsewhere_is_woken_from_there(events: FolderEvents, tmp_path: Path) -> None:
    one = Owner(events, tmp_path / "one")
    await one.wait()
    assert events.watch(one, {place(tmp_path / "two")}, one.woken.set)
    await one.wait()
    (tmp_path / "one" / "a").write_text("x")
    assert await one.is_quiet()
    (tmp_path / "two" / "a").write_text("x")
    await one.wait()


async def test_folder_that_comes_again_is_another_one(events: FolderEvents, tmp_path: Path) -> None:
    one = Owner(events, tmp_path / "one")
    await one.wait()
    (tmp_path / "one").rename(tmp_path / "old")
    await one.wait()
    assert events.watch(one, {place(tmp_path / "one")}, one.woken.set)
    await one.wait()
    (tmp_path / "one" / "a").write_text("x")
    await one.wait()


async def test_folder_that_went_meanwhile_is_no_lasting_fault(events: FolderEvents, tmp_path: Path) -> None:
    gone = place(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    one = Owner(events, tmp_path / "one")
    events.watch("other", {gone}, lambda: None)
    await one.wait()
    events.forget("other")
    assert events.watch(one, one.places, one.woken.set)
    await one.wait()
    (tmp_path / "one" / "a").write_text("x")
    await one.wait()


async def test_system_without_watches_left_is_told_to_the_owner(
    events: FolderEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*paths: str, **options: Any) -> Iterator[set[Any]]:
        raise OSError(28, "no watches left")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(watchfiles, "watch", none_left)
        one = Owner(events, tmp_path / "one")
        await one.wait()
    assert not events.watch(one, one.places, one.woken.set)
    # Later it is tried again.
    monkeypatch.setattr(folder_events, "RETRY_S", 0.0)
    assert events.watch(one, one.places, one.woken.set)
    await one.wait()
    (tmp_path / "one" / "a").write_text("x")
    await one.wait()


async def test_owner_of_too_many_folders_is_told_so(
    events: FolderEvents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_events, "MAX_PLACES", 2)
    small = Owner(events, tmp_path / "one")
    large = Owner(events, tmp_path / "two", tmp_path / "three")
    assert small.is_told
    assert not large.is_told
    assert small.events.watch(small, small.places, small.woken.set)


async def test_nobody_who_watches_costs_nothing(events: FolderEvents, tmp_path: Path) -> None:
    assert not events.watch("nobody", set(), lambda: None)
    assert events._thread is None
    one = Owner(events, tmp_path / "one")
    thread = events._thread
    assert thread is not None
    events.forget(one)
    async with asyncio.timeout(5):
        while thread.is_alive():
            await asyncio.sleep(0.02)
    assert events._thread is None


async def test_gateway_without_file_triggers_has_no_thread_for_them(stack: Stack) -> None:
    before = set(threading.enumerate())
    async with stack.gateway():
        await asyncio.sleep(0.3)
        assert [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("file-")] == []
