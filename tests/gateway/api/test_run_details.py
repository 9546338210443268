"""What a run ran, and what the inputs of its nodes were: document, groups, values, and no secrets."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import httpx
import pytest

from innkeeper.gateway.runs import stream_texts
from innkeeper.gateway.store.runs import NewRun
from tests.gateway.api.test_control import answer, asking, until_open
from tests.gateway.api.test_prompts import edge, graph, node, run
from tests.gateway.asking import submit, until
from tests.gateway.conftest import Stack
from tests.gateway.realtime.talking import hear, say, socket_to

Json = dict[str, Any]
KEY = "sk-hidden-in-a-document-41"


def slot(key: str, kind: str = "STRING") -> Json:
    return {"key": key, "dataFlowType": kind}


def inner(id: str, text: str = "!") -> Json:
    """A stored workflow: what comes in, shouted so many times."""
    return {
        "id": id,
        "name": id,
        "interfaceInputs": {"word": slot("word")},
        "interfaceOutputs": {"loud": slot("loud")},
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "shout", "type": "toys:Shout", "inputValues": {"text": text}},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "1", "source": "in", "sourceHandle": "word", "target": "shout", "targetHandle": "text"},
            {"id": "2", "source": "shout", "sourceHandle": "text", "target": "out", "targetHandle": "loud"},
        ],
    }


async def store(http: httpx.AsyncClient, document: Json) -> None:
    answer = await http.post("/api/workflows", json=document)
    assert answer.status_code == 201, answer.text


async def inputs_of(http: httpx.AsyncClient, run: str, path: str) -> Json:
    answer = await http.get(f"/api/prompt/{run}/inputs/{path}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()["inputs"]
    return found


async def document_of(http: httpx.AsyncClient, run: str, path: str = "") -> Json:
    answer = await http.get(f"/api/prompt/{run}/document", params={"path": path} if path else {})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["promptId"], answer.json()["path"]) == (run, path)
    found: Json = answer.json()["document"]
    return found


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- documents ----------------------------------------------------------------------------------------------------


async def test_the_document_is_given_as_it_was_sent(http: httpx.AsyncClient) -> None:
    body = {**graph(node("a", "Say", text="x"), node("b", "Say"), edge("a", "b")), "viewport": {"zoom": 2}}
    done = await run(http, body)
    assert await document_of(http, done["promptId"]) == body


async def test_keys_in_a_document_are_hidden_also_on_the_disk(http: httpx.AsyncClient, shared: Stack) -> None:
    done = await run(http, graph(node("k", "KeyLength", api_key=KEY), node("copy", "Say", text=KEY)))
    assert done["nodeStatus"]["k"]["output"] == {"length": len(KEY)}
    document = await document_of(http, done["promptId"])
    assert document["nodes"][0]["inputs"]["api_key"].startswith("$secret:")
    assert KEY not in json.dumps(document)
    assert KEY not in json.dumps(await inputs_of(http, done["promptId"], "k"))
    blobs = [file.read_bytes() for file in (shared.data / "blobs").rglob("*") if file.is_file()]
    assert not [data for data in blobs if KEY.encode() in data and b'"nodes"' in data]


async def test_a_group_is_given_in_the_version_that_ran(http: httpx.AsyncClient) -> None:
    await store(http, inner("shout-once"))
    group = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "shout-once"}}
    done = await run(http, graph(node("a", "Say", text="hi"), group, edge("a", "g", "text", "word")))
    saved = await http.get("/api/workflows/shout-once")
    changed = {**saved.json(), "nodes": []}
    await http.put("/api/workflows/shout-once", json=changed, headers={"If-Match": saved.headers["etag"]})
    found = await document_of(http, done["promptId"], "g")
    assert [item["id"] for item in found["nodes"]] == ["in", "shout", "out"]
    for path in ("g/shout", "a", "nothing", "g/nothing"):
        gone = await http.get(f"/api/prompt/{done['promptId']}/document", params={"path": path})
        assert refused(gone) == (404, "node_not_found")


async def test_items_of_a_repetition_are_found_with_and_without_their_number(http: httpx.AsyncClient) -> None:
    await store(http, inner("shout-item"))
    config = {"referencedWorkflowId": "shout-item", "itemKey": "word"}
    each = {"id": "each", "fullType": "core:ForEach", "configValues": config, "inputs": {"items": ["a", "b"]}}
    done = await run(http, graph(each))
    assert done["status"] == "complete", done
    run_id = done["promptId"]
    assert await document_of(http, run_id, "each") == await document_of(http, run_id, "each/1")
    number = next(path.split("/")[1] for path in done["nodeStatus"] if path.endswith("/shout"))
    found = await inputs_of(http, run_id, f"each/{number}/shout")
    word = done["nodeStatus"][f"each/{number}/shout"]["output"]["text"].lower()
    source = {"nodeId": f"each/{number}/in", "slot": "word"}
    assert found["text"] == {"from": "edge", "source": source, "value": word}
    assert found["times"] == {"from": "default", "value": 1}


async def test_runs_of_one_graph_share_its_document_and_so_do_reruns(http: httpx.AsyncClient, shared: Stack) -> None:
    body = graph(node("a", "Say", text="shared document"))
    first, second = await run(http, body), await run(http, body)
    again = await run(http, {"baseRun": first["promptId"], "fromNode": "a"})
    rows = [await shared.container.runs._store.get(done["promptId"]) for done in (first, second, again)]
    assert len({row.document for row in rows if row is not None}) == 1
    assert await document_of(http, again["promptId"]) == body


async def test_a_stored_workflow_is_given_as_it_was_stored(http: httpx.AsyncClient) -> None:
    await store(http, inner("shown-as-stored"))
    done = await run(http, {"workflowId": "shown-as-stored", "inputs": {"word": "hey"}})
    found = await document_of(http, done["promptId"])
    assert (found["id"], len(found["nodes"])) == ("shown-as-stored", 3)
    assert await inputs_of(http, done["promptId"], "in") == {"word": {"from": "value", "value": "hey"}}


async def test_a_document_goes_with_its_last_run(stack: Stack) -> None:
    """A collection takes it when both runs that share it are deleted, and not before."""
    stack.settings = type(stack.settings)(**{**stack.settings.__dict__, "blob_grace_s": 0.0})
    async with stack.up() as http:
        done = await run(http, graph(node("a", "Say", text="collected")))
        again = await run(http, {"baseRun": done["promptId"], "fromNode": "a"})
        row = await stack.container.runs._store.get(done["promptId"])
        assert row is not None
        assert row.document is not None
        blob = stack.data / "blobs" / row.document[:2] / row.document
        for run_id, is_there in ((done["promptId"], True), (again["promptId"], False)):
            assert (await http.delete(f"/api/history/{run_id}")).status_code == 204
            for file in (stack.data / "blobs").rglob("?" * 64):
                os.utime(file, (time.time() - 1000,) * 2)
            await stack.container.garbage_collector.collect()
            assert blob.exists() is is_there


# --- who may see what, and what is gone ---------------------------------------------------------------------------


async def test_a_run_of_somebody_else_is_not_found(http: httpx.AsyncClient, shared: Stack) -> None:
    await shared.container.runs._store.add(NewRun("not-mine", "somebody", None, status="error"))
    for page in ("document", "inputs/a", "input-values/a?slot=b"):
        assert refused(await http.get(f"/api/prompt/not-mine/{page}")) == (404, "run_not_found")


async def test_runs_of_earlier_versions_say_that_nothing_is_kept(http: httpx.AsyncClient, shared: Stack) -> None:
    await shared.container.runs._store.add(NewRun("old-one", "default_user", None, status="error"))
    assert refused(await http.get("/api/prompt/old-one/document")) == (404, "document_not_kept")
    assert refused(await http.get("/api/prompt/old-one/inputs/a")) == (404, "plan_not_kept")


async def test_without_its_log_an_ended_run_still_tells_its_inputs(http: httpx.AsyncClient, shared: Stack) -> None:
    done = await run(http, graph(node("a", "Say", text="kept"), node("b", "Say"), edge("a", "b")))
    run_id = done["promptId"]
    async with asyncio.timeout(10):  # its log is sealed a moment after its end
        while (info := await shared.container.log.run_info(run_id)) is None or info.sealed_ms is None:
            await asyncio.sleep(0.02)
    await shared.container.log.delete_run(run_id)
    status = (await http.get(f"/api/prompt/{run_id}")).json()
    assert "lastSeq" not in status
    assert "logId" not in status
    source = {"nodeId": "a", "slot": "text"}
    assert await inputs_of(http, run_id, "b") == {"text": {"from": "edge", "source": source, "value": "kept"}}
    assert len((await document_of(http, run_id))["nodes"]) == 2


# --- inputs -------------------------------------------------------------------------------------------------------


async def test_each_input_says_where_it_comes_from(http: httpx.AsyncClient) -> None:
    done = await run(
        http,
        graph(
            node("typed", "Shout", text="x", times=2),
            node("bare", "Hold", seconds=0),
            node("bad", "Fail"),
            node("after", "Say"),
            edge("bad", "after"),
        ),
    )
    run_id = done["promptId"]
    assert await inputs_of(http, run_id, "typed") == {
        "text": {"from": "value", "value": "x"},
        "times": {"from": "value", "value": 2},
    }
    assert await inputs_of(http, run_id, "bare") == {
        "seconds": {"from": "value", "value": 0},
        "gate": {"from": "default", "value": ""},
    }
    after = (await inputs_of(http, run_id, "after"))["text"]
    assert (after["from"], after["source"]) == ("edge", {"nodeId": "bad", "slot": "text"})
    assert "value" not in after
    assert refused(await http.get(f"/api/prompt/{run_id}/inputs/nothing")) == (404, "node_not_found")


async def test_secret_inputs_say_only_that_they_are_secret(http: httpx.AsyncClient) -> None:
    body = graph(node("typed", "KeyLength", api_key=KEY), node("said", "Say", text=KEY), node("wired", "KeyLength"),
                 edge("said", "wired", "text", "api_key"))  # fmt: skip
    done = await run(http, body)
    run_id = done["promptId"]
    assert done["nodeStatus"]["wired"]["output"] == {"length": len(KEY)}
    assert (await inputs_of(http, run_id, "typed"))["api_key"] == {"from": "value", "secret": True}
    source = {"nodeId": "said", "slot": "text"}
    assert (await inputs_of(http, run_id, "wired"))["api_key"] == {"from": "edge", "source": source, "secret": True}
    hidden = await http.get(f"/api/prompt/{run_id}/input-values/typed", params={"slot": "api_key"})
    assert refused(hidden) == (404, "input_not_found")


async def test_large_inputs_are_references_that_lead_to_the_whole(http: httpx.AsyncClient) -> None:
    text = "long " * 5000
    done = await run(http, graph(node("a", "Say", text=text), node("b", "Say"), edge("a", "b")))
    for path in ("a", "b"):
        value = (await inputs_of(http, done["promptId"], path))["text"]["value"]
        assert value["size"] > 20_000
        assert (await http.get(value["url"])).json() == text


async def test_a_node_that_waits_has_the_inputs_that_are_there(http: httpx.AsyncClient) -> None:
    run_id = await submit(http, asking(data={"draft": [1, 2]}))
    await until_open(http, run_id)
    assert (await inputs_of(http, run_id, "ask0"))["data"] == {"from": "value", "value": {"draft": [1, 2]}}
    source = {"nodeId": "ask0", "slot": "approved"}
    assert await inputs_of(http, run_id, "say0") == {"text": {"from": "edge", "source": source}}
    await answer(http, run_id, "ask0", approved=True, values={"title": "t"})
    await until(http, run_id, "complete")
    assert "value" in (await inputs_of(http, run_id, "say0"))["text"]


# --- status: the place in the log, and texts that are not finished -------------------------------------------------


async def test_the_status_of_a_running_stream_and_the_events_behind_it_are_the_whole(
    http: httpx.AsyncClient, shared: Stack
) -> None:
    """Who opens a long run reads its status, and then only what comes after."""
    run_id = await submit(http, graph(node("c", "Count", upto=60, pause=0.02)))
    text, status = "", {}
    async with asyncio.timeout(30):
        while len(text) < 20:
            await asyncio.sleep(0.01)
            status = (await http.get(f"/api/prompt/{run_id}")).json()
            text = status["nodeStatus"].get("c", {}).get("text", "")
    assert status["status"] == "running"
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "SUBSCRIBE", promptId=run_id, after=status["lastSeq"], logId=status["logId"])
        assert (await hear(socket, "SUBSCRIBED"))["payload"]["after"] == status["lastSeq"]
        while not (chunk := (await hear(socket, "NODE_YIELD"))["payload"])["isLastChunk"]:
            text += chunk["yieldedContent"]["content"]
    assert text == "".join(f"{number} " for number in range(60))
    done = await until(http, run_id, "complete")
    assert "text" not in done["nodeStatus"]["c"]
    assert done["lastSeq"] > status["lastSeq"]


async def test_of_a_long_text_the_end_is_told(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_texts, "KEPT_CHARS", 10)
    run_id = await submit(http, graph(node("c", "Count", upto=100, pause=0.02)))
    async with asyncio.timeout(30):
        while "textCut" not in (found := (await http.get(f"/api/prompt/{run_id}")).json()["nodeStatus"].get("c", {})):
            await asyncio.sleep(0.01)
    assert 10 <= len(found["text"]) <= 20
    assert found["text"] in "".join(f"{number} " for number in range(100))
    await http.post(f"/api/interrupt/{run_id}")
    await until(http, run_id, "interrupted")


# --- trying out ---------------------------------------------------------------------------------------------------


async def test_a_dry_run_tells_what_would_run_and_starts_nothing(http: httpx.AsyncClient, shared: Stack) -> None:
    body = {**graph(node("a", "Say", text="x"), node("b", "Say"), edge("a", "b")), "name": "only tried"}
    told = await http.post("/api/prompt", json={**body, "dryRun": True, "wait": 20})
    assert told.json() == {
        "dryRun": True, "warnings": [], "reused": [], "stale": [], "runs": ["a", "b"], "counts": {"runs": 2}
    }  # fmt: skip
    assert (await http.get("/api/runs", params={"q": "only tried"})).json()["runs"] == []


@pytest.mark.parametrize("own_graph", [True, False])
async def test_a_dry_rerun_tells_what_the_rerun_takes_over(http: httpx.AsyncClient, own_graph: bool) -> None:
    body = graph(node("a", "Say", text="x"), node("b", "Shout"), node("c", "Say"), edge("a", "b"), edge("b", "c"))
    base = (await run(http, body))["promptId"]
    ask = {"baseRun": base, "fromNode": "b", **({} if own_graph else body)}
    told = (await http.post("/api/prompt", json={**ask, "dryRun": True})).json()
    assert (told["reused"], told["runs"]) == (["a"], ["b", "c"])
    done = await run(http, ask)
    assert {key: told[key] for key in ("reused", "runs", "counts", "baseRun")} == {
        key: done[key] for key in ("reused", "runs", "counts", "baseRun")
    }
    assert [path for path, state in done["nodeStatus"].items() if state.get("reused")] == told["reused"]


async def test_a_dry_rerun_knows_nodes_with_keys_again(http: httpx.AsyncClient) -> None:
    body = graph(node("k", "KeyLength", api_key=KEY), node("b", "Say"))
    base = (await run(http, body))["promptId"]
    told = await http.post("/api/prompt", json={**body, "baseRun": base, "fromNode": "b", "dryRun": True})
    assert (told.json()["reused"], told.json()["runs"]) == (["k"], ["b"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": [{"id": "n", "fullType": "toys:Nothing"}], "edges": []},
        {"nodes": [], "edges": [], "baseRun": "nobody"},
        {"workflowId": "nothing-stored"},
        {"nodes": [{"id": "n", "fullType": "toys:Say"}], "edges": [], "fromNode": "n"},
    ],
)
async def test_what_is_refused_is_refused_in_the_same_words_when_tried(http: httpx.AsyncClient, wrong: Json) -> None:
    real, tried = [await http.post("/api/prompt", json={**wrong, **more}) for more in ({}, {"dryRun": True})]
    assert real.status_code >= 400
    assert (tried.status_code, tried.json()) == (real.status_code, real.json())


async def test_dry_run_is_a_yes_or_no_of_http_alone(http: httpx.AsyncClient, shared: Stack) -> None:
    body = graph(node("a", "Say", text="x"))
    assert refused(await http.post("/api/prompt", json={**body, "dryRun": "yes"})) == (400, "bad_request")
    async with socket_to(shared.ws_url) as socket:
        await say(socket, "PROMPT_REQUEST", **body, dryRun=True, requestId="r")
        assert (await hear(socket, "error"))["payload"]["code"] == "bad_request"


async def test_trying_out_keeps_no_keys(stack: Stack) -> None:
    async with stack.gateway(), stack.http() as http:
        told = await http.post("/api/prompt", json={**graph(node("k", "KeyLength", api_key=KEY)), "dryRun": True})
        assert told.status_code == 200, told.text
        folders = [stack.data / "secrets", stack.data / "blobs"]
        kept = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    assert kept == []
