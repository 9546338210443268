"""Runs that wait or are paused hold no place of the limit on concurrent runs; on the real stack."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.activities.link.gateway_link import NullLink
from innkeeper.gateway.runs import completion_watch, stuck_runs
from tests.effort import LONG
from tests.gateway.asking import single, submit, until, until_begun, until_ready, until_started

Json = dict[str, Any]
MANY = 1_000 if LONG else 300


def asking() -> Json:
    """An approval, and a node that holds once it is approved."""
    return {
        "nodes": [
            {"id": "ask", "fullType": "core:Approval", "inputs": {"data": "draft"}},
            {"id": "next", "fullType": "toys:Hold", "inputs": {"seconds": 60}},
        ],
        "edges": [
            {
                "id": "e",
                "sourceNodeId": "ask",
                "sourceHandle": "approved",
                "targetNodeId": "next",
                "targetHandle": "gate",
            }
        ],
    }


SAY = single("toys:Say", text="x")


async def approve(http: httpx.AsyncClient, run: str) -> None:
    answer = await http.post(f"/api/prompt/{run}/approvals/ask", json={"approved": True})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "waiting",
    [
        asking(),
        single("core:WaitForEvent", {"name": "paid"}),
        single("core:Delay", seconds=600),
        single("core:WaitUntil", time="2035-01-01T00:00:00Z"),
    ],
    ids=["approval", "event", "delay", "until"],
)
async def test_run_that_waits_lets_another_one_start(stack: Any, waiting: Json) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.up() as http:
        first = await submit(http, waiting)
        await until(http, first, "waiting")
        await until(http, await submit(http, SAY), "complete")


async def test_paused_run_holds_its_place_until_what_it_began_has_ended(stack: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.up() as http:
        first = await submit(http, single("toys:Hold", gate=str(gate)))
        await until_begun(http, first, "n")
        second = await submit(http, SAY)
        await http.post(f"/api/prompt/{first}/pause")
        await asyncio.sleep(0.5)
        assert (await until(http, second, "queued", "running", "complete"))["status"] == "queued"
        gate.touch()
        await until(http, second, "complete")


async def test_run_that_wakes_goes_on_at_once_and_holds_back_new_starts(stack: Any) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.up() as http:
        waiting = await submit(http, asking())
        await until(http, waiting, "waiting")
        working = await submit(http, single("toys:Hold", seconds=60))
        await until_begun(http, working, "n")
        await approve(http, waiting)
        await until_begun(http, waiting, "next")  # two work, though the limit is one
        queued = await submit(http, SAY)
        await http.delete(f"/api/interrupt/{working}")
        await until(http, working, "interrupted")
        await asyncio.sleep(0.5)
        assert (await until(http, queued, "queued", "running", "complete"))["status"] == "queued"
        await http.delete(f"/api/interrupt/{waiting}")
        await until(http, queued, "complete")


async def test_next_gateway_knows_which_runs_wait_and_which_work(stack: Any) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=2)
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            waiting = [await submit(http, asking()) for _ in range(3)]
            for run in waiting:
                await until(http, run, "waiting")
            await approve(http, waiting[0])
            await until_begun(http, waiting[0], "next")
            working = await submit(http, single("toys:Hold", seconds=60))
            await until_begun(http, working, "n")
            queued = await submit(http, SAY)
        async with stack.gateway():
            await until_ready(http)
            await asyncio.sleep(0.5)
            assert (await until(http, queued, "queued", "running", "complete"))["status"] == "queued"
            await http.delete(f"/api/interrupt/{working}")
            await until(http, queued, "complete")


async def test_wait_that_a_dead_worker_did_not_tell_of_is_found_out(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody could answer the approval, and the run would hold its place for ever."""
    for name in ("QUIET_S", "CHECK_S"):
        monkeypatch.setattr(stuck_runs, name, 0.3)
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.gateway(), stack.http() as http:
        async with stack.worker(NullLink()):
            run = await submit(http, asking())
            await until_started(stack.temporal, run)
            handle = stack.temporal.get_workflow_handle(run)
            async with asyncio.timeout(30):
                while (await handle.query("status"))["counts"].get("waiting") != 1:
                    await asyncio.sleep(0.05)
        assert (await until(http, run, "running", "waiting"))["status"] == "running"
        async with stack.worker():
            await until(http, run, "waiting")
            await until(http, await submit(http, SAY), "complete")


async def test_end_of_a_run_is_seen_at_once_though_waiting_runs_hold_all_long_polls(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_watch, "MAX_WATCHED", 2)
    monkeypatch.setattr(completion_watch, "VISIBILITY_S", 1.0)
    async with stack.up() as http:
        waiting = [await submit(http, asking()) for _ in range(3)]
        for run in waiting:
            await until(http, run, "waiting")
        monkeypatch.setattr(completion_watch, "VISIBILITY_S", 3600.0)
        await asyncio.sleep(1.5)  # from now on only a long poll tells
        await until(http, await submit(http, SAY), "complete", timeout_s=10)
        monkeypatch.setattr(completion_watch, "VISIBILITY_S", 0.1)


async def test_displaced_run_is_closed_too(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_watch, "MAX_WATCHED", 1)
    monkeypatch.setattr(completion_watch, "VISIBILITY_S", 0.2)
    async with stack.up() as http:
        waiting = await submit(http, single("core:WaitForEvent", {"name": "paid"}))
        await until(http, waiting, "waiting")
        working = await submit(http, single("toys:Hold", seconds=60))
        await until_begun(http, working, "n")
        await http.post("/api/events", json={"name": "paid"})
        await until(http, waiting, "complete")
        await http.delete(f"/api/interrupt/{working}")
        await until(http, working, "interrupted")


async def test_so_many_waiting_runs_are_refused(stack: Any) -> None:
    stack.settings = stack.settings.changed(max_waiting_runs=1)
    async with stack.up() as http:
        first = await submit(http, asking())
        await until(http, first, "waiting")
        refused = await http.post("/api/prompt", json=SAY)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waiting_runs")
        assert "INNKEEPER_MAX_WAITING_RUNS" in refused.json()["error"]
        await http.delete(f"/api/interrupt/{first}")
        await until(http, first, "interrupted")
        await until(http, await submit(http, SAY), "complete")


@pytest.mark.slow
@pytest.mark.timeout(360)
async def test_many_waiting_runs_keep_no_new_run_from_starting(stack: Any) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=2)
    async with stack.up() as http:
        began = time.monotonic()
        places = asyncio.Semaphore(8)

        async def one() -> str:
            async with places:
                return await submit(http, single("core:WaitForEvent", {"name": "never"}))

        runs = await asyncio.gather(*(one() for _ in range(MANY)))
        async with asyncio.timeout(300):
            while True:
                found = (await http.get("/api/executions")).json()
                if sum(run["status"] == "waiting" for run in found["running"]) == MANY:
                    break
                await asyncio.sleep(0.5)
        print(f"{len(runs)} runs wait after {time.monotonic() - began:.1f} s")
        asked, run = time.monotonic(), await submit(http, SAY)
        await until_begun(http, run, "n")
        print(f"a node of a new run began after {time.monotonic() - asked:.2f} s")
        await until(http, run, "complete", timeout_s=10)
