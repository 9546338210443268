"""Control of runs over HTTP: pause and resume, approvals, events from outside; on the real stack."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.runs import approvals
from tests.gateway.asking import submit, until, until_begun

Json = dict[str, Any]

TITLE = {"key": "title", "dataFlowType": "STRING", "required": True}


def node(id: str, type: str, config: Json | None = None, **inputs: Any) -> Json:
    name = type if ":" in type else f"toys:{type}"
    return {"id": id, "fullType": name, "inputs": inputs, "configValues": config or {}}


def graph(nodes: list[Json], *edges: str, **more: Any) -> Json:
    wired = []
    for edge in edges:
        (source, slot), (target, into) = (end.split(".") for end in edge.split(" > "))
        ends = {"sourceNodeId": source, "sourceHandle": slot, "targetNodeId": target, "targetHandle": into}
        wired.append({"id": edge, **ends})
    return {"nodes": nodes, "edges": wired, **more}


def asking(count: int = 1, data: Any = "draft", **config: Any) -> Json:
    """Approvals side by side, each followed by a node that runs when it is approved."""
    asks = [node(f"ask{index}", "core:Approval", {"form": [TITLE], **config}, data=data) for index in range(count)]
    says = [node(f"say{index}", "Say") for index in range(count)]
    return graph([*asks, *says], *(f"ask{index}.approved > say{index}.text" for index in range(count)))


def save(stack: Any, id: str, document: Json) -> None:
    folder = stack.data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{id}.json").write_text(json.dumps(stored(document, id)))


def stored(document: Json, id: str) -> Json:
    """A document as it is saved: what the editor would write of an execution payload."""
    nodes = [
        {
            "id": item["id"],
            "type": item["fullType"],
            "inputValues": item["inputs"],
            "configValues": item["configValues"],
        }
        for item in document["nodes"]
    ]
    edges = [
        {"id": e["id"], "source": e["sourceNodeId"], "sourceHandle": e["sourceHandle"], "target": e["targetNodeId"],
         "targetHandle": e["targetHandle"]}
        for e in document["edges"]
    ]  # fmt: skip
    more = {key: value for key, value in document.items() if key not in ("nodes", "edges")}
    return {"id": id, "name": id, "nodes": nodes, "edges": edges, **more}


async def until_open(http: httpx.AsyncClient, run: str, count: int = 1) -> list[Json]:
    """The open approvals of a run, once there are so many."""
    async with asyncio.timeout(30):
        while len(found := await approvals_of(http, run, status="open")) < count:
            await asyncio.sleep(0.02)
    return found


async def approvals_of(http: httpx.AsyncClient, run: str, **query: Any) -> list[Json]:
    found: list[Json] = (await http.get(f"/api/prompt/{run}/approvals", params=query)).json()["approvals"]
    return found


async def answer(http: httpx.AsyncClient, run: str, approval: str, **body: Any) -> httpx.Response:
    return await http.post(f"/api/prompt/{run}/approvals/{approval}", json=body)


async def events_of(http: httpx.AsyncClient, run: str) -> list[Json]:
    text = (await http.get(f"/api/prompt/{run}/events")).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def statuses(events: list[Json]) -> list[str]:
    return [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# --- pause and resume ---------------------------------------------------------------------------------------------


async def until_complete(http: httpx.AsyncClient, run: str, *paths: str) -> None:
    """Wait until these nodes are."""
    async with asyncio.timeout(30):
        while True:
            nodes = (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"]
            if all(nodes.get(path, {}).get("status") == "complete" for path in paths):
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What nodes of type Hold wait for."""
    return tmp_path / "gate"


