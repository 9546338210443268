"""The catalogue, stored workflows, health and metrics over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson


async def test_nodes_are_listed_without_paths_of_the_server(shared: Any, http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/nodes")
    types = {node["fullType"] for node in answer.json()}
    assert {"core:TextMerge", "toys:Say"} <= types
    assert str(Path(__file__).parent) not in answer.text
    one = (await http.get("/api/nodes/toys:Say")).json()
    assert one["inputs"]["text"]["config"] == {"default": "hi"}
    unknown = await http.get("/api/nodes/toys:Nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_node_type")


async def test_broken_plugin_is_reported_with_file_and_reason(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/plugins")
    plugins = {plugin["name"]: plugin for plugin in answer.json()}
    assert plugins["toys"]["loaded"] is True
    assert plugins["broken"]["loaded"] is False
    assert plugins["broken"]["file"].endswith("bad.py")
    assert "cannot be imported" in plugins["broken"]["reason"]
    assert str(Path(__file__).parent) not in answer.text


async def test_stored_workflow_is_found_by_the_id_inside_and_runs_with_inputs(
    shared: Any, http: httpx.AsyncClient
) -> None:
    document = {
        "id": "wf-1",
        "name": "Greeter",
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "say", "type": "toys:Shout"},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "e1", "source": "in", "sourceHandle": "who", "target": "say", "targetHandle": "text"},
            {"id": "e2", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "line"},
        ],
        "interfaceInputs": {"who": {"key": "who", "dataFlowType": "STRING", "config": {"default": "ada"}}},
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
    }  # fmt: skip
    folder = shared.data / "shared" / "library" / "workflows"
    (folder / "any name.json").write_bytes(orjson.dumps(document))
    (folder / "broken.json").write_text("{")
    listed = (await http.get("/api/workflows")).json()
    assert ("wf-1", "Greeter") in [(item["id"], item["name"]) for item in listed]
    assert (await http.get("/api/workflows/wf-1")).json() == document
    body = {"workflowId": "wf-1", "inputs": {"who": "grace"}, "wait": 10}
    result = (await http.post("/api/prompt", json=body)).json()
    assert result["outputs"] == {"line": "GRACE"}
    assert (result["workflowId"], result["workflowName"]) == ("wf-1", "Greeter")
    (folder / "copy.json").write_bytes(orjson.dumps(document))
    double = await http.post("/api/prompt", json=body)
    assert (double.status_code, double.json()["code"]) == (409, "duplicate_workflow_id")
    assert "'any name.json' and 'copy.json' have the same id 'wf-1'" in double.json()["error"]
    assert (await http.get("/api/workflows/wf-1")).json()["code"] == "duplicate_workflow_id"
    group = {
        "nodes": [{"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "wf-1"}}],
        "edges": [],
    }
    problems = (await http.post("/api/validate", json=group)).json()["problems"]
    assert any("'copy.json'" in problem["message"] for problem in problems)
    (folder / "copy.json").unlink()
    assert (await http.post("/api/prompt", json=body)).status_code == 200
    missing = await http.post("/api/prompt", json={"workflowId": "../wf-1"})
    assert (missing.status_code, missing.json()["code"]) == (404, "workflow_not_found")


async def test_ready_gateway_says_so_and_counts(http: httpx.AsyncClient) -> None:
    ready = (await http.get("/readyz")).json()
    assert ready == {"ready": True, "checks": {"log": "ok", "temporal": "ok", "workers": "ok"}, "workers": 1}
    metrics = (await http.get("/metrics")).text
    assert "innkeeper_workers_connected 1" in metrics
    assert "innkeeper_temporal_reachable 1" in metrics
    assert (await http.get("/openapi.json")).json()["info"]["title"] == "Innkeeper"
