"""What every back end of the run event log must do. Subclass, override `open_log`, run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.gateway.events.log import Batch, EventLog, LogUnavailable, encode


def line(seq: int, text: str = "x", **internal: object) -> bytes:
    return encode({"seq": seq, "ts": 1, "type": "NODE_YIELD", "payload": {"text": text}, **internal})


def batch(run: str, first: int, count: int, text: str = "x") -> Batch:
    return Batch(run, first, [line(seq, text) for seq in range(first, first + count)])


async def read_all(log: EventLog, run: str, after: int = 0, limit: int = 1000) -> list[int]:
    seqs: list[int] = []
    while page := await log.read(run, seqs[-1] if seqs else after, limit):
        seqs.extend(event.seq for event in page)
    return seqs


class EventLogConformance(ABC):
    @abstractmethod
    async def open_log(self, folder: Path) -> EventLog:
        """The log that lies in `folder`, new or as it was left."""

    @pytest.fixture
    async def log(self, tmp_path: Path) -> AsyncIterator[EventLog]:
        log = await self.open_log(tmp_path)
        yield log
        await log.close()

    async def test_read_gives_what_comes_after_a_seq_across_commits(self, log: EventLog) -> None:
        await log.create_run("r", {})
        await log.append([batch("r", 1, 3)])
        await log.append([batch("r", 4, 1)])
        await log.append([batch("r", 5, 4)])
        for after in range(9):
            assert await read_all(log, "r", after) == list(range(after + 1, 9))
        assert [event.seq for event in await log.read("r", 1, limit=4)] == [2, 3, 4, 5]
        assert await read_all(log, "r", limit=1) == list(range(1, 9))
        assert await log.last_seq("r") == 8

    async def test_frames_are_the_events_without_internal_keys(self, log: EventLog) -> None:
        await log.create_run("r", {})
        await log.append([Batch("r", 1, [line(1, "a\nb\tc", e=(2, 1), i=7), line(2, "plain")])])
        first, second = await log.read("r")
        assert first.frame == b'{"seq":1,"ts":1,"type":"NODE_YIELD","payload":{"text":"a\\nb\\tc"}}'
        assert (first.decode()["e"], first.decode()["i"], first.decode()["payload"]) == ([2, 1], 7, {"text": "a\nb\tc"})
        assert second.decode() == {"seq": 2, "ts": 1, "type": "NODE_YIELD", "payload": {"text": "plain"}}

    async def test_large_pages_are_cut_but_never_empty(self, log: EventLog) -> None:
        await log.create_run("r", {})
        for seq in range(1, 5):
            await log.append([batch("r", seq, 1, "y" * 700_000)])
        assert 1 <= len(await log.read("r")) < 4
        assert await read_all(log, "r") == [1, 2, 3, 4]

    async def test_append_is_all_or_nothing(self, log: EventLog) -> None:
        await log.create_run("a", {})
        await log.create_run("b", {})
        await log.append([batch("b", 1, 1)])
        for wrong in (batch("b", 3, 1), batch("b", 1, 1), batch("unknown", 1, 1)):
            with pytest.raises(LogUnavailable):
                await log.append([batch("a", 1, 2), wrong])
        assert (await log.last_seq("a"), await log.last_seq("b")) == (0, 1)

    async def test_any_number_of_runs_and_one_run_twice_are_appended_together(self, log: EventLog) -> None:
        runs = [f"r{number}" for number in range(1_100)]
        for run in runs:
            await log.create_run(run, {})
        await log.append([*(batch(run, 1, 2) for run in runs), batch("r7", 3, 1), batch("r7", 4, 2)])
        assert [await log.last_seq(run) for run in ("r0", "r7", "r1099")] == [2, 5, 2]
        assert await read_all(log, "r7") == [1, 2, 3, 4, 5]
        with pytest.raises(LogUnavailable, match="'r800'"):
            await log.append([batch(run, 4 if run == "r800" else 3, 1) for run in runs if run != "r7"])
        assert await log.last_seq("r0") == 2

    async def test_sealed_run_takes_nothing_more_and_stays_readable(self, log: EventLog) -> None:
        await log.create_run("r", {})
        await log.append([batch("r", 1, 2)])
        await log.seal("r")
        await log.seal("r")
        await log.seal("unknown")
        with pytest.raises(LogUnavailable):
            await log.append([batch("r", 3, 1)])
        info = await log.run_info("r")
        assert info is not None
        assert info.is_sealed
        assert await read_all(log, "r") == [1, 2]
        assert await log.open_runs() == []

    async def test_create_run_twice_keeps_the_first(self, log: EventLog) -> None:
        meta = {"interface_streams": {"a/b": [["out", None]]}}
        assert await log.create_run("r", meta) is True
        assert await log.create_run("r", {}) is False
        info = await log.run_info("r")
        assert info is not None
        assert (info.meta, info.last_seq, info.size, info.is_sealed) == (meta, 0, 0, False)
        assert await log.run_info("unknown") is None

    async def test_batch_makes_its_run_unless_there_is_one(self, log: EventLog) -> None:
        await log.create_run("old", {"k": 1})
        await log.append([replace(batch(run, 1, 2), new_run_meta={"k": 2}) for run in ("old", "new")])
        await log.append([replace(batch("new", 3, 1), new_run_meta={"k": 3})])
        found = {info.run: (info.meta, info.last_seq) for info in await log.open_runs()}
        assert found == {"old": ({"k": 1}, 2), "new": ({"k": 2}, 3)}
        with pytest.raises(LogUnavailable):
            await log.append([replace(batch("newer", 1, 1), new_run_meta={}), batch("old", 2, 1)])
        assert await log.run_info("newer") is None

    async def test_last_batch_seals_its_run_and_no_other(self, log: EventLog) -> None:
        for run in ("a", "b"):
            await log.create_run(run, {})
        await log.append([replace(batch("a", 1, 2), is_last=True), batch("b", 1, 2)])
        assert [info.run for info in await log.open_runs()] == ["b"]
        assert await read_all(log, "a") == [1, 2]
        with pytest.raises(LogUnavailable):
            await log.append([batch("a", 3, 1)])

    async def test_everything_is_there_after_opening_again(self, tmp_path: Path) -> None:
        log = await self.open_log(tmp_path)
        await log.create_run("r", {"k": 1})
        await log.append([batch("r", 1, 3)])
        log_id = log.log_id
        await log.close()
        again = await self.open_log(tmp_path)
        assert await read_all(again, "r") == [1, 2, 3]
        assert [(info.run, info.meta) for info in await again.open_runs()] == [("r", {"k": 1})]
        assert again.log_id == log_id
        await again.close()

    async def test_retention_deletes_sealed_runs_only_oldest_first(self, log: EventLog) -> None:
        for run in ("old", "open", "new"):
            await log.create_run(run, {})
            await log.append([batch(run, 1, 1, "z" * 1000)])
        for run in ("old", "new"):
            await log.seal(run)
            await asyncio.sleep(0.003)
        assert await log.delete_sealed(max_age_s=60, max_bytes=10_000) == []
        assert await log.delete_sealed(max_age_s=60, max_bytes=2_500) == ["old"]
        assert await log.run_info("old") is None
        assert await log.read("old") == []
        assert await log.delete_sealed(max_age_s=0, max_bytes=10_000) == ["new"]
        assert await log.delete_sealed(max_age_s=0, max_bytes=0) == []
        assert await read_all(log, "open") == [1]

    async def test_open_runs_of_the_future_get_a_date_of_today(self, log: EventLog) -> None:
        for run in ("open", "sealed"):
            await log.create_run(run, {})
        await log.seal("sealed")
        (info,) = await log.open_runs()
        assert await log.correct_dates(info.created_ms, margin_ms=1000) == 0
        year_ago = info.created_ms - 31_536_000_000
        assert await log.correct_dates(year_ago, margin_ms=1000) == 1
        assert [found.created_ms for found in await log.open_runs()] == [year_ago - 1000]
        assert await log.correct_dates(year_ago, margin_ms=1000) == 0
        sealed = await log.run_info("sealed")
        assert sealed is not None
        assert sealed.created_ms > year_ago

    async def test_stats_count_runs_and_events(self, log: EventLog) -> None:
        await log.create_run("a", {})
        await log.create_run("b", {})
        await log.append([batch("a", 1, 3), batch("b", 1, 2)])
        await log.seal("a")
        stats = await log.stats()
        assert (stats["runs"], stats["open_runs"], stats["events"]) == (2, 1, 5)
        assert stats["bytes"] > 0

    async def test_reads_go_on_while_others_append(self, log: EventLog) -> None:
        await log.create_run("r", {})

        async def append() -> None:
            for seq in range(1, 101):
                await log.append([batch("r", seq, 1)])

        task = asyncio.create_task(append())
        seen: Sequence[int] = []
        while not task.done():
            now = await read_all(log, "r")
            assert now == list(range(1, len(now) + 1))
            assert len(now) >= len(seen)
            seen = now
        await task
        assert await read_all(log, "r") == list(range(1, 101))