async def test_paused_run_starts_nothing_new_until_it_is_resumed(http: httpx.AsyncClient, gate: Path) -> None:
    run = await submit(http, graph([node("a", "Hold", gate=str(gate)), node("b", "Say")], "a.text > b.text"))
    for _ in range(2):
        paused = await http.post(f"/api/prompt/{run}/pause")
        assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    gate.touch()
    await until_complete(http, run, "a")
    await asyncio.sleep(0.3)
    status = (await http.get(f"/api/prompt/{run}")).json()
    assert status["status"] == "paused"
    assert "b" not in status["nodeStatus"]
    listed = (await http.get("/api/executions")).json()["running"]
    assert {item["promptId"]: item["status"] for item in listed}[run] == "paused"
    for _ in range(2):
        assert (await http.post(f"/api/prompt/{run}/resume")).status_code == 200
    assert (await until(http, run, "complete"))["nodeStatus"]["b"]["output"] == {"text": "held"}
    assert statuses(await events_of(http, run)) == ["running", "paused", "running", "complete"]


async def test_paused_run_can_be_interrupted(http: httpx.AsyncClient) -> None:
    run = await submit(http, graph([node("a", "Hold")]))
    await until_begun(http, run, "a")
    await http.post(f"/api/prompt/{run}/pause")
    assert (await http.post(f"/api/prompt/{run}/interrupt")).json()["success"] is True
    await until(http, run, "interrupted")
    assert statuses(await events_of(http, run)) == ["running", "paused", "interrupting", "interrupted"]
    for verb in ("pause", "resume", "interrupt"):
        assert refused(await http.post(f"/api/prompt/{run}/{verb}")) == (409, "run_not_active")
        assert refused(await http.post(f"/api/prompt/nope/{verb}")) == (404, "run_not_found")


