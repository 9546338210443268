"""The queue goes on whatever is lost on the way: wake-ups, messages, a request that fails half-way; on the real stack.

Each test loses one thing on purpose, and sees that the next run starts all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.gateway.events.activity import WAITS
from innkeeper.gateway.runs import launcher, stuck_runs
from innkeeper.gateway.runs.launcher import RunLauncher
from innkeeper.gateway.runs.reruns import Reruns
from innkeeper.gateway.settings import worker_token
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.worker_protocol import PROTOCOL_VERSION
from tests.gateway.asking import single, submit, until, until_begun, until_ready

SAY = single("toys:Say", text="x")
HOLD = single("toys:Hold", seconds=60)
WAIT = single("core:WaitForEvent", {"name": "never"})


def limit(stack: Any, places: int, **changes: Any) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=places, **changes)


async def status_of(http: httpx.AsyncClient, run: str) -> str:
    return str((await http.get(f"/api/prompt/{run}")).json()["status"])


async def test_next_run_starts_though_no_wake_up_arrives(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunLauncher, "wake", lambda self: None)
    monkeypatch.setattr(launcher, "LOOK_S", 0.3)
    limit(stack, 1)
    async with stack.up() as http:
        first = await submit(http, HOLD)
        await until_begun(http, first)
        second = await submit(http, SAY)
        await asyncio.sleep(1)
        assert await status_of(http, second) == "queued"
        await http.delete(f"/api/interrupt/{first}")
        await until(http, second, "complete")


async def test_run_is_started_though_the_request_fails_after_it_took_its_place(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, failed = RunStore.claim, []

    async def claim_and_fail(self: RunStore, run: str) -> bool:
        is_claimed = await claim(self, run)
        task = asyncio.current_task()
        if not failed and task is not None and task.get_name() != "run-launcher":
            failed.append(run)
            raise OSError("nobody thought of this")
        return is_claimed

    monkeypatch.setattr(RunStore, "claim", claim_and_fail)
    limit(stack, 1)
    async with stack.up() as http:
        async with asyncio.timeout(30):
            while not failed:  # the launcher's own task may be faster
                answer = await http.post("/api/prompt", json=SAY)
        assert answer.status_code == 500
        await until(http, failed[0], "complete")
        await until(http, await submit(http, SAY), "complete")


async def test_run_that_cannot_be_started_keeps_no_other_from_it(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    announce, broken = Reruns.announce, []

    async def refuse_the_first(self: Reruns, row: RunRow) -> None:
        if not broken:
            broken.append(row.id)
        if row.id in broken:
            raise OSError("what it takes over cannot be read now")
        await announce(self, row)

    monkeypatch.setattr(Reruns, "announce", refuse_the_first)
    monkeypatch.setattr(launcher, "RETRY_S", 0.2)
    limit(stack, 2)
    async with stack.up() as http:
        first = await submit(http, SAY)
        for _ in range(3):
            await until(http, await submit(http, SAY), "complete")
        assert await status_of(http, first) == "running"
        broken[:] = ["none"]
        await until(http, first, "complete")


async def test_run_that_is_paused_in_the_queue_gives_no_place_to_another(stack: Any) -> None:
    limit(stack, 1)
    async with stack.up() as http:
        first = await submit(http, HOLD)
        await until_begun(http, first)
        paused, last = await submit(http, SAY), await submit(http, SAY)
        await http.post(f"/api/prompt/{paused}/pause")
        await until(http, paused, "paused")
        await asyncio.sleep(0.5)
        assert await status_of(http, last) == "queued"
        await http.delete(f"/api/interrupt/{first}")
        await until(http, last, "complete")
        assert await status_of(http, paused) == "paused"
        await http.post(f"/api/prompt/{paused}/resume")
        await until(http, paused, "complete")


class SilentAboutWaits(GatewayLink):
    """Loses what the interpreter says of nodes that wait. The worker lives on, with the workflow in its cache."""

    is_silent = True

    def fact(self, run: str, path: str, type: str, payload: dict[str, Any]) -> None:
        if not self.is_silent or type not in WAITS:
            super().fact(run, path, type, payload)


async def test_wait_that_is_never_told_gives_its_place_back(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUIET_S", "CHECK_S"):
        monkeypatch.setattr(stuck_runs, name, 0.3)
    limit(stack, 1)
    link = SilentAboutWaits(stack.url, worker_token(stack.settings), "silent")
    async with stack.gateway(), stack.worker(link), stack.http() as http:
        await until_ready(http)
        waiting = [await submit(http, WAIT) for _ in range(3)]
        await until(http, await submit(http, SAY), "complete")
        assert [await status_of(http, run) for run in waiting] == ["running"] * 3
        working = await submit(http, HOLD)
        await until_begun(http, working)
        queued = await submit(http, SAY)
        await asyncio.sleep(1.5)  # five looks: one that works keeps its place, however quiet it is
        assert await status_of(http, queued) == "queued"
        await http.delete(f"/api/interrupt/{working}")
        await until(http, queued, "complete")


async def test_wait_that_was_lost_is_told_again_by_a_worker_that_replays_nothing(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would see the approval, and no event would reach the run."""
    for name in ("QUIET_S", "CHECK_S", "REQUERY_S"):
        monkeypatch.setattr(stuck_runs, name, 0.3)
    link = SilentAboutWaits(stack.url, worker_token(stack.settings), "silent")
    async with stack.gateway(), stack.worker(link), stack.http() as http:
        await until_ready(http)
        approval, event = await submit(http, single("core:Approval", data="draft")), await submit(http, WAIT)
        await asyncio.sleep(2)
        assert [await status_of(http, run) for run in (approval, event)] == ["running"] * 2
        link.is_silent = False
        for run in (approval, event):
            await until(http, run, "waiting")
        (shown,) = (await http.get("/api/approvals")).json()["approvals"]
        assert shown["data"] == "draft"
        await http.post(f"/api/prompt/{approval}/approvals/n", json={"approved": True})
        await http.post("/api/events", json={"name": "never"})
        for run in (approval, event):
            await until(http, run, "complete")


