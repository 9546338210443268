from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.events.fence import (
    FENCED,
    MalformedMessage,
    ProtocolError,
    StoredOutputs,
    fact_message,
    interface_outputs_message,
    status_message,
)
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import Batch, EventLog, LogUnavailable, encode
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter, Result, Source


def opened(attempt: int = 1, path: str = "n") -> dict[str, Any]:
    return {"t": "open", "path": path, "epoch": [attempt, 0]}


def chunk(i: int, attempt: int = 1, content: str = "x", path: str = "n") -> dict[str, Any]:
    body = {"type": "text_chunk", "content": content}
    return {"t": "chunk", "path": path, "epoch": [attempt, 0], "i": i, "chunk": body}


def complete(attempt: int = 1, path: str = "n", **outputs: Any) -> dict[str, Any]:
    return {"t": "complete", "path": path, "epoch": [attempt, 0], "outputs": outputs, "end": False}


def of_run(run: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**message, "run": run, "n": n} for n, message in enumerate(messages)]


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEventLog]:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    yield log
    await log.close()


@pytest.fixture
async def writer(log: SqliteEventLog) -> AsyncIterator[LogWriter]:
    writer = LogWriter(log, Hub(log))
    await writer.start()
    yield writer
    await writer.stop()


async def types(log: EventLog, run: str = "r") -> list[str]:
    return [event.decode()["type"] for event in await log.read(run)]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen in time")


async def test_answers_come_after_the_commit(log: SqliteEventLog, writer: LogWriter) -> None:
    assert await writer.append("r", [opened(), chunk(0)]) == [{"s": "ok", "next": 0}, None]
    assert await types(log) == ["NODE_EXECUTING", "NODE_YIELD"]
    _, answer = await writer.append("r", [complete(out="done"), opened(2)])
    assert answer is not None
    assert answer["s"] == "finished"
    assert await writer.streams.outputs(answer["outputs"]) == {"out": "done"}
    assert writer.counters["events"] == 4  # the end frame of the stream came with the end


async def test_restarted_writer_goes_on_where_the_log_ends(log: SqliteEventLog, writer: LogWriter) -> None:
    await writer.append("r", [opened(), *(chunk(i) for i in range(2500)), opened(path="m"), complete(path="m", x=1)])
    await writer.stop()
    again = LogWriter(log, Hub(log))
    await again.start()
    assert await again.append("r", [opened(), opened(2, "m"), chunk(2499), chunk(2500)]) == [
        {"s": "ok", "next": 2500},
        {"s": "finished", "outputs": StoredOutputs("r", 2503)},
        None,
        None,
    ]
    assert await log.last_seq("r") == 2504
    await again.stop()


async def test_many_senders_at_once_share_commits(log: SqliteEventLog, writer: LogWriter) -> None:
    runs = [f"run {index}" for index in range(40)]
    for run in runs:
        await writer.create_run(run, {})
    await asyncio.gather(*(writer.append(run, [opened(), chunk(0), complete()]) for run in runs))
    for run in runs:
        assert await types(log, run) == ["NODE_EXECUTING", "NODE_YIELD", "NODE_YIELD", "NODE_COMPLETE"]
    assert writer.counters["commits"] < len(runs)


async def test_first_messages_make_the_log_in_the_same_commit(log: SqliteEventLog, writer: LogWriter) -> None:
    meta = {"interface_streams": {"n": [["out", None]]}}
    for _ in range(2):
        await writer.append("new", [status_message("running")], new_run_meta=meta)
    await writer.append("new", [opened(), chunk(0)])
    assert await types(log, "new") == [
        "EXECUTION_STATUS_UPDATE",
        "NODE_EXECUTING",
        "NODE_YIELD",
        "WORKFLOW_INTERFACE_YIELD",
    ]
    assert writer.counters["commits"] == 2
    info = await log.run_info("new")
    assert info is not None
    assert info.meta == meta