async def test_pause_holds_inside_a_group_and_a_repetition(shared: Any, http: httpx.AsyncClient, gate: Path) -> None:
    inner = graph(
        [node("hold", "Hold", gate=str(gate)), node("say", "Say")],
        "hold.text > say.text",
        interfaceInputs={"item": {"key": "item", "dataFlowType": "WILDCARD"}},
        interfaceOutputs={"text": {"key": "text", "dataFlowType": "STRING"}},
    )
    save(shared, "slow", inner)
    body = graph(
        [
            node("g", "core:NodeGroup", {"referencedWorkflowId": "slow"}),
            node("each", "core:ForEach", {"referencedWorkflowId": "slow", "concurrency": 1}, items=[1, 2]),
        ]
    )
    run = await submit(http, body)
    async with asyncio.timeout(30):
        while not {"g/hold", "each/0/hold"} <= (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"].keys():
            await asyncio.sleep(0.02)
    await http.post(f"/api/prompt/{run}/pause")
    async with asyncio.timeout(30):
        for path in ("g", "each"):  # the wish reaches them a moment after the answer
            child = shared.temporal.get_workflow_handle(f"{run}/{path}")
            while (await child.query("status"))["status"] != "paused":
                await asyncio.sleep(0.02)
    gate.touch()
    await until_complete(http, run, "g/hold", "each/0/hold")
    await asyncio.sleep(0.3)
    nodes = (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"]
    assert {path: entry["status"] for path, entry in nodes.items()} == {
        "g": "running",
        "g/hold": "complete",
        "each": "running",
        "each/0/hold": "complete",
    }
    await http.post(f"/api/prompt/{run}/resume")
    assert (await until(http, run, "complete"))["nodeStatus"]["each/1/say"]["status"] == "complete"


async def test_paused_run_in_the_queue_keeps_its_place_and_is_passed_by(stack: Any, gate: Path) -> None:
    stack.settings = stack.settings.changed(max_concurrent_runs=1)
    async with stack.up() as http:
        first = await submit(http, graph([node("a", "Hold", gate=str(gate))]))
        second = await submit(http, graph([node("a", "Say")]))
        third = await submit(http, graph([node("a", "Say")]))
        await http.post(f"/api/prompt/{second}/pause")
        assert [item["status"] for item in (await http.get("/api/executions")).json()["pending"]] == [
            "paused",
            "queued",
        ]
        gate.touch()
        await until(http, third, "complete")
        assert (await http.get(f"/api/prompt/{second}")).json()["status"] == "paused"
        assert refused(await http.post(f"/api/prompt/{second}/events", json={"name": "x"})) == (409, "run_not_active")
        await http.post(f"/api/prompt/{second}/resume")
        await until(http, second, "complete")
        assert statuses(await events_of(http, second)) == ["queued", "paused", "queued", "running", "complete"]
        await until(http, first, "complete")


async def test_what_was_asked_for_while_the_gateway_was_dying_is_done_by_the_next(stack: Any, gate: Path) -> None:
    """Written down, but neither Temporal nor the log know."""
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            run = await submit(http, graph([node("a", "Hold", gate=str(gate)), node("b", "Say")], "a.text > b.text"))
            await until(http, run, "running")
        await _write_paused(stack, run, True)
        async with stack.gateway():
            await until_said(http, run, "paused")
            gate.touch()
            await until_complete(http, run, "a")
            await asyncio.sleep(0.3)
            status = (await http.get(f"/api/prompt/{run}")).json()
            assert (status["status"], "b" in status["nodeStatus"]) == ("paused", False)
        await _write_paused(stack, run, False)
        async with stack.gateway():
            await until(http, run, "complete")
            assert statuses(await events_of(http, run)) == ["running", "paused", "running", "complete"]


async def _write_paused(stack: Any, run: str, paused: bool) -> None:
    from innkeeper.gateway.store.engine import open_engine, sqlite_url
    from innkeeper.gateway.store.runs import RunStore

    engine = open_engine(sqlite_url(stack.settings.store_path))
    assert await RunStore(engine).set_paused(run, paused)
    await engine.dispose()


async def until_said(http: httpx.AsyncClient, run: str, status: str) -> None:
    async with asyncio.timeout(30), http.stream("GET", f"/api/prompt/{run}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["payload"].get("status") == status:
                return


async def stack_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)


# --- approvals ----------------------------------------------------------------------------------------------------


async def test_several_approvals_wait_at_once_and_each_is_answered_once(http: httpx.AsyncClient) -> None:
    run = await submit(http, asking(3))
    opened = await until_open(http, run, 3)
    assert [item["approvalId"] for item in opened] == ["ask0", "ask1", "ask2"]
    assert {key: opened[0][key] for key in ("promptId", "status", "data", "form", "until")} == {
        "promptId": run,
        "status": "open",
        "data": "draft",
        "form": [TITLE],
        "until": None,
    }
    status = await until(http, run, "waiting")
    assert status["openApprovals"] == 3
    assert status["nodeStatus"]["ask1"]["wait"]["kind"] == "approval"
    everywhere = (await http.get("/api/approvals")).json()["approvals"]
    assert [item["approvalId"] for item in everywhere if item["promptId"] == run] == ["ask0", "ask1", "ask2"]
    one = await answer(http, run, "ask1", approved=True, values={"title": "T"}, comment="fine", by="me")
    expected = {"approved": True, "values": {"title": "T"}, "comment": "fine", "by": "me"}
    assert (one.status_code, one.json()["answer"]) == (200, expected)
    # Whoever answered sees it at once.
    assert [item["approvalId"] for item in await approvals_of(http, run, status="answered")] == ["ask1"]
    assert (await answer(http, run, "ask0", approved=False)).status_code == 200
    assert (await answer(http, run, "ask2", approved=True, values={"title": "U"})).status_code == 200
    status = await until(http, run, "complete")
    states = {path: entry["status"] for path, entry in status["nodeStatus"].items()}
    assert (states["say0"], states["say1"], states["say2"]) == ("skipped", "complete", "complete")
    assert all("wait" not in entry for entry in status["nodeStatus"].values())
    told = [event for event in await events_of(http, run) if event["type"] == "APPROVAL_ANSWERED"]
    assert sorted(event["payload"]["approvalId"] for event in told) == ["ask0", "ask1", "ask2"]
    assert refused(await answer(http, run, "ask0", approved=True)) == (409, "run_not_active")


async def test_of_two_who_answer_at_the_same_time_one_wins(http: httpx.AsyncClient) -> None:
    run = await submit(http, asking(2))
    await until_open(http, run, 2)
    both = await asyncio.gather(*(answer(http, run, "ask0", approved=False, by=name) for name in ("a", "b")))
    assert sorted(response.status_code for response in both) == [200, 409]
    loser = next(response for response in both if response.status_code == 409)
    assert loser.json()["code"] == "approval_answered"
    later = await answer(http, run, "ask0", approved=True, values={"title": "T"})
    assert refused(later) == (409, "approval_answered")
    assert (await answer(http, run, "ask1", approved=False)).status_code == 200
    await until(http, run, "complete")


async def test_answer_sent_again_with_its_key_is_the_same_answer(http: httpx.AsyncClient) -> None:
    run = await submit(http, asking(2))
    await until_open(http, run, 2)
    headers = {"Idempotency-Key": "k"}
    url = f"/api/prompt/{run}/approvals/ask0"
    first = await http.post(url, json={"approved": False}, headers=headers)
    again = await http.post(url, json={"approved": False}, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    await http.post(f"/api/prompt/{run}/interrupt")
    await until(http, run, "interrupted")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_answer"),
        ({"approved": "yes"}, "invalid_answer"),
        ({"approved": True}, "invalid_answer"),
        ({"approved": True, "values": {"title": 7}}, "invalid_answer"),
        ({"approved": True, "values": {"titel": "x"}}, "invalid_answer"),
        ({"approved": True, "values": [1]}, "invalid_answer"),
        ({"approved": False, "comment": "x" * 10_001}, "invalid_answer"),
        ({"approved": False, "by": 3}, "invalid_answer"),
        ({"approved": False, "aproved": True}, "invalid_answer"),
    ],
)
async def test_answer_that_does_not_fit_is_refused_and_nothing_is_lost(
    http: httpx.AsyncClient, body: Json, code: str
) -> None:
    run = await submit(http, asking())
    await until_open(http, run)
    response = await http.post(f"/api/prompt/{run}/approvals/ask0", json=body)
    assert refused(response) == (422, code)
    assert (await answer(http, run, "ask0", approved=False)).status_code == 200
    await until(http, run, "complete")


async def test_answers_to_nothing_say_what_there_is(http: httpx.AsyncClient) -> None:
    run = await submit(http, asking())
    assert refused(await answer(http, "nope", "ask0", approved=True)) == (404, "run_not_found")
    assert refused(await answer(http, run, "nope", approved=False)) == (404, "approval_not_found")
    assert refused(await answer(http, run, "deep/" * 400 + "x", approved=False)) == (404, "approval_not_found")
    large = await http.post(f"/api/prompt/{run}/approvals/ask0", content=b" " * 300_000)
    assert refused(large) == (413, "too_large")
    assert refused(await http.post(f"/api/prompt/{run}/approvals/ask0", content=b"[]")) == (400, "bad_request")
    for url, fields in ((f"/api/prompt/{run}/approvals/ask0", "approved"), ("/api/events", "name")):
        message = (await http.post(url, content=b"[]")).json()["error"]
        assert f"a JSON object: {{{fields}" in message
    foreign = {"Origin": "https://elsewhere.example"}
    assert (await http.post(f"/api/prompt/{run}/pause", headers=foreign)).status_code == 403
    assert (await http.get("/api/prompt/nope/approvals")).status_code == 404
    assert (await http.get("/api/approvals", params={"cursor": "x"})).status_code == 400
    await http.post(f"/api/prompt/{run}/interrupt")
    await until(http, run, "interrupted")


async def test_answer_after_the_time_limit_is_told_so(http: httpx.AsyncClient) -> None:
    late = node("late", "core:Approval", {"timeoutSeconds": 0.1}, data="x")
    run = await submit(http, graph([late, node("open", "core:Approval", data="y")]))
    async with asyncio.timeout(30):
        while not await approvals_of(http, run, status="closed"):
            await asyncio.sleep(0.02)
    assert refused(await answer(http, run, "late", approved=True)) == (409, "approval_closed")
    await http.post(f"/api/prompt/{run}/interrupt")
    status = await until(http, run, "interrupted")
    # A node that waited has its end, like any other.
    assert status["nodeStatus"]["open"]["status"] == "interrupted"
    assert [item["status"] for item in await approvals_of(http, run)] == ["closed", "closed"]


async def test_approvals_inside_groups_and_items_are_answered_by_their_path(
    shared: Any, http: httpx.AsyncClient
) -> None:
    item = {"key": "item", "dataFlowType": "WILDCARD"}
    ask = graph([node("ask", "core:Approval", data="x")], interfaceInputs={"item": item})
    save(shared, "asks", ask)
    save(shared, "asks_below", graph([node("g", "core:NodeGroup", {"referencedWorkflowId": "asks"})]))
    body = graph(
        [
            node("outer", "core:NodeGroup", {"referencedWorkflowId": "asks_below"}),
            node("each", "core:ForEach", {"referencedWorkflowId": "asks"}, items=["a", "b"]),
        ]
    )
    run = await submit(http, body)
    opened = {item["approvalId"] for item in await until_open(http, run, 3)}
    assert opened == {"outer/g/ask", "each/0/ask", "each/1/ask"}
    await until(http, run, "waiting")
    for approval in ("each/1/ask", "outer/g/ask", "each/0/ask"):
        response = await answer(http, run, approval, approved=True)
        assert response.status_code == 200, response.text
        again = await answer(http, run, approval, approved=True)
        assert refused(again) in ((409, "approval_answered"), (409, "run_not_active"))
    assert (await until(http, run, "complete", "error"))["status"] == "complete"


async def test_what_is_to_be_approved_can_be_had_whole(http: httpx.AsyncClient) -> None:
    big = graph(
        [node("a", "Shout", text="x", times=10_000), node("ask", "core:Approval"), node("b", "Say")],
        "a.text > ask.data",
        "ask.approved > b.text",
    )
    run = await submit(http, big)
    (asked,) = await until_open(http, run)
    assert asked["data"]["url"] == f"/api/prompt/{run}/approvals/ask/data"
    assert len(asked["data"]["preview"]) < 5_000
    assert (await http.get(asked["data"]["url"])).json() == "X" * 10_000
    assert (await http.get(f"/api/prompt/{run}/approvals/no/data")).status_code == 404
    await answer(http, run, "ask", approved=True)
    await until(http, run, "complete")
    assert (await http.get(f"/api/prompt/{run}/approvals/ask/data")).json() == "X" * 10_000


async def test_open_approvals_come_in_pages(http: httpx.AsyncClient) -> None:
    runs = [await submit(http, asking(2)) for _ in range(2)]
    for run in runs:
        await until_open(http, run, 2)
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    async with asyncio.timeout(30):
        while True:
            query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            page = (await http.get("/api/approvals", params=query)).json()
            found += [(item["promptId"], item["approvalId"]) for item in page["approvals"]]
            cursor = page["nextCursor"]
            if cursor is None:
                break
    assert [item for item in found if item[0] in runs] == [(run, f"ask{index}") for run in runs for index in range(2)]
    first = (await http.get(f"/api/prompt/{runs[0]}/approvals", params={"limit": 1})).json()
    rest = (await http.get(f"/api/prompt/{runs[0]}/approvals", params={"cursor": first["nextCursor"]})).json()
    assert [item["approvalId"] for item in (*first["approvals"], *rest["approvals"])] == ["ask0", "ask1"]
    for run in runs:
        await http.post(f"/api/prompt/{run}/interrupt")
        await until(http, run, "interrupted")


async def test_answer_without_a_worker_gives_up_in_time_and_the_run_still_waits(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack.gateway(), stack.http() as http:
        async with stack.worker():
            await stack_ready(http)
            run = await submit(http, asking())
            await until_open(http, run)
        with monkeypatch.context() as hasty:
            hasty.setattr(approvals, "ANSWER_S", 0.5)
            assert refused(await answer(http, run, "ask0", approved=False)) == (503, "worker_unavailable")
        async with stack.worker():
            await answer(http, run, "ask0", approved=False)
            await until(http, run, "complete")


async def test_open_approvals_are_known_after_a_restart_of_the_gateway(stack: Any) -> None:
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await stack_ready(http)
            run = await submit(http, asking())
            await until_open(http, run)
        async with stack.gateway():
            assert (await http.get("/api/approvals")).json()["approvals"][0]["promptId"] == run
            assert (await http.get("/api/executions")).json()["running"][0]["status"] == "waiting"
            await answer(http, run, "ask0", approved=False)
            await until(http, run, "complete")


async def test_node_that_waits_in_a_terminated_run_gets_its_end(stack: Any) -> None:
    async with stack.up() as http:
        run = await submit(http, asking())
        await until_open(http, run)
        await stack.temporal.get_workflow_handle(run).terminate("enough")
        status = await until(http, run, "error")
    assert {path: entry["status"] for path, entry in status["nodeStatus"].items()} == {"ask0": "interrupted"}


# --- events from outside ------------------------------------------------------------------------------------------


def waiting_for(name: str, **config: Any) -> Json:
    return graph([node("w", "core:WaitForEvent", {"name": name, **config}), node("s", "Say")], "w.data > s.text")


async def test_event_reaches_the_node_that_waits_for_it(http: httpx.AsyncClient) -> None:
    run = await submit(http, waiting_for("paid", filter={"order": 7}))
    status = await until(http, run, "waiting")
    assert status["nodeStatus"]["w"]["wait"] == {"kind": "event", "name": "paid", "until": None}
    url = f"/api/prompt/{run}/events"
    other = (await http.post(url, json={"name": "sent"})).json()
    assert other["waiting"] == 0
    assert "no node" in other["message"]
    assert (await http.post(url, json={"name": "paid", "data": {"order": 6}})).json()["waiting"] == 1
    assert (await http.post(url, json={"name": "paid", "data": {"order": 7}})).json()["waiting"] == 1
    status = await until(http, run, "complete", "error")
    assert status["nodeStatus"]["w"]["output"] == {"data": {"order": 7}}
    assert refused(await http.post(url, json={"name": "paid"})) == (409, "run_not_active")
    assert refused(await http.post("/api/prompt/nope/events", json={"name": "paid"})) == (404, "run_not_found")


async def test_event_for_all_reaches_every_run_that_waits_for_it_and_no_other(
    shared: Any, http: httpx.AsyncClient
) -> None:
    save(shared, "waits", graph([node("w", "core:WaitForEvent", {"name": "bell"})]))
    runs = [
        await submit(http, waiting_for("bell")),
        await submit(http, graph([node("g", "core:NodeGroup", {"referencedWorkflowId": "waits"})])),
        await submit(http, waiting_for("other")),
    ]
    for run in runs:
        await until(http, run, "waiting")
    told = (await http.post("/api/events", json={"name": "bell", "data": "x"})).json()
    assert (told["runs"], set(told["promptIds"])) == (2, set(runs[:2]))
    for run in runs[:2]:
        await until(http, run, "complete")
    assert (await http.get(f"/api/prompt/{runs[2]}")).json()["status"] == "waiting"
    assert (await http.post("/api/events", json={"name": "bell"})).json()["runs"] == 0
    await http.post(f"/api/prompt/{runs[2]}/interrupt")
    await until(http, runs[2], "interrupted")


async def test_event_for_all_with_the_same_key_happens_once(http: httpx.AsyncClient) -> None:
    twice = graph(
        [node("w", "core:WaitForEvent", {"name": "gong"}), node("x", "core:WaitForEvent", {"name": "gong"})],
        "w.data > x.filter",
    )
    run = await submit(http, twice)
    await until(http, run, "waiting")
    body, key = {"name": "gong", "data": {"n": 1}}, {"Idempotency-Key": "gong-1"}
    first, same = await asyncio.gather(*(http.post("/api/events", json=body, headers=key) for _ in range(2)))
    told = {"success": True, "name": "gong", "runs": 1, "promptIds": [run], "triggers": []}
    assert first.json() == same.json() == told
    async with asyncio.timeout(30):
        while (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"].get("x", {}).get("status") != "waiting":
            await asyncio.sleep(0.02)
    assert (await http.post("/api/events", json=body, headers=key)).json() == first.json()
    other = await http.post("/api/events", json={"name": "gong"}, headers=key)
    assert refused(other) == (422, "idempotency_mismatch")
    status = (await http.get(f"/api/prompt/{run}")).json()
    assert (status["status"], status["nodeStatus"]["x"]["status"]) == ("waiting", "waiting")
    assert (await http.post("/api/events", json=body, headers={"Idempotency-Key": "gong-2"})).json()["runs"] == 1
    await until(http, run, "complete")


async def test_broken_characters_and_great_numbers_in_events_and_answers_are_mended(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    run = await submit(
        http, graph([node("w", "core:WaitForEvent", {"name": "odd"}), node("a", "core:Approval")], "w.data > a.data")
    )
    await until(http, run, "waiting")
    body = rb'{"name": "odd", "data": {"text": "half \ud83d", "number": 123456789012345678901234567890}}'
    told = await http.post(f"/api/prompt/{run}/events", content=body, headers=headers)
    assert told.json()["waiting"] == 1
    async with asyncio.timeout(30):
        while not (await http.get(f"/api/prompt/{run}/approvals")).json()["approvals"]:
            await asyncio.sleep(0.02)
    url = f"/api/prompt/{run}/approvals/a"
    answered = await http.post(url, content=rb'{"approved": true, "comment": "fine \ude00"}', headers=headers)
    assert answered.json()["answer"]["comment"] == "fine \ufffd"
    output = (await until(http, run, "complete"))["nodeStatus"]["a"]["output"]
    assert output["approved"] == {"text": "half \ufffd", "number": 1.2345678901234568e29}


@pytest.mark.parametrize("body", [b"{", b'{"name": NaN}', b"[" * 200 + b"]" * 200, b'"\xff"'])
async def test_malformed_bodies_of_events_and_answers_are_no_invalid_workflow(
    http: httpx.AsyncClient, body: bytes
) -> None:
    run = await submit(http, graph([node("a", "core:Approval", data=1)]))
    await until(http, run, "waiting")
    for path in ("/api/events", f"/api/prompt/{run}/events", f"/api/prompt/{run}/approvals/a"):
        status, code = refused(await http.post(path, content=body))
        assert (status, code) == (400, "document_too_deep" if b"[" in body else "malformed_json")
    await http.post(f"/api/prompt/{run}/interrupt")


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"name": ""}, 400), ({"name": 3}, 400), ({"name": "x", "date": 1}, 400), ([], 400)],
)
async def test_event_that_is_none_is_refused(http: httpx.AsyncClient, body: Any, status: int) -> None:
    assert (await http.post("/api/events", json=body)).status_code == status


async def test_event_of_too_much_data_is_refused(http: httpx.AsyncClient) -> None:
    body = {"name": "x", "data": "y" * 300_000}
    assert refused(await http.post("/api/events", json=body)) == (413, "too_large")


# --- errors below -------------------------------------------------------------------------------------------------


async def test_failure_inside_groups_is_told_once_with_every_path(shared: Any, http: httpx.AsyncClient) -> None:
    save(shared, "fails", graph([node("bad", "Fail")]))
    save(shared, "fails_below", graph([node("in", "core:NodeGroup", {"referencedWorkflowId": "fails"})]))
    run = await submit(http, graph([node("out", "core:NodeGroup", {"referencedWorkflowId": "fails_below"})]))
    error = (await until(http, run, "error"))["errorInfo"]
    assert error["message"] == "node 'out/in/bad' failed: no luck today"
    assert error["code"] == "bad_luck"
    assert sorted(item["nodeId"] for item in error["nodes"]) == ["out", "out/in", "out/in/bad"]
