"""Telling of ended runs: at once, and without a look into the store for those that nobody awaits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event

from innkeeper.gateway.deliveries.run_ends import LOOK_S, RunEnd, RunEnds
from innkeeper.gateway.store.engine import StoreEngine, ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import NewRun, RunStore


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[StoreEngine]:
    engine = open_engine(sqlite_url(tmp_path / "gateway.db"))
    await ensure_schema(engine)
    yield engine
    await engine.dispose()


@contextlib.asynccontextmanager
async def telling(ends: RunEnds) -> AsyncIterator[None]:
    task = asyncio.create_task(ends.keep_telling())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def close(store: RunStore, ends: RunEnds, run: str) -> None:
    row = await store.add(NewRun(run, "me", None, status="running"))
    assert row is not None
    await store.close(run, "complete", 1, {}, told=not ends.is_awaited(row, "complete"))
    ends.closed(run)


async def test_only_an_awaited_end_is_looked_up_and_it_is_told_at_once(engine: StoreEngine) -> None:
    store = RunStore(engine)
    ends, heard = RunEnds(store), asyncio.Queue[str]()
    ends.cares.append(lambda row, status: row.id == "awaited")

    async def hear(end: RunEnd) -> None:
        heard.put_nowait(end.run)

    ends.listeners.append(hear)
    reads: list[str] = []
    async with telling(ends):
        await asyncio.sleep(0.2)  # it looks once for what an earlier process left
        event.listen(engine.sync, "before_cursor_execute", lambda *call: reads.append(call[2]))
        await close(store, ends, "unheeded")
        await asyncio.sleep(0.2)
        assert [text for text in reads if text.startswith("SELECT")] == []
        await close(store, ends, "awaited")
        assert await asyncio.wait_for(heard.get(), LOOK_S / 2) == "awaited"
        assert heard.empty()
