"""How runs are closed, on the real stack: what may come between the start of a run and its mark, what comes late."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.gateway.errors import EngineAway
from innkeeper.gateway.runs import launcher
from innkeeper.gateway.runs.completion_watch import CompletionWatcher
from innkeeper.gateway.settings import worker_token
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore
from tests.gateway.asking import single, submit, until, until_begun, until_ready, until_started

SAY = single("toys:Say", text="x")
HOLD = single("toys:Hold", seconds=60)


class HeldMarks:
    """No run is marked as started before `free` is set. `held`: one waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held, self.free = asyncio.Event(), asyncio.Event()
        mark_started = RunStore.mark_started

        async def held(store: RunStore, run: str) -> RunRow:
            self.held.set()
            await self.free.wait()
            return await mark_started(store, run)

        monkeypatch.setattr(RunStore, "mark_started", held)


class HeldLink(GatewayLink):
    """The link of a worker whose events do not get through, and whose nodes do not wait for that, until `release`."""

    def __init__(self, stack: Any) -> None:
        super().__init__(stack.url, worker_token(stack.settings), "slow")
        self._held: list[tuple[dict[str, Any], NodeAttempt | None]] | None = []

    def _send(self, message: dict[str, Any], stream: NodeAttempt | None = None, *, at_once: bool = True) -> int:
        if self._held is None:
            return super()._send(message, stream, at_once=at_once)
        self._held.append((message, stream))
        return 0

    async def acknowledged(self, n: int) -> bool:
        return False

    def release(self) -> None:
        held, self._held = self._held, None
        for message, stream in held or ():
            super()._send(message, stream)


async def events_of(http: httpx.AsyncClient, run: str) -> list[dict[str, Any]]:
    text = (await http.get(f"/api/prompt/{run}/events")).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def check_told_once(http: httpx.AsyncClient, run: str, *statuses: str) -> None:
    """Each status is announced once, in order, and nothing follows the last."""
    events = await events_of(http, run)
    told = [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]
    assert told == ["running", *statuses]
    assert events[-1]["type"] == "EXECUTION_STATUS_UPDATE"
    ends = Counter(event["payload"]["nodeId"] for event in events if event["type"] == "NODE_COMPLETE")
    assert set(ends.values()) <= {1}