async def test_log_of_a_new_run_is_made_anew_when_its_first_commit_fails(
    log: SqliteEventLog, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, failures = log.append, [LogUnavailable("disk full")]

    async def append_at_last(batches: Sequence[Batch]) -> None:
        if failures:
            raise failures.pop()
        await append(batches)

    monkeypatch.setattr(log, "append", append_at_last)
    await writer.append("new", [status_message("queued")], new_run_meta={"k": 1})
    await writer.append("new", [status_message("running")])
    assert await types(log, "new") == ["EXECUTION_STATUS_UPDATE"] * 2
    assert writer.counters["commit_failures"] == 1


async def test_closing_a_run_twice_is_the_same_as_once(log: SqliteEventLog, writer: LogWriter) -> None:
    end = [
        fact_message("n", "NODE_INTERRUPTED", {}),
        interface_outputs_message({"a": 1}),
        status_message("interrupted"),
    ]
    await writer.append("r", [status_message("running"), opened(), chunk(0)])
    for _ in range(2):
        await writer.close_run("r", end)
    assert await types(log) == [
        "EXECUTION_STATUS_UPDATE",
        "NODE_EXECUTING",
        "NODE_YIELD",
        "NODE_YIELD",
        "NODE_INTERRUPTED",
        "NODE_COMPLETE",
        "EXECUTION_STATUS_UPDATE",
    ]
    info = await log.run_info("r")
    assert info is not None
    assert info.is_sealed
    assert await writer.append("r", [chunk(1), opened(2)]) == [FENCED, FENCED]
    assert writer.counters["late"] == 3 + 2
    assert writer.healthy


async def test_final_status_seals_the_log_in_its_own_commit(
    log: SqliteEventLog, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(run: str) -> None:
        pytest.fail("a second commit")

    monkeypatch.setattr(log, "seal", never)
    await writer.append("r", [opened(), complete()])
    await writer.close_run("r", [interface_outputs_message({}), status_message("complete")])
    await writer.close_run("r", [status_message("complete")])
    assert [info.run for info in await log.open_runs()] == []
    assert writer.counters["commits"] == 2


async def test_log_that_has_its_final_status_but_no_seal_is_sealed(log: SqliteEventLog, writer: LogWriter) -> None:
    """An earlier version sealed in a commit of its own, and may have been killed before it."""
    end = {"seq": 1, "ts": 1, "type": "EXECUTION_STATUS_UPDATE", "payload": {"promptId": "r", "status": "error"}}
    await log.append([Batch("r", 1, [encode(end)])])
    assert [info.run for info in await log.open_runs()] == ["r"]
    await writer.close_run("r", [status_message("error")])
    assert await log.open_runs() == []
    assert await types(log) == ["EXECUTION_STATUS_UPDATE"]


async def test_followers_see_the_end_of_a_closed_run(log: SqliteEventLog) -> None:
    hub = Hub(log)
    writer = LogWriter(log, hub)
    await writer.start()

    async def follow() -> list[int]:
        return [seq async for frames in hub.follow("r") for seq, _ in frames]

    following = asyncio.create_task(follow())
    await writer.append("r", [opened(), chunk(0)])
    await writer.close_run("r", [status_message("complete")])
    assert await asyncio.wait_for(following, 30) == [1, 2, 3]
    await writer.stop()


async def test_messages_of_unknown_runs_are_dropped_and_answered(writer: LogWriter) -> None:
    assert await writer.append("gone", [opened(), chunk(7), complete()]) == [{"s": "ok", "next": 0}, None, None]
    assert writer.counters["unknown_run"] == 3
    assert writer.counters["events"] == 0


async def test_facts_of_the_interpreter_are_logged_once(log: SqliteEventLog, writer: LogWriter) -> None:
    for _ in range(3):
        writer.append_fact("r", "n", "NODE_SKIPPED", {"reason": "upstream_error", "causeNodeId": "m"})
    await writer.append("r", [])
    assert await types(log) == ["NODE_SKIPPED"]


async def test_protocol_error_stops_one_source_only(log: SqliteEventLog, writer: LogWriter) -> None:
    source, results = Source(), list[list[Result]]()
    writer.submit(of_run("r", opened(), chunk(0)), lambda got: results.append(list(got)), source=source)
    writer.submit(of_run("r", chunk(2), complete()), lambda got: results.append(list(got)), source=source)
    writer.submit(of_run("r", complete()), lambda got: results.append(list(got)), source=source)
    await writer.append("r", [chunk(1)])
    writer.submit(of_run("r", complete()), lambda got: results.append(list(got)), source=source)
    await writer.append("r", [])
    assert [len(got) for got in results] == [2, 1, 0, 0]
    assert isinstance(results[1][0], ProtocolError)
    assert await types(log) == ["NODE_EXECUTING", "NODE_YIELD", "NODE_YIELD"]


async def test_what_resending_cannot_mend_is_fenced(log: SqliteEventLog, writer: LogWriter) -> None:
    """The log lost what had been acknowledged (power loss): the worker has nothing to resend."""
    first = Source()
    results: list[Result] = []
    lost = of_run("r", chunk(5), chunk(6), complete(), opened(path="m"))
    writer.submit(lost, source=first)
    await writer.append("r", [])
    writer.submit(lost, results.extend, source=Source(first.suspects, first.lost))
    await writer.append("r", [])
    assert results == [FENCED, FENCED, FENCED, {"s": "ok", "next": 0}]
    assert await types(log) == ["NODE_EXECUTING"]


async def test_malformed_message_of_the_gateway_itself_is_raised(writer: LogWriter) -> None:
    with pytest.raises(MalformedMessage):
        await writer.append("r", [{"t": "status", "status": "odd"}])
    with pytest.raises(MalformedMessage, match="JSON"):
        await writer.append("r", [fact_message("n", "NODE_ERROR", {"errorDetails": object()})])
    assert await writer.append("r", [opened()]) == [{"s": "ok", "next": 0}]


async def _limit_pages(log: SqliteEventLog, extra: int) -> None:
    def limit() -> None:
        used = log._writer.execute("PRAGMA page_count").fetchone()[0]
        log._writer.execute(f"PRAGMA max_page_count={used + extra}").fetchone()

    await log._threads.write(limit)


async def test_full_disk_acknowledges_nothing_and_recovers(log: SqliteEventLog, writer: LogWriter) -> None:
    await writer.append("r", [opened(), chunk(0)])
    await _limit_pages(log, 2)
    waiting = asyncio.create_task(writer.append("r", [chunk(1, content="y" * 100_000), complete(x=1)]))
    await until(lambda: not writer.healthy)
    assert "full" in (writer.reason or "")
    assert not waiting.done()
    assert await log.last_seq("r") == 2
    await _limit_pages(log, 100_000)
    assert await asyncio.wait_for(waiting, 30) == [None, None]
    assert writer.healthy
    assert [event.seq for event in await log.read("r")] == [1, 2, 3, 4, 5]
    assert writer.counters["commit_failures"] >= 1
    assert writer.counters["events"] == 5


async def test_stopping_while_the_disk_is_full_acknowledges_nothing(log: SqliteEventLog, writer: LogWriter) -> None:
    await _limit_pages(log, 2)
    acknowledged: list[Result] = []
    writer.submit(of_run("r", opened(), chunk(0, content="y" * 100_000)), acknowledged.extend)
    await writer.stop(timeout_s=0.05)
    assert acknowledged == []
    assert await log.last_seq("r") == 0


async def test_full_queue_makes_readers_wait(log: SqliteEventLog) -> None:
    writer = LogWriter(log, Hub(log), max_queued_bytes=100)
    writer.submit(of_run("r", opened()), size=101)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writer.room(), 0.02)
    await writer.start()
    await asyncio.wait_for(writer.room(), 30)
    await writer.stop()
    assert await types(log) == ["NODE_EXECUTING"]


async def test_a_failing_callback_does_not_stop_the_log(writer: LogWriter) -> None:
    def fail(results: object) -> None:
        raise RuntimeError("a bug of the caller")

    writer.submit(of_run("r", opened()), fail)
    assert await writer.append("r", [chunk(0)]) == [None]
    assert writer.healthy


async def test_deleted_run_is_forgotten(log: SqliteEventLog, writer: LogWriter) -> None:
    await writer.append("r", [opened()])
    await log.seal("r")
    await log.delete_sealed(max_age_s=0, max_bytes=0)
    assert await asyncio.wait_for(writer.append("r", [chunk(0)]), 30) == [None]
    assert writer.counters["unknown_run"] == 1
    assert writer.healthy


async def test_observers_are_told_of_all_events_but_of_chunks_only_each_second(
    log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    writer = LogWriter(log, Hub(log), observers=[lambda events: told.extend(event["type"] for event in events)])
    await writer.start()
    await writer.append("r", [opened(), chunk(0)])
    for i in range(1, 6):
        await writer.append("r", [chunk(i)])
    assert told == ["NODE_EXECUTING", "NODE_YIELD"]
    monkeypatch.setattr("innkeeper.gateway.events.writer.OBSERVE_S", 0.0)
    await writer.append("r", [chunk(6)])
    await writer.append("r", [chunk(7), complete()])
    assert told[2:] == ["NODE_YIELD", "NODE_YIELD", "NODE_COMPLETE"]  # the end frame of the stream is no chunk
    await writer.stop()
