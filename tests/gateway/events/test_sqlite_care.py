"""What the gateway does for the event log besides writing it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from innkeeper.gateway.events.log import Batch
from innkeeper.gateway.events.sqlite import SqliteEventLog
from tests.gateway.runs.test_recovery import submit, with_settings


async def log_of(stack: Any) -> SqliteEventLog:
    return await SqliteEventLog.open(stack.settings.events_path)


async def test_old_event_logs_are_deleted_from_the_start_on(stack: Any) -> None:
    log = await log_of(stack)
    for run in ("ended", "open"):
        await log.create_run(run, {})
    await log.seal("ended")
    with_settings(stack, event_days=0)
    async with stack.gateway():
        async with asyncio.timeout(30):
            while await log.run_info("ended") is not None:
                await asyncio.sleep(0.02)
        assert await log.run_info("open") is not None
    await log.close()


async def test_runs_are_kept_for_ever_unless_days_are_set(stack: Any) -> None:
    greet = {"nodes": [{"id": "a", "fullType": "core:CreateMessage", "inputs": {"content": "Hi"}}], "edges": []}
    async with stack.up() as http:
        (ended,) = [(await http.post("/api/prompt", json={**greet, "wait": 10})).json()["promptId"]]
    with_settings(stack, event_days=0)
    async with stack.gateway(), stack.http() as http:
        await asyncio.sleep(0.3)
        assert (await http.get(f"/api/prompt/{ended}")).json()["status"] == "complete"
    with_settings(stack, run_days=1e-6)
    async with stack.gateway(), stack.http() as http:
        waiting = await submit(http, greet)  # no worker: it stays open
        async with asyncio.timeout(30):
            while (await http.get(f"/api/prompt/{ended}")).status_code != 404:
                await asyncio.sleep(0.02)
        assert (await http.get(f"/api/prompt/{waiting}")).json()["status"] == "running"
        assert (await http.get("/api/history")).json()["history"] == []
        answer = await http.delete(f"/api/history/{waiting}")
        assert (answer.status_code, answer.json()["code"]) == (409, "run_still_active")
        assert (await http.delete(f"/api/history/{ended}")).status_code == 404


async def test_log_of_a_run_knows_which_streams_nodes_consume(stack: Any) -> None:
    nodes = [{"id": "source", "fullType": "toys:Count"}, {"id": "relay", "fullType": "core:StreamSuffixRelay"}]
    ends = {"sourceHandle": "stream", "targetHandle": "inputStream"}
    edges = [{"id": "e", "sourceNodeId": "source", "targetNodeId": "relay", **ends}]
    async with stack.gateway(), stack.http() as http:
        run = await submit(http, {"nodes": nodes, "edges": edges})
        log = await log_of(stack)
        info = await log.run_info(run)
        await log.close()
    assert info is not None
    assert info.meta["kept_streams"] == ["source"]


async def test_file_that_never_gives_pages_back_does_not_hold_up_the_cleaning(tmp_path: Path) -> None:
    """Made by a version, or a tool, that did not set auto_vacuum."""
    path = tmp_path / "events.db"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA auto_vacuum=NONE")
        made.execute("CREATE TABLE t(x)")
        made.commit()
    log = await SqliteEventLog.open(path)
    await log.create_run("r", {})
    await log.append([Batch("r", 1, [b'{"x":"%s"}' % (b"y" * 100_000)])])
    await log.seal("r")
    async with asyncio.timeout(30):
        assert await log.delete_sealed(max_age_s=0, max_bytes=0) == ["r"]
    await log.close()
