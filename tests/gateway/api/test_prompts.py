"""Runs over HTTP, from submission to history, on the real stack."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

Json = dict[str, Any]


def node(id: str, type: str, **inputs: Any) -> Json:
    return {"id": id, "fullType": f"toys:{type}", "inputs": inputs}


def edge(source: str, target: str, source_slot: str = "text", target_slot: str = "text") -> Json:
    return {
        "id": f"{source}-{target}",
        "sourceNodeId": source,
        "sourceHandle": source_slot,
        "targetNodeId": target,
        "targetHandle": target_slot,
    }


def graph(*parts: Json, outputs: dict[str, tuple[str, str]] | None = None, **more: Any) -> Json:
    slots = {key: {"key": key, "dataFlowType": "STRING", **more.get("slot", {})} for key in outputs or {}}
    maps = {key: {"sourceNodeId": node, "sourceSlotKey": slot} for key, (node, slot) in (outputs or {}).items()}
    return {
        "nodes": [part for part in parts if "fullType" in part],
        "edges": [part for part in parts if "sourceNodeId" in part],
        "interfaceOutputs": slots,
        "outputInterfaceMappings": maps,
        "metadata": {"workflowName": "A toy"},
    }


async def run(http: httpx.AsyncClient, body: Json) -> Json:
    response = await http.post("/api/prompt", json={**body, "wait": 20})
    assert response.status_code == 200, response.text
    result: Json = response.json()
    return result


async def test_run_gives_outputs_node_states_and_times(http: httpx.AsyncClient) -> None:
    result = await run(
        http, graph(node("a", "Say", text="ab"), node("b", "Shout"), edge("a", "b"), outputs={"out": ("b", "text")})
    )
    assert result["status"] == "complete"
    assert result["outputs"] == {"out": "AB"}
    assert result["workflowName"] == "A toy"
    assert result["nodeStatus"]["a"]["output"] == {"text": "ab"}
    assert result["nodeStatus"]["b"]["status"] == "complete"
    assert result["nodeStatus"]["b"]["attempts"] == 1
    assert result["durationMs"] >= 0
    assert result["submittedAt"] <= result["completedAt"]
    assert "differs" not in result
    again = (await http.get(f"/api/history/{result['promptId']}")).json()
    assert again == result == (await http.get(f"/api/prompt/{result['promptId']}")).json()


async def test_failed_node_is_named_and_its_descendants_are_skipped(http: httpx.AsyncClient) -> None:
    result = await run(http, graph(node("a", "Fail"), node("b", "Say"), node("c", "Say"), edge("a", "b")))
    assert result["status"] == "error"
    assert result["errorInfo"]["nodes"] == [{"nodeId": "a", "code": "bad_luck", "message": "no luck today"}]
    states = {path: entry["status"] for path, entry in result["nodeStatus"].items()}
    assert states == {"a": "error", "b": "skipped", "c": "complete"}
    assert result["nodeStatus"]["b"]["cause"] == "a"


async def test_bypassed_node_counts_as_skipped_and_gives_its_input(http: httpx.AsyncClient) -> None:
    bypassed = {**node("a", "Say", text="through"), "bypassed": True}
    result = await run(http, graph(bypassed, node("b", "Shout"), edge("a", "b"), outputs={"out": ("b", "text")}))
    assert result["nodeStatus"]["a"]["status"] == "skipped"
    assert result["nodeStatus"]["a"]["output"] == {"text": "through"}
    assert result["outputs"] == {"out": "THROUGH"}


async def test_stream_output_is_collected_or_text_as_the_interface_says(http: httpx.AsyncClient) -> None:
    body = graph(node("a", "Count", upto=3), outputs={"out": ("a", "stream")})
    assert (await run(http, body))["outputs"] == {"out": "0 1 2 "}
    flagged = graph(node("a", "Count", upto=3), outputs={"out": ("a", "stream")}, slot={"isStream": True})
    assert (await run(http, flagged))["outputs"] == {"out": {"text": "0 1 2 ", "chunks": 3}}


async def test_large_output_is_fetched_by_its_url(http: httpx.AsyncClient) -> None:
    result = await run(http, graph(node("a", "Shout", text="x", times=10_000), outputs={"out": ("a", "text")}))
    for shown in (result["outputs"]["out"], result["nodeStatus"]["a"]["output"]["text"]):
        assert shown["size"] == 10_002
        assert (await http.get(shown["url"])).json() == "X" * 10_000
        text = await http.get(shown["url"], headers={"Accept": "text/plain"})
        assert text.text == "X" * 10_000
        assert text.headers["content-type"].startswith("text/plain")
    missing = await http.get(f"/api/prompt/{result['promptId']}/outputs/a/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "output_not_found")


async def test_bytes_come_as_download_that_no_browser_runs(http: httpx.AsyncClient) -> None:
    result = await run(http, graph(node("a", "Picture")))
    answer = await http.get(f"/api/prompt/{result['promptId']}/outputs/a/image")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment"


async def test_long_stream_text_comes_whole(http: httpx.AsyncClient) -> None:
    result = await run(http, graph(node("a", "Count", upto=2000), outputs={"out": ("a", "stream")}))
    url = result["nodeStatus"]["a"]["output"]["stream"]["text"]["url"]
    whole = (await http.get(url)).json()
    assert whole == {"text": "".join(f"{index} " for index in range(2000)), "chunks": 2000}


async def test_same_key_same_run_other_body_is_refused(http: httpx.AsyncClient) -> None:
    body, headers = graph(node("a", "Say", text="once")), {"Idempotency-Key": "key-1"}
    answers = await asyncio.gather(*(http.post("/api/prompt", json=body, headers=headers) for _ in range(5)))
    assert len({answer.json()["promptId"] for answer in answers}) == 1
    other = await http.post("/api/prompt", json=graph(node("a", "Say", text="twice")), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_invalid_graph_lists_every_problem_and_starts_nothing(http: httpx.AsyncClient) -> None:
    body = graph(node("a", "Nothing"), node("b", "Say"), node("c", "Say"), edge("b", "c"), edge("c", "b"))
    answer = await http.post("/api/prompt", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_workflow"
    assert len([item for item in answer.json()["problems"] if item["level"] == "error"]) >= 2
    checked = (await http.post("/api/validate", json=body)).json()
    assert checked["valid"] is False
    assert checked["problems"] == answer.json()["problems"]
    assert (await http.post("/api/validate", json=graph(node("a", "Say")))).json() == {"valid": True, "problems": []}


async def test_malformed_json_is_answered_with_its_position(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/prompt", content=b'{"nodes": [,]}')
    assert answer.status_code == 400
    assert "line 1, column" in answer.json()["error"]


async def test_unknown_run_is_404_everywhere(http: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/api/prompt/nope"),
        ("GET", "/api/history/nope"),
        ("GET", "/api/prompt/nope/events"),
        ("GET", "/api/prompt/nope/outputs/a/b"),
        ("DELETE", "/api/interrupt/nope"),
    ):
        answer = await http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found"), path


async def test_interrupt_stops_a_running_node_and_says_so(http: httpx.AsyncClient) -> None:
    body = graph(node("a", "Hold"), node("b", "Say"), edge("a", "b"), outputs={"out": ("b", "text")})
    run_id = (await http.post("/api/prompt", json=body)).json()["promptId"]
    await until_node(http, run_id, "a", "running")
    running = (await http.get("/api/executions")).json()["running"]
    assert run_id in {item["promptId"] for item in running}
    first = await http.delete(f"/api/interrupt/{run_id}")
    assert first.json()["success"] is True
    result = await until_status(http, run_id, "interrupted")
    assert {path: entry["status"] for path, entry in result["nodeStatus"].items()} == {
        "a": "interrupted",
        "b": "interrupted",
    }
    late = await http.post(f"/api/interrupt/{run_id}")
    assert (late.status_code, late.json()["success"], late.json()["code"]) == (409, False, "run_not_active")


async def test_history_pages_newest_first_and_filters(http: httpx.AsyncClient) -> None:
    ids = [(await run(http, graph(node("a", kind))))["promptId"] for kind in ("Say", "Fail", "Say")]
    seen: list[str] = []
    cursor: Any = None
    while len(seen) < 3:
        params = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = (await http.get("/api/history", params=params)).json()
        seen += [item["promptId"] for item in page["history"]]
        cursor = page["nextCursor"]
    assert seen[:3] == ids[::-1]
    failed = (await http.get("/api/history", params={"status": "error", "limit": 1})).json()
    assert [item["promptId"] for item in failed["history"]] == [ids[1]]
    assert (await http.get("/api/history", params={"limit": 0})).status_code == 400


async def test_warnings_come_with_the_acceptance(http: httpx.AsyncClient) -> None:
    dangling = graph(node("a", "Say"), edge("gone", "a"))
    accepted = (await http.post("/api/prompt", json={**dangling, "inputs": {"zzz": 1}})).json()
    assert {item["code"] for item in accepted["warnings"]} >= {"unknown_input"}
    assert len(accepted["warnings"]) == 2


async def test_secret_is_kept_out_of_everything_a_client_can_read(http: httpx.AsyncClient) -> None:
    canary = "canary-5f2c9e-key"
    result = await run(http, graph(node("a", "KeyLength", api_key=canary), outputs={"n": ("a", "length")}))
    assert result["nodeStatus"]["a"]["output"] == {"length": len(canary)}
    for path in ("", "/events"):
        assert canary not in (await http.get(f"/api/prompt/{result['promptId']}{path}")).text


async def until_node(http: httpx.AsyncClient, run_id: str, path: str, status: str) -> None:
    async with asyncio.timeout(30):
        while True:
            nodes = (await http.get(f"/api/prompt/{run_id}")).json()["nodeStatus"]
            if nodes.get(path, {}).get("status") == status:
                return
            await asyncio.sleep(0.02)


async def until_status(http: httpx.AsyncClient, run_id: str, status: str) -> Json:
    async with asyncio.timeout(30):
        while True:
            answer: Json = (await http.get(f"/api/prompt/{run_id}")).json()
            if answer["status"] == status:
                return answer
            await asyncio.sleep(0.02)


async def test_cursor_beyond_what_a_number_can_be_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/history", params={"cursor": str(10**23)})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_answers_do_not_repeat_a_book(http: httpx.AsyncClient) -> None:
    for path in ("/api/prompt/{}", "/api/prompt/{}/events", "/api/nodes/{}", "/api/interrupt/{}", "/{}"):
        answer = await http.request("POST" if "interrupt" in path else "GET", path.format("x" * 20_000))
        assert answer.status_code == 404
        assert len(answer.text) < 1000


async def test_malformed_json_is_one_sentence_with_its_place(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/prompt", content=b'{"nodes": [,]}')
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("this is not JSON: ")
    assert "line 1, column 12" in answer.json()["error"]
