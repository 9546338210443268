"""What the gateway does for the event log besides writing it."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.events.sqlite import SqliteEventLog
from tests.gateway.test_recovery import submit, with_settings


async def log_of(stack: Any) -> SqliteEventLog:
    return await SqliteEventLog.open(stack.settings.events_path)


async def test_old_event_logs_are_deleted_from_the_start_on(stack: Any) -> None:
    log = await log_of(stack)
    for run in ("ended", "open"):
        await log.create_run(run, {})
    await log.seal("ended")
    with_settings(stack, event_days=0)
    async with stack.gateway():
        async with asyncio.timeout(5):
            while await log.run_info("ended") is not None:
                await asyncio.sleep(0.02)
        assert await log.run_info("open") is not None
    await log.close()


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
