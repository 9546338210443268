"""Events start runs and wake runs, each once; on the real stack."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.deliveries import intake
from innkeeper.gateway.settings import Settings, worker_token
from innkeeper.gateway.triggers.decisions import MAX_DEPTH
from tests.gateway.asking import submit, until, until_ready
from tests.gateway.conftest import Stack
from tests.gateway.deliveries.test_intake import ended, interface, made, said, until_true

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def up(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with a workflow that says its input, and one that emits an event of a given name."""
    stack = Stack(temporal, tmp_path_factory.mktemp("events"))
    async with stack.up() as http:
        for document in (said(), emitting()):
            assert (await http.post("/api/workflows", json=document)).status_code == 201
        yield stack
    stack.close()


@pytest.fixture
async def http(up: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with up.http() as client:
        yield client


def emitting() -> Json:
    edges = {"name": "e.name", "n": "e.data"}
    return {
        "id": "emit",
        "name": "emit",
        "nodes": [{"id": "in", "type": "core:GroupInput"}, {"id": "e", "type": "core:EmitEvent"}],
        "edges": [
            {"id": key, "source": "in", "sourceHandle": key, "target": "e", "targetHandle": into.partition(".")[2]}
            for key, into in edges.items()
        ],
        "interfaceInputs": interface("name", "n"),
    }


def waiting_for(name: str) -> Json:
    return {"nodes": [{"id": "w", "fullType": "core:WaitForEvent", "configValues": {"name": name}}], "edges": []}


def emit_now(**inputs: Any) -> Json:
    return {"nodes": [{"id": "e", "fullType": "core:EmitEvent", "inputs": inputs}], "edges": []}


async def post(http: httpx.AsyncClient, event: Any, status: int = 200, **headers: str) -> Json:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await http.post("/api/events", json=event, headers=named)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def runs_of(http: httpx.AsyncClient, trigger: str) -> list[Json]:
    """Runs that ended and that this trigger started, the oldest first."""
    found = (await http.get("/api/history", params={"limit": 200})).json()["history"]
    return [run for run in reversed(found) if run.get("trigger", {}).get("id") == trigger]


# --- starting and waking ----------------------------------------------------------------------------------------------


async def test_event_starts_what_its_triggers_want_and_wakes_who_waits(up: Stack, http: httpx.AsyncClient) -> None:
    word = {"mapping": {"word": {"expression": "data.word"}}}
    exact = await made(up, "orders.eu.paid", **word)
    pattern = await made(up, "every order", event={"name": "orders.*"}, filter="data.word == 'other'", **word)
    from_shop = await made(up, "from the shop", event={"name": "orders.eu.paid", "source": "shop"}, **word)
    await made(up, "from elsewhere", event={"name": "orders.eu.paid", "source": "elsewhere"}, **word)
    await made(up, "asleep", event={"name": "orders.eu.paid"}, enabled=False, **word)
    waits = await submit(http, waiting_for("orders.eu.paid"))
    await until(http, waits, "waiting")
    answer = await post(http, {"name": "orders.eu.paid", "data": {"word": "hello"}, "source": "shop"})
    assert (answer["success"], answer["name"]) == (True, "orders.eu.paid")
    assert (answer["runs"], answer["promptIds"]) == (1, [waits])
    told = {taken["triggerId"]: (taken["name"], taken["outcome"]) for taken in answer["triggers"]}
    assert told == {
        exact.id: ("orders.eu.paid", "fired"),
        pattern.id: ("every order", "filtered"),
        from_shop.id: ("from the shop", "fired"),
    }
    started = [taken["runId"] for taken in answer["triggers"] if "runId" in taken]
    for run in started:
        assert (await ended(http, run))["outputs"] == {"line": "hello"}
    assert (await ended(http, waits))["nodeStatus"]["w"]["output"] == {"data": {"word": "hello"}}


async def test_event_of_the_same_id_and_source_happens_once(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "once")
    event = {"name": "once", "data": {"word": "x"}, "id": "1", "source": "a"}
    first, again = await asyncio.gather(post(http, event), post(http, event))
    outcomes = sorted(answer["triggers"][0]["outcome"] for answer in (first, again))
    assert outcomes == ["duplicate", "fired"]
    assert sum("duplicate" in answer for answer in (first, again)) == 1
    assert first["triggers"][0]["runId"] == again["triggers"][0]["runId"]
    # Data does not make it another event; its source does, and so does no id.
    assert (await post(http, {**event, "data": {"word": "y"}}))["duplicate"] is True
    others = [await post(http, {**event, "source": "b"}), await post(http, {"name": "once", "data": {"word": "x"}})]
    assert [answer["triggers"][0]["outcome"] for answer in others] == ["fired", "fired"]
    for run in {first["triggers"][0]["runId"], *(answer["triggers"][0]["runId"] for answer in others)}:
        await ended(http, run)
    assert len(await runs_of(http, trigger.id)) == 3


async def test_event_of_the_same_id_wakes_a_run_once(http: httpx.AsyncClient) -> None:
    nodes = [{"id": id, "fullType": "core:WaitForEvent", "configValues": {"name": "bell"}} for id in ("w", "x")]
    edge = {"id": "e", "sourceNodeId": "w", "sourceHandle": "data", "targetNodeId": "x", "targetHandle": "filter"}
    run = await submit(http, {"nodes": nodes, "edges": [edge]})
    await until(http, run, "waiting")
    event = {"name": "bell", "data": {}, "id": "bell-1"}
    assert (await post(http, event))["runs"] == 1

    async def waits_again() -> bool:
        nodes = (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"]
        return bool(nodes.get("x", {}).get("status") == "waiting")

    await until_true(waits_again)
    again = await post(http, event)
    assert (again["duplicate"], again["promptIds"]) == (True, [run])
    await asyncio.sleep(0.3)
    assert await waits_again()
    await post(http, {**event, "id": "bell-2"})
    await until(http, run, "complete")


async def test_idempotency_key_stands_for_an_id(up: Stack, http: httpx.AsyncClient) -> None:
    await made(up, "keyed")
    event = {"name": "keyed", "data": {"word": "x"}}
    first = await post(http, event, Idempotency_Key="k")
    again = await post(http, event, Idempotency_Key="k")
    assert [answer["triggers"][0]["outcome"] for answer in (first, again)] == ["fired", "duplicate"]
    assert first["triggers"][0]["runId"] == again["triggers"][0]["runId"]
    refused = await post(http, {**event, "data": {"word": "y"}}, 422, Idempotency_Key="k")
    assert refused["code"] == "idempotency_mismatch"
    other = await post(http, event, Idempotency_Key="l")
    assert other["triggers"][0]["outcome"] == "fired"


async def test_python_client_gives_each_event_an_id(up: Stack) -> None:
    """It repeats a call after an outage: without an id that would be another event."""
    await made(up, "of a client")
    async with GatewayClient(up.url) as client:
        answers = [await client.post_event("of a client", {"word": "x"}) for _ in range(2)]
        again = [await client.post_event("of a client", {"word": "x"}, id="1", source="s") for _ in range(2)]
    assert [answer["triggers"][0]["outcome"] for answer in (*answers, *again)] == ["fired"] * 3 + ["duplicate"]
    assert [answer.get("duplicate") for answer in (*answers, *again)] == [None, None, None, True]


# --- CloudEvents ------------------------------------------------------------------------------------------------------

CLOUD = {"specversion": "1.0", "type": "cloud", "source": "/shop", "subject": "o 1"}


async def cloud_trigger(up: Stack, name: str) -> str:
    word = {"expression": "join(' ', [data.word, event.name, event.type, event.source, event.id, event.subject])"}
    return (await made(up, name, event={"name": name}, mapping={"word": word})).id


async def test_cloudevents_start_runs_in_every_mode(up: Stack, http: httpx.AsyncClient) -> None:
    await cloud_trigger(up, "cloud")
    data = {"word": "hi"}
    structured = {**CLOUD, "id": "1", "data": data}
    in_base64 = {**CLOUD, "id": "2", "data_base64": base64.b64encode(json.dumps(data).encode()).decode(),
                 "datacontenttype": "application/json"}  # fmt: skip
    headers = {**{f"ce-{name}": value.replace(" ", "%20") for name, value in CLOUD.items()}, "ce-id": "3"}
    batch = [{**CLOUD, "id": "4", "data": data}, {**CLOUD, "id": "1", "data": data}, {"type": "cloud"}]
    one_type, many_type = ({"content-type": f"application/cloudevents{kind}+json"} for kind in ("", "-batch"))
    answers = [
        await http.post("/api/events", content=json.dumps(structured), headers=one_type),
        await http.post("/api/events", content=json.dumps(in_base64), headers=one_type),
        await http.post("/api/events", json=data, headers=headers),
        await http.post("/api/events", content=json.dumps(batch), headers=many_type),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    results = answers[3].json()["results"]
    assert [(found["status"], found["success"]) for found in results] == [(200, True), (200, True), (400, False)]
    assert (results[1]["duplicate"], results[2]["code"]) == (True, "invalid_cloud_event")
    assert answers[3].json()["success"] is False
    taken = [answer.json()["triggers"][0] for answer in answers[:3]] + [results[0]["triggers"][0]]
    assert {found["outcome"] for found in taken} == {"fired"}
    assert results[1]["triggers"][0] == {**taken[0], "outcome": "duplicate", "reason": "the same delivery came before"}
    lines = [(await ended(http, found["runId"]))["outputs"]["line"] for found in taken]
    assert lines == [f"hi cloud cloud /shop {id} o 1" for id in "1234"]


async def test_what_is_no_event_is_refused_and_never_a_fault(http: httpx.AsyncClient) -> None:
    one, many = "application/cloudevents+json", "application/cloudevents-batch+json"
    cases: list[tuple[int, bytes, dict[str, str]]] = [
        (400, b"{", {"content-type": one}),
        (400, b"[]", {"content-type": one}),
        (400, b"{}", {"content-type": many}),
        (400, b"\xff", {"content-type": many}),
        (400, json.dumps({**CLOUD, "id": "1", "type": "x" * 201}).encode(), {"content-type": one}),
        (413, b"[" + b"{}," * 100 + b"{}]", {"content-type": many}),
        (413, b" " * 300_000, {"content-type": one}),
        (413, b" " * 4_000_001, {"content-type": many}),
        (415, b"<a/>", {"content-type": "application/cloudevents+xml"}),
        (400, b"{}", {"ce-id": "1"}),
        (400, b"{}", {"ce-specversion": "1.0", "ce-id": "%FF", "ce-source": "a", "ce-type": "b"}),
        (400, b"{", {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b",
                     "content-type": "application/json"}),
        (415, b"{}", {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b",
                      "content-encoding": "gzip"}),
        (400, json.dumps({"name": "x", "id": ""}).encode(), {}),
        (400, json.dumps({"name": "x", "source": 1}).encode(), {}),
        (400, json.dumps({"name": "x", "specversion": "1.0"}).encode(), {}),
    ]  # fmt: skip
    for status, body, headers in cases:
        answer = await http.post("/api/events", content=body, headers=headers)
        assert answer.status_code == status, (body[:60], headers, answer.text)
    empty = await http.post("/api/events", content=b"[]", headers={"content-type": many})
    assert empty.json() == {"success": True, "results": []}


# --- Temporal away ----------------------------------------------------------------------------------------------------


async def test_triggers_take_events_while_temporal_is_away(temporal: Client, tmp_path: Any) -> None:
    stack = Stack(temporal, tmp_path)
    settings = stack.settings
    stack.settings = Settings(**{**settings.__dict__, "temporal_address": "127.0.0.1:1"})
    async with stack.gateway(), stack.http() as http:
        assert (await http.post("/api/workflows", json=said())).status_code == 201
        await made(stack, "kept")
        event = {"name": "kept", "data": {"word": "x"}, "id": "1"}
        first, again = await post(http, event), await post(http, event)
        assert (first["success"], first["runs"]) == (True, 0)
        assert [answer["triggers"][0]["outcome"] for answer in (first, again)] == ["fired", "duplicate"]
        assert (await post(http, {"name": "nobody wants it"}, 503))["code"] == "engine_unavailable"
        batch = [{**CLOUD, "id": "2", "type": "nobody"}, {**CLOUD, "id": "3", "type": "kept", "data": {"word": "y"}}]
        kind = {"content-type": "application/cloudevents-batch+json"}
        answer = await http.post("/api/events", content=json.dumps(batch), headers=kind)
        assert answer.status_code == 503
        assert [found["status"] for found in answer.json()["details"]["results"]] == [503, 200]
    stack.settings = settings
    async with stack.up() as http:
        assert (await ended(http, first["triggers"][0]["runId"]))["outputs"] == {"line": "x"}
        answer = await http.post("/api/events", content=json.dumps(batch), headers=kind)
        assert [found["success"] for found in answer.json()["results"]] == [True, True]
        run = answer.json()["results"][1]["triggers"][0]["runId"]
        assert (await ended(http, run))["outputs"] == {"line": "y"}
        assert len((await http.get("/api/history")).json()["history"]) == 2
    stack.close()


async def test_event_is_refused_whole_only_while_it_can_be_sent_again(
    temporal: Client, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(temporal, tmp_path)
    stack.settings = Settings(**{**stack.settings.__dict__, "temporal_address": "127.0.0.1:1"})
    monkeypatch.setattr(intake, "MAX_PENDING", 1)  # nothing is started: what is taken stays pending
    async with stack.gateway(), stack.http() as http:
        for name in ("first", "second"):
            await made(stack, name, event={"name": "full"})
        told = await post(http, {"name": "full", "data": {"word": "x"}})
        assert [taken["outcome"] for taken in told["triggers"]] == ["fired", "refused"]
        assert "send it again" in told["triggers"][1]["reason"]
        for more in ({}, {"id": "1"}):
            refused = await post(http, {"name": "full", "data": {"word": "x"}, **more}, 429)
            assert refused["code"] == "too_many_deliveries"
        monkeypatch.setattr(intake, "MAX_PENDING", 2)
        event = {"name": "full", "data": {"word": "x"}, "id": "2"}
        assert (await post(http, event, 429))["code"] == "too_many_deliveries"
        monkeypatch.setattr(intake, "MAX_PENDING", 9)
        # By its id it goes on where it broke off.
        again = await post(http, event)
        assert [taken["outcome"] for taken in again["triggers"]] == ["duplicate", "fired"]
    stack.close()


# --- events of nodes --------------------------------------------------------------------------------------------------


async def test_node_starts_and_wakes_other_runs(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "from a node", mapping={"word": {"expression": "join(' ', [data.word, event.source])"}})
    waits = await submit(http, waiting_for("from a node"))
    await until(http, waits, "waiting")
    run = await submit(http, emit_now(name="from a node", data={"word": "w"}))
    output = (await until(http, run, "complete", "error"))["nodeStatus"]["e"]["output"]
    assert (output["started"], output["woken"]) == (1, 1)
    assert (await ended(http, waits))["nodeStatus"]["w"]["output"] == {"data": {"word": "w"}}

    async def has_ended() -> bool:
        return bool(await runs_of(http, trigger.id))

    await until_true(has_ended)
    (found,) = await runs_of(http, trigger.id)
    assert (await ended(http, found["promptId"]))["outputs"] == {"line": f"w innkeeper:run:{run}"}


async def test_node_emits_for_each_item(up: Stack, http: httpx.AsyncClient) -> None:
    trigger = await made(up, "each", mapping={"word": {"expression": "data"}})
    edge = {"id": "a", "source": "in", "sourceHandle": "item", "target": "e", "targetHandle": "data"}
    emit = {"id": "e", "type": "core:EmitEvent", "inputValues": {"name": "each"}}
    inner = {
        **{"id": "emit-item", "name": "emit-item", "interfaceInputs": interface("item")},
        **{"nodes": [{"id": "in", "type": "core:GroupInput"}, emit], "edges": [edge]},
    }
    assert (await http.post("/api/workflows", json=inner)).status_code == 201
    config = {"referencedWorkflowId": "emit-item"}
    each = {"id": "f", "fullType": "core:ForEach", "configValues": config, "inputs": {"items": ["a", "b", "c"]}}
    run = await submit(http, {"nodes": [each], "edges": []})
    assert (await until(http, run, "complete", "error"))["status"] == "complete"
    results = await up.container.intake.results(trigger)
    lines = [(await ended(http, result["runId"]))["outputs"]["line"] for result in results]
    assert sorted(lines) == ["a", "b", "c"]


async def test_node_with_a_secret_in_its_event_fails(http: httpx.AsyncClient) -> None:
    run = await submit(http, emit_now(name="x", data={"key": {"$secret": "env:OPENAI_API_KEY"}}))
    status = await until(http, run, "error")
    assert status["nodeStatus"]["e"]["error"]["code"] == "secret_in_event"


async def test_door_for_workers_takes_one_event_of_a_node(up: Stack, http: httpx.AsyncClient) -> None:
    # A trigger that knows no duplicates: what comes again from the same node is none to it either.
    trigger = await made(up, "door", dedupe="none")
    run = await submit(http, {"nodes": [{"id": "h", "fullType": "core:Approval"}], "edges": []})
    await until(http, run, "waiting")
    shown = {"Authorization": f"Bearer {worker_token(up.settings)}"}
    body = {"run": run, "node": "a/0/b", "name": "door", "data": {"word": "x"}}

    async def ask(status: int, body: Any, headers: dict[str, str] = shown) -> Json:
        answer = await http.post("/internal/events", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    assert (await ask(401, body, {}))["code"] == "unauthorized"
    assert (await ask(401, body, {"Authorization": "Bearer no"}))["code"] == "unauthorized"
    first, again = await ask(200, body), await ask(200, body)
    assert first == again
    assert (first["started"], first["woken"]) == (1, 0)
    other = await ask(200, {**body, "node": "a/1/b"})
    assert other["eventId"] != first["eventId"]
    for wrong in ({"name": ""}, {"run": 3}, {"node": None}, {"data": {"$secret": "env:A"}}):
        await ask(400, {**body, **wrong})
    await ask(400, [])
    await ask(404, {**body, "run": "nobody"})
    await http.post(f"/api/prompt/{run}/interrupt")
    await until(http, run, "interrupted")
    await ask(409, {**body, "node": "late"})
    outcomes = [result["outcome"] for result in await up.container.intake.results(trigger)]
    assert sorted(outcomes) == ["duplicate", "fired", "fired"]


async def test_workflow_that_starts_itself_ends(up: Stack, http: httpx.AsyncClient) -> None:
    mapping = {"name": {"literal": "storm"}, "n": {"expression": "event.id"}}
    trigger = await made(up, "storm", "emit", mapping=mapping)
    await post(http, {"name": "storm", "id": "0"})

    async def is_refused() -> bool:
        (newest, *_) = await up.container.intake.results(trigger)
        return bool(newest["outcome"] == "refused")

    await until_true(is_refused)
    results = await up.container.intake.results(trigger)
    assert [result["outcome"] for result in results] == ["refused", *["fired"] * (MAX_DEPTH + 1)]
    assert results[0]["reason"] == f"more than {MAX_DEPTH} runs have started each other"
    await ended(http, results[1]["runId"])
    assert len(await runs_of(http, trigger.id)) == MAX_DEPTH + 1


async def test_node_waits_for_a_gateway_that_is_away(stack: Stack) -> None:
    async with stack.worker(), stack.http() as http:
        async with stack.gateway():
            await until_ready(http)
            assert (await http.post("/api/workflows", json=said())).status_code == 201
            trigger = await made(stack, "late")
            nodes = [
                {"id": "d", "fullType": "core:Delay", "inputs": {"value": {"word": "x"}, "seconds": 1.5}},
                {"id": "e", "fullType": "core:EmitEvent", "inputs": {"name": "late"}},
            ]
            ends = {"sourceNodeId": "d", "sourceHandle": "value", "targetNodeId": "e", "targetHandle": "data"}
            run = await submit(http, {"nodes": nodes, "edges": [{"id": "x", **ends}]})
            await until(http, run, "running", "waiting")
        await asyncio.sleep(4)
        async with stack.gateway():
            status = await until(http, run, "complete", "error", timeout_s=60)
            assert status["nodeStatus"]["e"]["output"]["started"] == 1, status
            (result,) = await stack.container.intake.results(trigger)
            assert (await ended(http, result["runId"]))["outputs"] == {"line": "x"}
