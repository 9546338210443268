"""GET /api/runs: runs of all states in one list, cut down and in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.store.runs import NewRun, RunStore
from tests.gateway.api.test_control import asking, until_open
from tests.gateway.asking import single, submit, until
from tests.gateway.conftest import Stack

Json = dict[str, Any]


@pytest.fixture
async def gateway(temporal: Client, tmp_path: Path) -> AsyncIterator[tuple[RunStore, httpx.AsyncClient]]:
    """A gateway without a worker, and its store: what runs do is not the point."""
    stack = Stack(temporal, tmp_path)
    async with stack.gateway(), stack.http() as http:
        yield stack.container.runs._store, http
    stack.close()


async def ids(http: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await http.get("/api/runs", params=query)
    assert answer.status_code == 200, answer.text
    return [run["promptId"] for run in answer.json()["runs"]]


async def ended(store: RunStore, id: str, status: str = "complete", user: str = "default_user", **more: Any) -> None:
    await store.add(NewRun(id, user, None, status=status, **more))
    await store.close(id, status, 2_000_000_000_000, {"promptId": id, "status": status})
    await store.mark_sealed(id)


async def test_every_state_is_found_by_its_name(shared: Stack, http: httpx.AsyncClient) -> None:
    runs = {
        "complete": await submit(http, {**single("toys:Say", text="x"), "name": "states"}),
        "error": await submit(http, {**single("toys:Fail"), "name": "states"}),
        "waiting": await submit(http, {**asking(), "name": "states"}),
        "paused": await submit(http, {**asking(), "name": "states"}),
        "running": await submit(http, {**single("toys:Hold", seconds=30), "name": "states"}),
        "interrupted": await submit(http, {**asking(), "name": "states"}),
    }
    for state in ("waiting", "paused", "interrupted"):
        await until_open(http, runs[state])
    await http.post(f"/api/prompt/{runs['paused']}/pause")
    await http.post(f"/api/interrupt/{runs['interrupted']}")
    for state, run in runs.items():
        await until(http, run, state)
    assert {state: await ids(http, status=state, q="states") for state in runs} == {
        state: [run] for state, run in runs.items()
    }
    assert set(await ids(http, status=["paused", "error"], q="states")) == {runs["paused"], runs["error"]}
    assert await ids(http, q="states") == [*reversed(runs.values())]
    for state in ("running", "waiting", "paused"):
        await http.post(f"/api/interrupt/{runs[state]}")


async def test_a_failed_run_says_why(http: httpx.AsyncClient) -> None:
    run = await submit(http, single("toys:Fail"))
    status = await until(http, run, "error")
    (item,) = (await http.get("/api/runs", params={"q": run})).json()["runs"]
    assert item["errorInfo"]["code"] == status["errorInfo"]["code"]
    assert item["errorInfo"]["message"] == status["errorInfo"]["message"]
    assert [node["nodeId"] for node in item["errorInfo"]["nodes"]] == ["n"]


async def test_pages_lead_to_every_run_once(gateway: tuple[RunStore, httpx.AsyncClient]) -> None:
    store, http = gateway
    for number in range(7):
        await ended(store, f"r{number}", "error" if number % 2 else "complete")
    found, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor is not None else {})}
        page = (await http.get("/api/runs", params=query)).json()
        found += [run["promptId"] for run in page["runs"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert found == [f"r{number}" for number in reversed(range(7))]
    assert await ids(http, status="error", limit=2) == ["r5", "r3"]
    assert (await http.get("/api/runs", params={"limit": 201})).status_code == 400


async def test_runs_are_found_by_names_workflows_and_times(gateway: tuple[RunStore, httpx.AsyncClient]) -> None:
    store, http = gateway
    await ended(store, "aa1", workflow_name="Night 100% \\ story", workflow_id="w-1")
    await ended(store, "bb2", workflow_name="Day", workflow_id="w-2")
    await ended(store, "cc3", rerun={"preview": True})
    assert await ids(http, q="NIGHT") == ["aa1"]
    assert await ids(http, q="100%") == ["aa1"]
    assert await ids(http, q="_") == []
    assert await ids(http, q="\\ st") == ["aa1"]
    assert await ids(http, q="b2") == ["bb2"]
    assert await ids(http, workflowId="w-2") == ["bb2"]
    assert await ids(http, workflowId="w-") == []
    assert await ids(http, since="2020-01-01", until="2020-12-31") == []
    assert await ids(http, since="2020-01-01") == ["bb2", "aa1"]
    assert await ids(http, previews=True) == ["cc3", "bb2", "aa1"]
    assert (await http.get("/api/runs", params={"since": "soon"})).json()["code"] == "bad_request"


async def test_runs_of_somebody_else_are_not_listed(gateway: tuple[RunStore, httpx.AsyncClient]) -> None:
    store, http = gateway
    await ended(store, "mine")
    await ended(store, "theirs", user="somebody")
    assert await ids(http) == ["mine"]
    assert await ids(http, q="theirs") == []
