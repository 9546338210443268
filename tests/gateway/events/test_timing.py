"""Times measured by the log's writer, with a real log and a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.events.fence import fact_message, status_message
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import Batch, LogUnavailable
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.gateway.metrics import Metrics

Message = dict[str, Any]


def opened(path: str, node_type: Any = "core:Known", attempt: int = 1) -> Message:
    return {"t": "open", "path": path, "epoch": [attempt, 0], "type": node_type}


def chunk(path: str, index: int) -> Message:
    body = {"type": "text_chunk", "content": "x"}
    return {"t": "chunk", "path": path, "epoch": [1, 0], "i": index, "chunk": body}


def complete(path: str, attempt: int = 1) -> Message:
    return {"t": "complete", "path": path, "epoch": [attempt, 0], "outputs": {}}


class Bench:
    """A writer on a log, the clock it writes by (milliseconds) and what it has measured."""

    def __init__(self, log: SqliteEventLog) -> None:
        self.log, self.now_ms = log, 1_000_000
        self.metrics = Metrics(lambda node_type: node_type == "core:Known")
        self.writer = LogWriter(log, Hub(log), clock_ms=lambda: self.now_ms, metrics=self.metrics)

    async def append(self, *messages: Message, after_ms: int = 0) -> None:
        self.now_ms += after_ms
        await self.writer.append("r", messages)

    def nodes(self, node_type: str = "core:Known") -> tuple[float, float]:
        """How many nodes of a type were counted, and their seconds together."""
        return self.value("node_duration_seconds_count", node_type), self.value("node_duration_seconds_sum", node_type)

    def value(self, name: str, node_type: str | None = None) -> float:
        labels = {} if node_type is None else {"type": node_type}
        return self.metrics.registry.get_sample_value(f"innkeeper_{name}", labels) or 0


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEventLog]:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    yield log
    await log.close()


@pytest.fixture
async def bench(log: SqliteEventLog) -> AsyncIterator[Bench]:
    bench = Bench(log)
    await bench.writer.start()
    yield bench
    await bench.writer.stop()


async def test_node_counts_from_its_first_start_to_its_end_with_retries(bench: Bench) -> None:
    await bench.append(opened("n"))
    await bench.append(opened("n", attempt=2), after_ms=2_000)
    assert bench.nodes() == (0, 0)
    await bench.append(complete("n", attempt=2), after_ms=1_500)
    assert bench.nodes() == (1, 3.5)
    # What is sent again is no second end.
    await bench.append(complete("n", attempt=2), fact_message("n", "NODE_ERROR", {}), after_ms=1_000)
    assert bench.nodes() == (1, 3.5)


async def test_every_way_to_end_counts_but_only_of_nodes_that_a_worker_ran(bench: Bench) -> None:
    await bench.append(opened("failed"), opened("stopped"), opened("done"))
    await bench.append(fact_message("control", "NODE_EXECUTING", {"attempt": 1}))
    await bench.append(
        fact_message("failed", "NODE_ERROR", {"errorDetails": {}}),
        fact_message("stopped", "NODE_INTERRUPTED", {}),
        complete("done"),
        fact_message("control", "NODE_COMPLETE", {"output": {}}),
        fact_message("never", "NODE_SKIPPED", {}),
        fact_message("reused", "NODE_COMPLETE", {"output": {}}),
        after_ms=500,
    )
    assert bench.nodes() == (3, 1.5)
    assert bench.nodes("unknown") == (0, 0)


async def test_type_that_is_not_in_the_catalogue_or_no_text_counts_as_unknown(bench: Bench) -> None:
    for number, node_type in enumerate(("somebody's text", None, ["core:Known"], 7)):
        await bench.append(opened(f"n{number}", node_type), complete(f"n{number}"))
    assert bench.nodes("unknown") == (4, 0)
    assert bench.nodes("somebody's text") == (0, 0)


async def test_node_that_began_before_a_restart_keeps_its_start_but_not_its_type(
    bench: Bench, log: SqliteEventLog
) -> None:
    await bench.append(opened("n"))
    await bench.writer.stop()
    again = Bench(log)
    await again.writer.start()
    await again.append(complete("n"), after_ms=4_000)
    await again.writer.stop()
    assert again.nodes("unknown") == (1, 4.0)
    assert bench.nodes() == (0, 0)


async def test_commit_that_failed_at_first_counts_once(
    bench: Bench, log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = log.append, iter(range(2))

    async def failing(batches: Sequence[Batch]) -> None:
        if next(failures, None) is not None:
            raise LogUnavailable("the disk is full")
        await real(batches)

    monkeypatch.setattr(log, "append", failing)
    await bench.append(opened("n"), chunk("n", 0), complete("n"))
    assert bench.writer.counters["commit_failures"] == 2
    assert bench.nodes() == (1, 0)
    assert (bench.value("log_commit_seconds_count"), bench.value("chunk_lag_seconds_count")) == (1, 1)
    # The chunk waited for all three attempts, the commit itself was quick.
    assert bench.value("chunk_lag_seconds_sum") > 0.25 > bench.value("log_commit_seconds_sum") > 0


async def test_chunk_lag_counts_commits_with_chunks_and_not_chunks(bench: Bench) -> None:
    await bench.append(opened("n"))
    await bench.append(*(chunk("n", index) for index in range(500)))
    await bench.append(chunk("n", 3))  # sent again: nothing to commit
    await bench.append(complete("n"))
    assert bench.value("log_commit_seconds_count") == bench.writer.counters["commits"] == 3
    assert bench.value("chunk_lag_seconds_count") == 1


async def test_chunk_lag_is_that_of_the_oldest_chunk(
    bench: Bench, log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, go_on = log.append, asyncio.Event()

    async def slow(batches: Sequence[Batch]) -> None:
        await go_on.wait()
        await real(batches)

    await bench.append(opened("n"))
    monkeypatch.setattr(log, "append", slow)
    first = asyncio.create_task(bench.append(opened("m")))  # holds the writer up
    await asyncio.sleep(0.05)
    older = asyncio.create_task(bench.append(chunk("n", 0)))
    await asyncio.sleep(0.3)
    newer = asyncio.create_task(bench.append(chunk("n", 1)))
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.gather(first, older, newer)
    assert bench.value("chunk_lag_seconds_count") == 1
    assert bench.value("chunk_lag_seconds_sum") > 0.3


async def test_first_event_is_the_first_node_that_starts(bench: Bench) -> None:
    bench.metrics.runs.starting("r", 0)
    await bench.append(status_message("running"), fact_message("reused", "NODE_COMPLETE", {"output": {}}))
    assert bench.value("run_first_event_seconds_count") == 0
    await bench.append(fact_message("control", "NODE_EXECUTING", {"attempt": 1}))
    await bench.append(opened("n"), complete("n"))
    assert bench.value("run_first_event_seconds_count") == 1


async def test_closed_run_is_forgotten(bench: Bench) -> None:
    bench.metrics.runs.starting("r", 0)
    await bench.append(status_message("complete"))
    bench.metrics.runs.node_began("r")
    assert bench.value("run_first_event_seconds_count") == 0


async def test_fact_about_another_node_in_its_payload_does_not_stop_the_log(bench: Bench) -> None:
    await bench.append(fact_message("n", "NODE_SKIPPED", {"sourceNodeId": "m"}))
    assert bench.writer.healthy