async def test_wait_that_began_before_its_start_was_noted_holds_no_place_in_the_next_gateway(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next gateway starts it again, finds that it is there, and hears nothing new of it."""
    limit(stack, 1)
    async with stack.worker(), stack.http() as http:
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "mark_started", lambda self, run: asyncio.Event().wait())
            async with stack.gateway():
                await until_ready(http)
                run = await submit(http, WAIT)
                await until(http, run, "waiting")
        async with stack.gateway():
            await until_ready(http)
            await until(http, await submit(http, SAY), "complete")


@contextlib.asynccontextmanager
async def hanging_worker(stack: Any) -> AsyncIterator[None]:
    """A worker that is connected and never answers: to no request to send what it holds, for one."""
    headers = {"Authorization": f"Bearer {worker_token(stack.settings)}"}
    hello = {"hello": {"worker": "hangs", "queues": [], "protocol": PROTOCOL_VERSION}}
    url = stack.url.replace("http", "ws", 1) + "/internal/worker"
    async with connect(url, additional_headers=headers, proxy=None, close_timeout=0.1) as socket:
        await socket.send(orjson.dumps(hello))
        await socket.recv()
        yield


async def test_worker_that_hangs_at_the_end_of_a_run_keeps_no_other_from_starting(stack: Any) -> None:
    limit(stack, 1, flush_timeout_s=25.0)
    async with stack.up() as http, hanging_worker(stack):
        first, second = await submit(http, HOLD), await submit(http, SAY)
        await until_begun(http, first)
        await http.delete(f"/api/interrupt/{first}")
        await until_begun(http, second)
        assert await status_of(http, first) == "interrupting"  # its log is not complete yet


async def test_worker_that_hangs_does_not_hold_up_the_end_of_a_run_that_is_wholly_logged(stack: Any) -> None:
    stack.settings = stack.settings.changed(flush_timeout_s=60.0)
    async with stack.up() as http, hanging_worker(stack):
        await until(http, await submit(http, SAY), "complete")
        await until(http, await submit(http, {"nodes": [], "edges": []}), "complete")
