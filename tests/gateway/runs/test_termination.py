"""Runs that do not end by themselves: they say so, and are ended by force whatever is away; on the real stack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Worker
from websockets.asyncio.client import connect

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.runs import service, stuck_runs
from innkeeper.gateway.settings import worker_token
from innkeeper.gateway.store.engine import open_engine, sqlite_url
from innkeeper.gateway.store.runs import RunStore
from tests.gateway.asking import submit, until, until_started

Json = dict[str, Any]
TERMINAL = frozenset({"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class FailingWorkflow:
    """Every task of it fails, as those of a workflow do that a newer version cannot replay."""

    @workflow.run
    async def run(self, plan: bytes, start: Any) -> None:
        raise ValueError("this history is not mine")


def hold(id: str = "n") -> Json:
    return {"nodes": [{"id": id, "fullType": "toys:Hold", "inputs": {"seconds": 60}}], "edges": []}


def save_slow_group(stack: Any) -> Json:
    """A stored workflow that holds, and a graph that runs it as a group beside a ForEach over it."""
    folder = stack.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    inner = {
        "id": "slow",
        "name": "slow",
        "nodes": [{"id": "hold", "type": "toys:Hold", "inputValues": {"seconds": 60}}],
        "edges": [],
        "interfaceInputs": {"item": {"key": "item", "dataFlowType": "WILDCARD"}},
    }
    (folder / "slow.json").write_text(json.dumps(inner))
    config = {"referencedWorkflowId": "slow"}
    nodes = [
        {"id": "g", "fullType": "core:NodeGroup", "configValues": config},
        {"id": "each", "fullType": "core:ForEach", "configValues": config, "inputs": {"items": [1, 2]}},
    ]
    return {"nodes": nodes, "edges": []}


async def status_of(http: httpx.AsyncClient, run: str) -> Json:
    return dict((await http.get(f"/api/prompt/{run}")).json())


async def until_begun(http: httpx.AsyncClient, run: str, *paths: str) -> None:
    async with asyncio.timeout(30):
        while not set(paths) <= (await status_of(http, run))["nodeStatus"].keys():
            await asyncio.sleep(0.03)


async def until_stuck(http: httpx.AsyncClient, run: str) -> Json:
    async with asyncio.timeout(30):
        while (found := await status_of(http, run)).get("stuck") is None:
            await asyncio.sleep(0.1)
    return found


async def until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)


async def until_temporal(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/readyz")).json()["checks"]["temporal"] != "ok":
            await asyncio.sleep(0.02)


async def events_of(http: httpx.AsyncClient, run: str) -> list[Json]:
    text = (await http.get(f"/api/prompt/{run}/events")).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def check_ended_by_force(http: httpx.AsyncClient, run: str) -> Json:
    """One final status with the reason, and one end for every node that began."""
    found = await until(http, run, "interrupted")
    events = await events_of(http, run)
    statuses = [event["payload"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]
    assert [payload["status"] for payload in statuses].count("interrupted") == 1
    assert statuses[-1]["errorInfo"]["code"] == found["errorInfo"]["code"] == "interrupted_by_force"
    assert events[-1]["payload"] == statuses[-1]
    begun = {event["payload"]["nodeId"] for event in events if event["type"] == "NODE_EXECUTING"}
    ends = Counter(event["payload"]["nodeId"] for event in events if event["type"] in TERMINAL)
    assert ends == dict.fromkeys(begun, 1)
    return found


async def until_terminated(stack: Any, *workflows: str) -> None:
    async with asyncio.timeout(30):
        for name in workflows:
            handle = stack.temporal.get_workflow_handle(name)
            while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await asyncio.sleep(0.05)
            assert (await handle.describe()).status is WorkflowExecutionStatus.TERMINATED, name


async def delete(http: httpx.AsyncClient, run: str) -> httpx.Response:
    return await http.delete(f"/api/history/{run}")


async def until_deleted(http: httpx.AsyncClient, run: str) -> None:
    async with asyncio.timeout(30):
        while (await delete(http, run)).status_code != 204:
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def failing_worker(stack: Any) -> AsyncIterator[None]:
    async with Worker(stack.temporal, task_queue=stack.queue, workflows=[FailingWorkflow]):
        yield


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stuck runs are looked for at once."""
    for name, value in {"QUIET_S": 0.2, "CHECK_S": 0.2, "UNTAKEN_S": 0.5, "FAILING_ATTEMPTS": 2}.items():
        monkeypatch.setattr(stuck_runs, name, value)