async def test_end_is_asked_for_before_the_start_is_noted(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    marks, result = HeldMarks(monkeypatch), CompletionWatcher.result

    async def free_marks(watcher: CompletionWatcher, handle: WorkflowHandle[Any, Any]) -> Any:
        found = await result(watcher, handle)
        marks.free.set()
        return found

    monkeypatch.setattr(CompletionWatcher, "result", free_marks)
    async with stack.up() as http:
        run = await submit(http, SAY)
        found = await until(http, run, "complete")
        assert found["startedAt"] >= found["submittedAt"]
        await check_told_once(http, run, "complete")


async def test_interruption_that_temporal_did_not_hear_of_is_told_when_the_start_is_noted(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks, cancel, deaf = HeldMarks(monkeypatch), WorkflowHandle.cancel, []

    async def cancel_second(handle: WorkflowHandle[Any, Any], **options: Any) -> None:
        if not deaf:  # the request was faster than the start of the run
            deaf.append(handle.id)
            raise RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"")
        await cancel(handle, **options)

    monkeypatch.setattr(WorkflowHandle, "cancel", cancel_second)
    async with stack.up() as http:
        run = await submit(http, HOLD)
        await until_begun(http, run)
        assert (await http.delete(f"/api/interrupt/{run}")).status_code == 200
        assert deaf == [run]
        marks.free.set()
        await until(http, run, "interrupted")
        await check_told_once(http, run, "interrupting", "interrupted")


@pytest.mark.parametrize("away", ["link", "call"])
async def test_interruption_in_a_moment_in_which_temporal_is_away_is_made_up_for(
    stack: Any, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """Whoever waits for the end of the run notices nothing of it: its call is open all the time."""
    async with stack.up() as http:
        run = await submit(http, HOLD)
        await until_begun(http, run)
        with monkeypatch.context() as patch:
            if away == "link":
                patch.setattr(stack.container.temporal, "client", fail_with(EngineAway("Temporal does not answer")))
            else:
                patch.setattr(WorkflowHandle, "cancel", fail_with(RPCError("slow", RPCStatusCode.UNAVAILABLE, b"")))
            assert (await http.delete(f"/api/interrupt/{run}")).status_code == 200
        await until(http, run, "interrupted", timeout_s=20)
        await check_told_once(http, run, "interrupting", "interrupted")


def fail_with(error: Exception) -> Callable[..., Awaitable[None]]:
    async def fail(*args: Any, **options: Any) -> None:
        raise error

    return fail


async def test_run_ended_by_force_before_its_start_is_noted_ends_once(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = HeldMarks(monkeypatch)
    async with stack.up() as http:
        run = await submit(http, HOLD)
        await until_begun(http, run)
        await http.delete(f"/api/interrupt/{run}", params={"force": True})
        marks.free.set()
        found = await until(http, run, "interrupted")
        assert found["errorInfo"]["code"] == "interrupted_by_force"
        await check_told_once(http, run, "interrupted")
        async with asyncio.timeout(30):
            handle = stack.temporal.get_workflow_handle(run)
            while (await handle.describe()).status is not WorkflowExecutionStatus.TERMINATED:
                await asyncio.sleep(0.05)


async def test_run_that_temporal_gets_after_it_was_ended_by_force_is_terminated_and_not_closed_again(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, free = launcher.send_start, asyncio.Event()

    async def start_late(client: Client, request: StartWorkflowExecutionRequest) -> None:
        await free.wait()
        await start(client, request)

    monkeypatch.setattr(launcher, "send_start", start_late)
    async with stack.gateway(), stack.http() as http, asyncio.timeout(30):
        while (await http.get("/readyz")).json()["checks"]["temporal"] != "ok":
            await asyncio.sleep(0.02)
        posting = asyncio.create_task(http.post("/api/prompt", json=HOLD))
        while not (running := (await http.get("/api/executions")).json()["running"]):
            await asyncio.sleep(0.02)
        run = running[0]["promptId"]
        await http.delete(f"/api/interrupt/{run}", params={"force": True})
        ended = await until(http, run, "interrupted")
        free.set()
        await until_started(stack.temporal, run)
        assert (await posting).json()["promptId"] == run
        handle = stack.temporal.get_workflow_handle(run)
        while (await handle.describe()).status is not WorkflowExecutionStatus.TERMINATED:
            await asyncio.sleep(0.05)
        while stack.container.finisher.following:
            await asyncio.sleep(0.02)
        later = await until(http, run, "interrupted")
        del ended["lastSeq"], later["lastSeq"]  # the final event comes behind the final status
        assert later == ended
        await check_told_once(http, run, "interrupted")


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_gateway_that_dies_before_it_notes_a_start_leaves_a_run_that_completes_once(
    stack: Any, monkeypatch: pytest.MonkeyPatch, ends_meanwhile: bool
) -> None:
    marks = HeldMarks(monkeypatch)
    pause = 0.0 if ends_meanwhile else 0.05
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            run = await submit(http, single("toys:Count", upto=20, pause=pause))
            await asyncio.wait_for(marks.held.wait(), 30)
            if ends_meanwhile:
                await until_started(stack.temporal, run)
        await stack.temporal.get_workflow_handle(run).result()
        marks.free.set()
        async with stack.gateway():
            found = await until(http, run, "complete")
            await check_told_once(http, run, "complete")
            assert found["nodeStatus"]["n"]["attempts"] == 1


async def test_chunks_that_come_after_the_end_of_a_run_are_waited_for(stack: Any) -> None:
    stack.settings = stack.settings.changed(flush_timeout_s=30.0)
    link = HeldLink(stack)
    async with stack.gateway(), stack.worker(link), stack.http() as http:
        await until_ready(http)
        run = await submit(http, single("toys:Count", upto=5))
        await until_started(stack.temporal, run)
        await stack.temporal.get_workflow_handle(run).result()
        await asyncio.sleep(0.5)
        assert (await http.get(f"/api/prompt/{run}")).json()["status"] == "running"
        link.release()
        found = await until(http, run, "complete")
        events = await events_of(http, run)
    assert "differs" not in found
    chunks = [event["payload"] for event in events if event["type"] == "NODE_YIELD"]
    assert [chunk["index"] for chunk in chunks if "index" in chunk] == list(range(5))
    assert [event["type"] for event in events if event["type"] != "NODE_YIELD"] == [
        "EXECUTION_STATUS_UPDATE",
        "NODE_EXECUTING",
        "NODE_COMPLETE",
        "NODE_COMPLETE",
        "EXECUTION_STATUS_UPDATE",
    ]
