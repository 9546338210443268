"""Reading a run's log: once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.gateway.runs.run_log import PAGE, RunLog


class CountingLog(SqliteEventLog):
    reads = 0

    async def read(self, *arguments: Any, **options: Any) -> Any:
        self.reads += 1
        return await super().read(*arguments, **options)


@asynccontextmanager
async def opened(folder: Path, events: int) -> AsyncIterator[tuple[CountingLog, RunLog]]:
    log = await CountingLog.open(folder / "events.db")
    assert isinstance(log, CountingLog)
    writer = LogWriter(log, Hub(log))
    await writer.start()
    await writer.create_run("r", {})
    await writer.append("r", [{"t": "open", "path": f"n{i}", "epoch": (1, 0), "type": "x"} for i in range(events)])
    yield log, RunLog(log, writer)
    await writer.stop()
    await log.close()


async def test_five_who_ask_at_once_cost_little_more_than_one(tmp_path: Path) -> None:
    async with opened(tmp_path, 4 * PAGE) as (log, run_log):
        log.reads = 0
        views = await asyncio.gather(*(run_log.view("r") for _ in range(5)))
        assert [len(view.nodes) for view in views] == [4 * PAGE] * 5
        assert log.reads == 4  # full pages; that there is no more, all know


async def test_view_asked_for_again_reads_only_what_is_new(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as (log, run_log):
        log.reads = 0
        await run_log.view("r")
        await run_log.view("r")
        assert log.reads == 1
        await run_log.complete_missing("r", [("n0", "NODE_INTERRUPTED", {})])
        assert (await run_log.view("r")).ended == {"n0"}
        assert log.reads == 2


async def test_log_of_an_earlier_process_is_read_to_its_end(tmp_path: Path) -> None:
    async with opened(tmp_path, PAGE + 1) as (log, _):
        run_log = RunLog(log, LogWriter(log, Hub(log)))
        assert len((await run_log.view("r")).nodes) == PAGE + 1


async def test_reader_that_is_cancelled_leaves_the_next_one_what_it_has_read(tmp_path: Path) -> None:
    async with opened(tmp_path, 2 * PAGE) as (_, run_log):
        first = asyncio.create_task(run_log.view("r"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len((await run_log.view("r")).nodes) == 2 * PAGE


async def test_damaged_event_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 3) as (log, run_log):
        read = log.read

        async def damaged(*arguments: Any, **options: Any) -> Any:
            page = await read(*arguments, **options)
            return [event._replace(line=b"\xff{") if event.seq == 2 else event for event in page]

        monkeypatch.setattr(log, "read", damaged)
        assert set((await run_log.view("r")).nodes) == {"n0", "n2"}