async def test_run_whose_workflow_task_fails_says_so_and_is_ended_by_force(
    stack: Any, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with failing_worker(stack), stack.gateway(), stack.http() as http:
        await until_temporal(http)
        run = await submit(http, hold())
        stuck = (await until_stuck(http, run))["stuck"]
        assert stuck["code"] == "workflow_task_failing"
        assert "this history is not mine" in stuck["message"]
        assert f"innkeeper cancel {run} --force" in stuck["message"]
        (listed,) = (await http.get("/api/executions")).json()["running"]
        assert listed["stuck"]["code"] == "workflow_task_failing"

        for _ in range(2):
            assert (await http.delete(f"/api/interrupt/{run}")).json()["success"] is True
        assert (await status_of(http, run))["status"] == "interrupting"
        assert (await http.get("/api/executions")).json()["running"][0]["status"] == "interrupting"
        refused = await delete(http, run)
        assert (refused.status_code, refused.json()["code"]) == (409, "run_still_active")
        assert "force=true" in refused.json()["error"]

        monkeypatch.setattr(service, "FORCE_AFTER_S", 0.0)  # the grace is over
        assert (await http.delete(f"/api/interrupt/{run}")).json()["success"] is True
        found = await check_ended_by_force(http, run)
        assert "stuck" not in found
        await until_terminated(stack, run)
        await until_deleted(http, run)


async def test_run_without_a_worker_says_so_and_is_ended_by_force(stack: Any, soon: None) -> None:
    async with stack.gateway(), stack.http() as http:
        await until_temporal(http)
        run = await submit(http, hold())
        assert (await until_stuck(http, run))["stuck"]["code"] == "no_worker"
        # Without a word before.
        async with GatewayClient(stack.url) as client:
            assert "by force" in (await client.cancel(run, force=True))["message"]
        await check_ended_by_force(http, run)
        await until_terminated(stack, run)
        again = await http.post(f"/api/interrupt/{run}", params={"force": True})
        assert (again.status_code, again.json()["code"]) == (409, "run_not_active")


async def test_force_ends_groups_and_repetitions_too_each_node_once(stack: Any) -> None:
    async with stack.up() as http:
        run = await submit(http, save_slow_group(stack))
        await until_begun(http, run, "g/hold", "each/0/hold")
        await http.delete(f"/api/interrupt/{run}", params={"force": True})
        found = await check_ended_by_force(http, run)
        assert {node["status"] for node in found["nodeStatus"].values()} == {"interrupted"}
        await until_terminated(stack, run, f"{run}/g", f"{run}/each")


async def test_healthy_run_is_interrupting_from_the_request_on_and_ends_without_force(stack: Any) -> None:
    async with stack.up() as http:
        run = await submit(http, hold())
        await until_begun(http, run, "n")
        await http.delete(f"/api/interrupt/{run}")
        found = await until(http, run, "interrupted")
        statuses = [event["payload"].get("status") for event in await events_of(http, run)]
    assert [status for status in statuses if status] == ["running", "interrupting", "interrupted"]
    assert "errorInfo" not in found


async def test_workers_are_told_of_the_interruption(stack: Any) -> None:
    """Their attempts would hear of it with a heartbeat, which may be rare."""
    address = stack.ws_url.replace("/ws", "/internal/worker")
    headers = {"Authorization": f"Bearer {worker_token(stack.settings)}"}
    async with stack.up() as http, connect(address, additional_headers=headers, proxy=None) as other_worker:
        await other_worker.send(b'{"hello": {"worker": "other", "queues": []}}')
        run = await submit(http, hold())
        await until_begun(http, run, "n")
        await http.delete(f"/api/interrupt/{run}")
        async with asyncio.timeout(30):
            while run not in json.loads(await other_worker.recv()).get("interrupted", []):
                pass
        await until(http, run, "interrupted")


async def test_force_works_while_temporal_is_away_which_is_told_later(stack: Any) -> None:
    real = stack.settings
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            run = await submit(http, hold())
            await until_begun(http, run, "n")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        stack.settings = real.changed(temporal_address=nowhere)
        async with stack.gateway():
            later = (await http.delete(f"/api/interrupt/{run}")).json()["message"]
            assert "as soon as Temporal answers" in later
            assert "force" in later
            assert (await status_of(http, run))["status"] == "interrupting"
            await http.delete(f"/api/interrupt/{run}", params={"force": True})
            await check_ended_by_force(http, run)
            refused = await delete(http, run)
            assert (refused.status_code, "Temporal" in refused.json()["error"]) == (409, True)
        stack.settings = real
        async with stack.gateway():
            await until_terminated(stack, run)
            await until_deleted(http, run)


async def test_force_that_a_dying_gateway_only_wrote_down_is_done_by_the_next(stack: Any) -> None:
    async with stack.gateway(), stack.http() as http:
        await until_temporal(http)
        run = await submit(http, hold())
    engine = open_engine(sqlite_url(stack.settings.store_path))
    assert await RunStore(engine).request_termination(run)
    await engine.dispose()
    async with stack.gateway(), stack.http() as http:
        await check_ended_by_force(http, run)
        await until_terminated(stack, run)


async def test_force_on_a_run_that_temporal_does_not_know_ends_it(stack: Any) -> None:
    """Temporal lost its database, or the start never came through."""
    async with stack.gateway(), stack.http() as http:
        await until_temporal(http)
        run = await submit(http, hold())
        await until_started(stack.temporal, run)
    await stack.temporal.get_workflow_handle(run).terminate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
    real, stack.settings = stack.settings, stack.settings.changed(temporal_address=nowhere)
    async with stack.gateway(), stack.http() as http:
        await http.delete(f"/api/interrupt/{run}", params={"force": True})
        await check_ended_by_force(http, run)
    stack.settings = real
    async with stack.gateway(), stack.http() as http:
        await until_deleted(http, run)
