"""Submissions over the WebSocket that are refused: whoever sends no requestId hears of them as of a run that fails."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection

from innkeeper.gateway.runs import refusals
from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import NewRun, RunStore
from tests.gateway.asking import until
from tests.gateway.realtime.talking import Json, hear, hear_run, say, socket_to

INCOMPLETE: Json = {
    "nodes": [{"id": "s", "fullType": "core:StreamLogger"}, {"id": "j", "fullType": "core:TextMerge"}],
    "edges": [],
    "metadata": {"workflowName": "mine"},
}
TWICE: Json = {"nodes": [{"id": "t", "fullType": "toys:Say"}, {"id": "t", "fullType": "toys:Say"}], "edges": []}


async def refused(socket: ClientConnection, body: Json) -> tuple[str, list[Json]]:
    """The id that a refused submission got, and the events of its run."""
    await say(socket, "PROMPT_REQUEST", **body)
    run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
    return run, await hear_run(socket, run)


async def test_refused_graph_is_accepted_and_fails_at_each_node_concerned(shared: Any) -> None:
    async with socket_to(shared.ws_url) as socket:
        run, events = await refused(socket, INCOMPLETE)
    assert [event["type"] for event in events] == ["NODE_ERROR", "NODE_ERROR", "EXECUTION_STATUS_UPDATE"]
    assert {event["payload"]["nodeId"] for event in events[:2]} == {"s", "j"}
    assert all(event["payload"]["promptId"] == run for event in events)
    assert all(event["payload"]["errorDetails"]["message"] for event in events[:2])
    last = events[-1]["payload"]
    assert (last["status"], last["errorInfo"]["code"]) == ("error", "invalid_workflow")
    assert last["errorInfo"]["message"].startswith("the workflow has 2 problems: ")
    assert {problem["node"] for problem in last["errorInfo"]["problems"]} == {"s", "j"}


async def test_refused_run_answers_like_one_that_has_ended(shared: Any, http: httpx.AsyncClient) -> None:
    async with socket_to(shared.ws_url) as socket:
        run, events = await refused(socket, TWICE)
        await say(socket, "SUBSCRIBE", promptId=run)
        assert (await hear(socket, "SUBSCRIBED"))["payload"]["lastSeq"] == len(events)
        assert await hear_run(socket, run) == events
    found = (await http.get(f"/api/prompt/{run}")).json()
    assert (found["status"], found["outputs"], found["nodeStatus"]["t"]["status"]) == ("error", {}, "error")
    assert found["errorInfo"] == events[-1]["payload"]["errorInfo"]
    assert found["errorInfo"]["problems"][0]["code"] == "duplicate_node_id"
    listed = (await http.get("/api/history", params={"status": "error", "limit": 500})).json()["history"]
    assert [item["completedAt"] for item in listed if item["promptId"] == run] == [found["completedAt"]]
    again = await http.post("/api/prompt", json={"baseRun": run})
    assert (again.status_code, again.json()["code"]) == (409, "base_unusable")
    assert (await http.delete(f"/api/interrupt/{run}")).status_code == 409
    assert (await http.delete(f"/api/history/{run}")).status_code == 204
    assert (await http.get(f"/api/prompt/{run}")).status_code == 404


async def test_refused_preview_is_kept_out_of_the_history(shared: Any, http: httpx.AsyncClient) -> None:
    async with socket_to(shared.ws_url) as socket:
        run, _ = await refused(socket, {**INCOMPLETE, "metadata": {"isPreviewRun": True}})
    assert (await http.get(f"/api/prompt/{run}")).json()["isPreview"] is True
    assert run not in (await http.get("/api/history", params={"limit": 500})).text
    assert run in (await http.get("/api/history", params={"limit": 500, "previews": True})).text


@pytest.mark.parametrize("beside", [True, False])
async def test_client_with_request_id_is_told_by_error_and_no_run_is_made(
    shared: Any, http: httpx.AsyncClient, beside: bool
) -> None:
    before = (await http.get("/api/history", params={"limit": 500})).json()
    async with socket_to(shared.ws_url) as socket:
        frame: Json = {"type": "PROMPT_REQUEST", "payload": INCOMPLETE}
        if beside:
            frame["requestId"] = "r"
        else:
            frame["payload"] = {**INCOMPLETE, "requestId": "r"}
        await socket.send(json.dumps(frame))
        error = (await hear(socket, "error"))["payload"]
    assert (error["code"], error["requestId"], len(error["problems"])) == ("invalid_workflow", "r", 2)
    assert (await http.get("/api/history", params={"limit": 500})).json() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"nodes": "x"}, "invalid_workflow"),
        ({"workflowId": "there is none"}, "workflow_not_found"),
        ({"baseRun": "there is none"}, "run_not_found"),
        ({"nodes": [], "edges": [], "inputs": 1}, "bad_request"),
    ],
)
async def test_any_other_refusal_ends_its_run_with_the_reason(shared: Any, body: Json, code: str) -> None:
    async with socket_to(shared.ws_url) as socket:
        _, events = await refused(socket, body)
    assert [event["type"] for event in events] == ["EXECUTION_STATUS_UPDATE"]
    assert events[0]["payload"]["errorInfo"]["code"] == code
    assert events[0]["payload"]["errorInfo"]["message"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [("[]", "bad_request"), ('{"nodes": NaN}', "malformed_json"), ("[" * 500 + "]" * 500, "document_too_deep")],
)
async def test_submission_that_cannot_be_read_ends_its_run_unless_it_has_a_request_id(
    shared: Any, payload: str, code: str
) -> None:
    async with socket_to(shared.ws_url) as socket:
        await socket.send('{"type": "PROMPT_REQUEST", "payload": ' + payload + "}")
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        (event,) = await hear_run(socket, run)
        assert event["payload"]["errorInfo"]["code"] == code
        await socket.send('{"type": "PROMPT_REQUEST", "requestId": "r", "payload": ' + payload + "}")
        assert (await hear(socket, "error"))["payload"]["code"] == code


async def test_flood_of_refused_graphs_is_answered_but_not_kept(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "BURST", 1)
    monkeypatch.setattr(refusals, "PER_S", 0.0)
    async with stack.up() as http, socket_to(stack.ws_url) as socket:
        kept, events = await refused(socket, INCOMPLETE)
        await say(socket, "PROMPT_REQUEST", **INCOMPLETE)
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        told = [(await hear(socket, event["type"])) for event in events]
        listed = (await http.get("/api/history")).json()["history"]
        assert (await http.get(f"/api/prompt/{run}")).status_code == 404
    assert [item["promptId"] for item in listed] == [kept]
    assert [event["payload"] for event in told] == [{**event["payload"], "promptId": run} for event in events]


async def test_refused_run_says_the_same_after_the_gateway_was_killed_at_its_end(stack: Any) -> None:
    async with stack.up() as http:
        async with socket_to(stack.ws_url) as socket:
            run, _ = await refused(socket, INCOMPLETE)
        before = (await http.get(f"/api/prompt/{run}")).json()
    with sqlite3.connect(stack.settings.store_path) as db:
        db.execute("UPDATE runs SET sealed = 0")  # the last note, which comes a moment after the final status
    async with stack.up() as http:
        assert (await http.get(f"/api/prompt/{run}")).json() == before


async def test_refused_run_that_was_only_written_down_ends_at_the_next_start(stack: Any) -> None:
    engine = open_engine(sqlite_url(stack.settings.store_path))
    await ensure_schema(engine)
    await RunStore(engine).add(NewRun("r", "default_user", None, status="error"))
    await engine.dispose()
    async with stack.up() as http:
        async with socket_to(stack.ws_url) as socket:
            await say(socket, "SUBSCRIBE", promptId="r")
            assert (await hear_run(socket, "r"))[-1]["payload"]["status"] == "error"
        assert (await until(http, "r", "error"))["errorInfo"]["message"]
