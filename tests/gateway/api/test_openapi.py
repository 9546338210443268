"""The OpenAPI document: whole, valid, true of every answer of a real gateway, and enough to generate a client from."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import pkgutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import openapi_python_client
import pytest
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from temporalio.client import Client

from innkeeper.gateway.api.openapi import EXAMPLES, document_bytes, model_types, schemas
from innkeeper.gateway.app import create_app
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.workflows.document.model import parse_document
from tests.gateway.api.test_control import asking, until, until_open
from tests.gateway.api.test_prompts import edge, graph, node
from tests.gateway.conftest import Stack
from tests.gateway.contract import JSON, Contract, document, operations
from tests.gateway.realtime.talking import hear, hear_run, say, socket_to
from tests.gateway.triggers.senders import send

Json = dict[str, Any]
WRITE_EXAMPLES = os.environ.get("WRITE_EXAMPLES") == "1"
"""Write `gateway/api/examples.json` anew from what the gateway answers now."""
EXAMPLE_GRAPHS = Path(__file__).parents[3] / "examples"
SHOWN_ITEMS = 2
OPERATION_IDS = """
    answer_approval broadcast_event collect_garbage create_channel create_chat_completion create_folder create_model
    create_project create_project_workflow create_socket_ticket create_trigger create_workflow delete_channel
    delete_file delete_files delete_interrupt delete_model delete_project delete_project_workflow delete_run
    delete_trigger delete_workflow diff_workflow disable_trigger discover_models download_file enable_trigger
    get_approval_data get_avatar get_character_image get_client_script get_current_user get_file get_history_run
    get_input_value get_node_inputs get_node_type get_plugin_file get_plugin_settings get_project
    get_project_workflow get_run get_run_document get_run_output
    get_system_stats get_trigger get_usage get_version get_workflow get_workflow_schema head_file healthz
    interrupt_run list_active_runs list_channel_models list_channels list_characters list_credentials
    list_demo_models list_files list_folder list_history list_models list_node_types list_open_approvals
    list_plugins list_project_workflows list_projects list_providers list_run_approvals list_runs list_service_keys
    list_trigger_results list_triggers list_versions list_workflows metrics move_files pause_run post_interrupt
    post_run_event post_webhook preview_trigger publish_workflow put_channel put_file put_model put_project
    put_project_workflow put_trigger put_webhook put_workflow read_file readyz reload_nodes reload_plugins
    rename_file rename_user resend_callback restore_workflow resume_run rotate_trigger_token save_plugin_settings
    set_plugin_state stream_run_events submit_run try_trigger unpublish_workflow upload_avatar upload_files
    validate_workflow write_json_file
"""


WEBHOOKS = {"post_webhook", "put_webhook"}


# --- the document -------------------------------------------------------------------------------------------------


def test_document_is_valid_openapi() -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_ids_of_operations_are_those_that_clients_were_generated_with() -> None:
    """A renamed function renames a function of every generated client."""
    assert sorted(operations()) == sorted(OPERATION_IDS.split())


@pytest.mark.parametrize("operation", operations().values(), ids=operations().keys())
def test_every_operation_says_what_it_takes_and_gives(operation: Json) -> None:
    assert operation["summary"]
    assert operation["tags"]
    assert all(parameter["description"] for parameter in operation.get("parameters", ()))
    responses = operation["responses"]
    assert any(status.startswith("2") for status in responses)
    for status, response in responses.items():
        assert response["description"]
        is_empty = status in ("204", "304") or operation["operationId"].startswith("head_")
        contents = list(response.get("content", {}).values())
        assert is_empty != bool(contents), status
        assert all(content["schema"] for content in contents), status
    assert {"403", "500"} <= responses.keys()
    assert ("401" in responses) == (operation["operationId"] != "healthz")


def test_every_type_is_used() -> None:
    text = json.dumps(document())
    unused = [model.__name__ for model in model_types() if f'#/components/schemas/{model.__name__}"' not in text]
    assert unused == []


async def test_document_is_made_once_and_sent_as_it_is() -> None:
    app = create_app(Settings()).routes
    first = await document_bytes(app)
    assert await document_bytes(app) is first
    assert json.loads(first) == document()


def test_no_type_is_built_before_somebody_asks_for_the_document() -> None:
    """Building them takes hundreds of milliseconds, which no start of a gateway needs."""
    schemas.cache_clear()
    create_app(Settings())
    assert schemas.cache_info().currsize == 0


# --- the document and the truth -----------------------------------------------------------------------------------


@pytest.fixture
async def told(shared: Stack) -> AsyncIterator[tuple[httpx.AsyncClient, Contract]]:
    """A client whose answers are checked and remembered by a contract of the test's own."""
    own = Contract(document())
    async with shared.http(event_hooks={"response": [own.check]}) as client:
        yield client, own


async def test_every_operation_answers_as_declared(told: tuple[httpx.AsyncClient, Contract], shared: Stack) -> None:
    http, contract = told
    async with asyncio.timeout(100):
        await play_health(http)
        await play_catalogue(http)
        await play_workflows(http, shared.data)
        await play_runs(http)
        await play_usage(http, shared)
        await play_socket(http, shared.ws_url)
        await play_repetitions(http, shared.data)
        await play_control(http)
        await play_long_waits(http)
        await play_triggers(http)
        await play_webhooks(http)
        await play_callbacks(http)
        await play_events(http, contract)
        await play_triggers_of_events(http, shared)
        await play_files(http)
        await play_file_manager(http)
        await play_user(http, shared.data)
        await play_characters(http, shared.data)
        await play_demo(http)
    succeeded = {operation for operation, status in contract.seen if status < 300}
    assert operations().keys() - succeeded == set()
    assert COMMON_ERRORS - contract.seen == set()
    unseen = sorted(unseen_fields(contract) - RARE)
    assert not unseen, f"no answer had {unseen}"
    if WRITE_EXAMPLES:
        EXAMPLES.write_text(json.dumps(shortened(contract.bodies), indent=1, ensure_ascii=False) + "\n")


async def test_common_refusals_are_declared_everywhere(temporal: Client, tmp_path: Path) -> None:
    contract = Contract(document())
    stack = Stack(temporal, tmp_path, {"access_token": "t", "max_body_bytes": 2048, "max_file_bytes": 2048})
    hooks = {"response": [contract.check]}
    ids = {
        "run": "x",
        "place": "a/b",
        "approval": "a",
        "scheme": "user",
        "path": "a.js",
        "name": "p",
        "full_type": "a:b",
        "number": 1,
        "model": "m",
    }
    async with stack.gateway(), stack.http(event_hooks=hooks) as http:
        for path, item in document()["paths"].items():
            for method in item:
                more = {"trigger_id": "t", "token": "unknown"}
                url = path.format(**ids, **more, namespace="a", type="b", workflow_id="w", project_id="p", channel="c")
                for headers in ({}, {"Origin": "https://elsewhere.example"}):
                    await http.request(method, url, headers=headers)
        bearer = {"Authorization": "Bearer t"}
        assert (await http.get("/readyz", headers=bearer)).status_code == 503
        large = b"{" + b" " * 4096
        for url in ("/api/prompt", "/api/validate", "/api/events", "/api/prompt/x/events", "/api/workflows"):
            assert (await http.post(url, content=large, headers=bearer)).status_code == 413
        assert (await http.put("/api/files/user/a", content=large, headers=bearer)).status_code == 413
    stack.close()
    for operation in operations().keys() - WEBHOOKS:
        assert (operation, 403) in contract.seen
        assert (operation, 200 if operation == "healthz" else 401) in contract.seen
    # Strangers come to them, and an unknown token is told as such.
    assert {(operation, status) for operation, status in contract.seen if operation in WEBHOOKS} == {
        (operation, 404) for operation in WEBHOOKS
    }


async def test_without_temporal_the_declared_503_comes(temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path)
    stack.settings = Settings(**{**stack.settings.__dict__, "temporal_address": "127.0.0.1:1"})
    contract = Contract(document())
    async with stack.gateway(), stack.http(event_hooks={"response": [contract.check]}) as http:
        for url, body in (("/api/prompt", graph(node("a", "Say"))), ("/api/events", {"name": "x"})):
            answer = await http.post(url, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
    stack.close()


@pytest.mark.skipif(WRITE_EXAMPLES, reason="the document of this process has the old ones")
@pytest.mark.parametrize("operation", operations().values(), ids=operations().keys())
def test_examples_fit_their_schemas(operation: Json) -> None:
    contract = Contract(document())
    parts = {**operation["responses"], "request": operation.get("requestBody", {})}
    for place, example in json.loads(EXAMPLES.read_text()).get(operation["operationId"], {}).items():
        content = parts[place]["content"][JSON]
        assert content["example"] == example
        contract.validate(f"{operation['operationId']} {place}", content["schema"], example)


def test_every_operation_with_json_has_an_example() -> None:
    lacking = [
        (name, status)
        for name, operation in operations().items()
        for status, part in [*operation["responses"].items(), ("request", operation.get("requestBody", {}))]
        for content in part.get("content", {}).keys() & {JSON}
        if status[0] in "2r" and len(part["content"]) == 1 and "example" not in part["content"][content]
    ]
    assert lacking == []


# --- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(EXAMPLE_GRAPHS.glob("*.json")), ids=lambda file: file.name)
def test_example_graphs_are_run_requests(file: Path) -> None:
    body = json.loads(file.read_text())
    if "nodes" in body:
        Contract(document()).validate(file.name, {"$ref": "#/components/schemas/RunRequest"}, body)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (name, field)
        for name in ("Workflow", "WorkflowNode", "WorkflowEdge", "InterfaceSlot", "InterfaceMapping")
        for field in document()["components"]["schemas"][name]["properties"]
        if (name, field) not in {("Workflow", "description"), ("InterfaceSlot", "key")}
    ],
)
def test_described_field_of_a_document_is_one_that_is_read(kind: str, field: str) -> None:
    """What is no value for any field is refused where it is read, and only there."""
    wrong = {field: [[1]]}
    body: Json = {
        "nodes": [{"id": "a", "type": "toys:Say"}],
        "edges": [{"source": "a", "target": "a"}],
        "interfaceInputs": {"i": {"dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"o": {"sourceNodeId": "a", "sourceSlotKey": "text"}},
    }
    place = {
        "Workflow": body,
        "WorkflowNode": body["nodes"][0],
        "WorkflowEdge": body["edges"][0],
        "InterfaceSlot": body["interfaceInputs"]["i"],
        "InterfaceMapping": body["outputInterfaceMappings"]["o"],
    }[kind]
    parse_document(body)
    place.update(wrong)
    with pytest.raises(InvalidWorkflow):
        parse_document(body)


@pytest.mark.parametrize(
    "field",
    sorted(
        document()["components"]["schemas"]["RunRequest"]["properties"].keys()
        - document()["components"]["schemas"]["Workflow"]["properties"].keys()
        - {"requestId"}
    ),
)
async def test_described_field_of_a_submission_is_one_that_is_read(http: httpx.AsyncClient, field: str) -> None:
    await gives(http, 400, "POST", "/api/prompt", json={**graph(node("a", "Say")), field: [[1]]})


# --- the scenes ---------------------------------------------------------------------------------------------------


COMMON_ERRORS = {
    *((name, 400) for name in ("submit_run", "list_history", "list_run_approvals", "list_open_approvals")),
    *((name, 400) for name in ("answer_approval", "post_run_event", "broadcast_event", "stream_run_events")),
    *((name, 400) for name in ("validate_workflow", "list_files", "get_file", "put_file", "get_client_script")),
    *((name, 400) for name in ("collect_garbage", "create_chat_completion")),
    *((name, 403) for name in ("get_file", "put_file", "delete_file", "get_client_script")),
    *((name, 404) for name in ("submit_run", "get_run", "get_run_output", "get_history_run", "delete_run")),
    *((name, 404) for name in ("interrupt_run", "post_interrupt", "delete_interrupt", "pause_run", "resume_run")),
    *((name, 404) for name in ("list_run_approvals", "get_approval_data", "answer_approval", "post_run_event")),
    *((name, 404) for name in ("stream_run_events", "get_node_type", "get_client_script", "get_workflow")),
    *((name, 404) for name in ("validate_workflow", "list_files", "get_file", "head_file", "put_file", "delete_file")),
    ("create_chat_completion", 404),
    ("get_usage", 400),
    *(("resend_callback", status) for status in (400, 404)),
    *((name, 400) for name in ("list_folder", "create_folder", "upload_files", "write_json_file", "rename_file")),
    *((name, 400) for name in ("move_files", "delete_files", "rename_user", "upload_avatar")),
    *((name, 403) for name in ("list_folder", "read_file", "download_file", "upload_files", "get_character_image")),
    *((name, 404) for name in ("read_file", "rename_file", "move_files", "delete_files", "get_avatar")),
    *((name, 404) for name in ("list_channel_models", "get_character_image")),
    *((name, 409) for name in ("list_folder", "create_folder", "rename_file", "move_files")),
    *((name, 409) for name in ("list_channels", "list_models")),
    *((name, 409) for name in ("delete_run", "interrupt_run", "post_interrupt", "delete_interrupt", "pause_run")),
    *((name, 409) for name in ("resume_run", "answer_approval", "post_run_event", "stream_run_events", "put_file")),
    *((name, 412) for name in ("put_file", "delete_file")),
    *((name, 413) for name in ("answer_approval", "post_run_event", "broadcast_event", "create_chat_completion")),
    ("get_file", 416),
    *((name, 400) for name in ("set_plugin_state", "save_plugin_settings", "get_plugin_file")),
    *((name, 404) for name in ("set_plugin_state", "save_plugin_settings", "get_plugin_settings", "get_plugin_file")),
    ("save_plugin_settings", 422),
    *((name, 422) for name in ("submit_run", "answer_approval", "validate_workflow")),
    *((name, 400) for name in ("list_triggers", "create_trigger", "put_trigger", "disable_trigger", "try_trigger")),
    *((name, 400) for name in ("list_trigger_results", "post_webhook")),
    *((name, 404) for name in ("get_trigger", "put_trigger", "delete_trigger", "enable_trigger", "disable_trigger")),
    *((name, 404) for name in ("try_trigger", "list_trigger_results", "preview_trigger", "rotate_trigger_token")),
    *((name, 409) for name in ("create_trigger", "put_trigger", "preview_trigger", "rotate_trigger_token")),
    *((name, 412) for name in ("put_trigger", "delete_trigger")),
    *((name, 422) for name in ("create_trigger", "put_trigger", "enable_trigger", "post_webhook")),
    *((name, 428) for name in ("put_trigger", "delete_trigger")),
    *(("post_webhook", status) for status in (202, 401, 403, 404, 409, 413, 415, 429)),
}
RARE = {
    # Temporal goes away in the middle
    *((name, field) for name in ("EventBroadcast", "EventResult") for field in ("missed", "pending")),
    ("EventResult", "details"),
    ("InterruptRefused", "details"),
    ("NodeState", "cached"),  # the worker of these tests keeps no results; tests/e2e/test_rerun.py has it
    *((name, "differs") for name in ("Run", "SubmittedRun")),  # a worker dies with events that nobody else has
    ("SubmittedRun", "openApprovals"),  # a matter of moments
    ("NodeState", "textCut"),  # tests/gateway/api/test_run_details.py
    *((name, "hideHandle") for name in ("InputSlot", "OutputSlot")),  # no node type here has these
    ("NodeType", "isUiNode"),
    # tests/gateway/runs/test_termination.py
    *((name, "stuck") for name in ("Run", "RunListItem", "RunSummary", "SubmittedRun")),
    *(("StuckRun", name) for name in ("code", "message", "since")),
    *(("SubmittedRun", field) for field in ("trigger", "labels")),  # who submits is no trigger
    ("Plugin", "warnings"),
    ("SavedWorkflow", "deletedAt"),  # only of what is in the bin
    *(("PluginOption", name) for name in ("category", "categoryKey", "storeName", "buttonText", "disabled")),
    ("PluginRefused", "details"),
    *(("CallbackDelivery", name) for name in ("deliveredAt", "nextAttemptAt", "lastStatus")),  # nobody listens here
}
"""Fields that the scenes below do not bring about."""


def unseen_fields(contract: Contract) -> set[tuple[str, str]]:
    """Fields of answers that no answer had: misspelled, gone, or not asked for. Documents of users do not count."""
    schemas = document()["components"]["schemas"]
    texts = json.dumps([operation["responses"] for operation in operations().values()])
    reached: set[str] = set()
    waiting = {name for name in schemas if f'schemas/{name}"' in texts}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        inner = json.dumps(schemas[name])
        waiting |= {other for other in schemas if f'schemas/{other}"' in inner} - reached
    ours = {name for name in reached if schemas[name].get("additionalProperties") is False}
    declared = {(name, field) for name in ours for field in schemas[name]["properties"]}
    return declared - contract.fields


def shortened(bodies: dict[str, Json]) -> dict[str, Json]:
    """Examples without the long tail of lists."""
    return {
        operation: {
            status: body[:SHOWN_ITEMS] if isinstance(body, list) else body for status, body in sorted(found.items())
        }
        for operation, found in sorted(bodies.items())
    }


async def gives(http: httpx.AsyncClient, status: int, method: str, url: str, **more: Any) -> Any:
    """Send a request and expect a status; gives the JSON of the answer, or None."""
    response = await http.request(method, url, **more)
    assert response.status_code == status, f"{method} {url}: {response.status_code} {response.text[:300]}"
    return response.json() if response.headers.get("content-type") == JSON and response.content else None


async def start(http: httpx.AsyncClient, body: Json, **more: Any) -> str:
    return str((await gives(http, 200, "POST", "/api/prompt", json=body, **more))["promptId"])


async def play_health(http: httpx.AsyncClient) -> None:
    for url in ("/healthz", "/readyz", "/metrics", "/api/system_stats"):
        await gives(http, 200, "GET", url)
    assert await gives(http, 200, "GET", "/openapi.json") == document()
    await gives(http, 200, "POST", "/api/ws-ticket")
    await gives(http, 200, "POST", "/api/gc?dryRun=true")
    await gives(http, 400, "POST", "/api/gc?dryRun=perhaps")


PRICES = """
prices:
  - {model: dollars, input: 1, output: 2}
  - {model: euros, perRequest: 0.25, currency: EUR}
  - {model: typo, input: 1, output: two}
"""


async def play_usage(http: httpx.AsyncClient, stack: Stack) -> None:
    (stack.data / "prices.yaml").write_text(PRICES)
    budget = {"tokens": 1_000_000, "money": 5}
    run = await gives(http, 200, "POST", "/api/prompt", json={**graph(node("a", "Say")), "budget": budget, "wait": 20})
    assert run["usage"] == {**run["usage"], "calls": 0, "cost": 0, "budget": {"scope": "run", **budget}}
    origin = CallOrigin(run["promptId"], "a", 1, stack.settings.user)
    for model in ("dollars", "euros", "typo", "typo"):
        id = f"scene-{model}-{time.time_ns()}"
        ask = CallStart(id, origin, "main", "models.example:443", "openai", model, input_tokens=10, output_tokens=20)
        assert await stack.container.ledger.reserve(ask) is None
        usage = {"prompt_tokens": 1_000, "completion_tokens": 500}
        await stack.container.ledger.settle(CallEnd(id, "ok", model=model, usage=usage, first_ms=80, whole_ms=900))
    shown = await gives(http, 200, "GET", f"/api/prompt/{run['promptId']}")
    usage = shown["usage"]
    assert (usage["calls"], usage["totalTokens"], usage["cost"], usage["unknownCost"]) == (4, 6_000, 0.002, 2)
    assert (usage["budgetBlind"], usage["otherCosts"]) == (True, {"EUR": 0.25})
    assert shown["nodeStatus"]["a"]["usage"]["cost"] == 0.002
    asked = {"groupBy": "model", "run": run["promptId"], "from": "2020-01-01", "limit": 2}
    last = await gives(http, 200, "GET", "/api/usage", params={**asked, "cursor": 2})
    assert [(row["key"], row["otherCosts"], row["cost"]) for row in last["groups"]] == [("euros", {"EUR": 0.25}, 0)]
    page = await gives(http, 200, "GET", "/api/usage", params=asked)
    assert [(row["key"], row["cost"]) for row in page["groups"]] == [("dollars", 0.002), ("typo", None)]
    assert (page["nextCursor"], page["total"]["calls"], page["priceProblems"][0]["line"]) == (2, 4, 5)
    await gives(http, 400, "GET", "/api/usage?from=yesterday")
    listed = (await gives(http, 200, "GET", "/api/runs", params={"q": run["promptId"]}))["runs"]
    assert [(item["cost"], item["currency"]) for item in listed] == [(0.002, "USD")]
    (stack.data / "prices.yaml").unlink()


async def play_plugins(http: httpx.AsyncClient) -> None:
    state, settings, script = "/api/plugins/toys/state", "/api/plugins/toys/settings", "/plugins/toys/web/toys.js"
    await gives(http, 200, "POST", "/api/nodes/reload")
    await gives(http, 200, "POST", "/api/plugins/reload")
    await gives(http, 200, "PUT", state, json={"enabled": False})
    await gives(http, 200, "PUT", state, json={"enabled": True})
    await gives(http, 400, "PUT", state, json={"enabled": 1})
    await gives(http, 404, "PUT", "/api/plugins/nobody/state", json={"enabled": True})
    await gives(http, 200, "GET", settings)
    await gives(http, 404, "GET", "/api/plugins/nobody/settings")
    await gives(http, 200, "POST", settings, json={"size": 3})
    await gives(http, 400, "POST", settings, content=b"[]")
    await gives(http, 404, "POST", "/api/plugins/nobody/settings", json={})
    await gives(http, 422, "POST", settings, json={"size": 10})
    await gives(http, 200, "GET", script)
    for status, part in ((206, "bytes=0-3"), (416, "bytes=99999999-"), (400, "lines=1")):
        await gives(http, status, "GET", script, headers={"Range": part})
    await gives(http, 404, "GET", "/plugins/toys/web/nothing.js")


async def play_catalogue(http: httpx.AsyncClient) -> None:
    await gives(http, 200, "GET", "/api/nodes")
    await gives(http, 200, "GET", "/api/nodes/toys:Say")
    await gives(http, 404, "GET", "/api/nodes/toys:Nothing")
    await gives(http, 200, "GET", "/api/plugins")
    await play_plugins(http)
    await gives(http, 200, "GET", "/api/workflow.schema.json")
    scripts = "/api/nodes/core/RandomNumber/client-script"
    await gives(http, 200, "GET", f"{scripts}/client-scripts/RandomNumberNode.js")
    for status, part in ((206, "bytes=0-3"), (416, "bytes=99999999-"), (400, "lines=1")):
        headers = {"Range": part}
        await gives(http, status, "GET", f"{scripts}/client-scripts/RandomNumberNode.js", headers=headers)
    for status, path in ((400, "x.txt"), (403, "x.js"), (404, "client-scripts/x.js")):
        await gives(http, status, "GET", f"{scripts}/{path}")


GREETER = {
    "id": "greeter",
    "name": "Greeter",
    "description": "Says a name aloud.",
    "nodes": [
        {"id": "in", "type": "core:GroupInput"},
        {"id": "say", "type": "toys:Shout", "inputValues": {"times": 2}},
        {"id": "out", "type": "core:GroupOutput"},
    ],
    "edges": [
        {"id": "e1", "source": "in", "sourceHandle": "who", "target": "say", "targetHandle": "text"},
        {"id": "e2", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "line"},
    ],
    "interfaceInputs": {"who": {"key": "who", "dataFlowType": "STRING", "config": {"default": "ada"}}},
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "STRING"}},
}  # fmt: skip


def save(data: Path, workflow: Json) -> None:
    folder = data / "shared" / "library" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{workflow['id']}.json").write_text(json.dumps(workflow))


async def play_workflows(http: httpx.AsyncClient, data: Path) -> None:
    save(data, GREETER)
    await gives(http, 200, "GET", "/api/workflows")
    assert await gives(http, 200, "GET", "/api/workflows/greeter") == GREETER
    await gives(http, 404, "GET", "/api/workflows/nobody")
    await play_library(http)
    await play_projects(http)
    broken = graph(node("a", "Nothing"), node("b", "Say"), edge("b", "b"))
    assert (await gives(http, 200, "POST", "/api/validate", json=broken))["valid"] is False
    assert (await gives(http, 200, "POST", "/api/validate", json=graph(node("a", "Say"))))["valid"] is True
    await gives(http, 400, "POST", "/api/validate", content=b"{")
    await gives(http, 422, "POST", "/api/validate", content=b"[" * 900 + b"]" * 900)
    await gives(http, 404, "POST", "/api/validate", json={"workflowId": "nobody"})


MORE = {
    **{"key": "more", "dataFlowType": "STRING", "displayName": "More", "customDescription": "Of it."},
    **{"required": False, "isStream": False, "multi": False},
}
OTHER = {
    **{**GREETER, "id": "other", "name": "Other", "tags": ["polite"]},
    "interfaceInputs": {**GREETER["interfaceInputs"], "more": MORE},  # type: ignore[dict-item]
}
UNSOUND = {**OTHER, "nodes": [{"id": "x", "type": "no:Such"}], "edges": []}
OTHER_URL = "/api/workflows/other"
ANY = {"If-Match": "*"}


async def play_library(http: httpx.AsyncClient) -> None:
    made = await gives(http, 201, "POST", "/api/workflows", json=OTHER, params={"note": "first"})
    seen = {"If-Match": made["etag"]}
    assert (made["version"], made["published"], made["valid"], made["tags"]) == (1, None, True, ["polite"])
    await gives(http, 409, "POST", "/api/workflows", json=OTHER)
    await gives(http, 409, "POST", "/api/workflows", json={**OTHER, "id": "more"})
    await gives(http, 400, "POST", "/api/workflows", json={"name": "x"})
    await gives(http, 404, "POST", "/api/workflows", json=OTHER, params={"project": "nowhere"})
    await gives(http, 428, "PUT", OTHER_URL, json=OTHER)
    assert not (await gives(http, 200, "PUT", OTHER_URL, json=OTHER, headers=seen))["isNewVersion"]
    saved = await gives(http, 200, "PUT", OTHER_URL, json=UNSOUND, headers=seen)
    assert (saved["version"], saved["valid"], saved["problems"][0]["code"]) == (2, False, "unknown_node_type")
    told = await gives(http, 412, "PUT", OTHER_URL, json=OTHER, headers=seen)
    assert (told["details"]["yours"]["version"], told["details"]["current"]["version"]) == (1, 2)
    await gives(http, 400, "PUT", OTHER_URL, json={**OTHER, "id": "elsewhere"}, headers=ANY)
    await gives(http, 404, "PUT", "/api/workflows/nobody", json=OTHER, headers=ANY)
    await play_publishing(http)
    versions = await gives(http, 200, "GET", f"{OTHER_URL}/versions")
    assert [(item["version"], item["note"], item["published"]) for item in versions] == [
        (2, "", False),
        (1, "first", False),
    ]
    assert await gives(http, 200, "GET", f"{OTHER_URL}/versions/1") == OTHER
    assert await gives(http, 200, "GET", OTHER_URL, params={"version": "1"}) == OTHER
    await gives(http, 404, "GET", f"{OTHER_URL}/versions/3")
    diff = await gives(http, 200, "GET", f"{OTHER_URL}/diff", params={"from": "1", "to": "latest"})
    assert (diff["from"], diff["to"], diff["nodes"]["added"], diff["nodes"]["removed"]) == (
        1, 2, ["x"], ["in", "say", "out"],
    )  # fmt: skip
    changed = {**OTHER, "nodes": [{**node, "displayName": "Say it"} for node in OTHER["nodes"]]}
    await gives(http, 200, "PUT", OTHER_URL, json=changed, headers=ANY)
    diff = await gives(http, 200, "GET", f"{OTHER_URL}/diff", params={"from": "1", "to": "3"})
    assert diff["nodes"]["changed"][0] == {"id": "in", "changes": {"displayName": {"from": None, "to": "Say it"}}}
    await gives(http, 404, "GET", f"{OTHER_URL}/diff")
    await gives(http, 400, "GET", OTHER_URL, params={"version": "first"})
    await gives(http, 428, "DELETE", OTHER_URL)
    await gives(http, 412, "DELETE", OTHER_URL, headers=seen)
    await gives(http, 204, "DELETE", OTHER_URL, headers=ANY)
    await gives(http, 404, "GET", OTHER_URL)
    assert [item["id"] for item in await gives(http, 200, "GET", "/api/workflows?deleted=true")] == ["other"]
    await gives(http, 200, "POST", f"{OTHER_URL}/restore")
    await gives(http, 404, "POST", f"{OTHER_URL}/restore")
    await play_following(http)


async def play_following(http: httpx.AsyncClient) -> None:
    group = {"id": "g", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": "other"}}
    user = {"id": "user", "name": "user", "nodes": [group], "edges": []}
    await gives(http, 201, "POST", "/api/workflows", json=user)
    inputs = {key: {**slot, "required": True} for key, slot in OTHER["interfaceInputs"].items()}
    inputs |= {"asked": {"key": "asked", "dataFlowType": "STRING", "required": True}}
    saved = await gives(http, 200, "PUT", OTHER_URL, json={**OTHER, "interfaceInputs": inputs}, headers=ANY)
    assert (saved["updateCount"], saved["updates"]) == (1, [{"id": "user", "projectId": "default", "name": "user"}])
    async with asyncio.timeout(20):
        while "reason" not in (await gives(http, 200, "PUT", "/api/workflows/user", json=user, headers=ANY)):
            await asyncio.sleep(0.05)


async def play_publishing(http: httpx.AsyncClient) -> None:
    await gives(http, 428, "POST", f"{OTHER_URL}/publish")
    refused = await gives(http, 422, "POST", f"{OTHER_URL}/publish", headers=ANY)
    assert refused["problems"][0]["code"] == "unknown_node_type"
    assert (await gives(http, 200, "POST", f"{OTHER_URL}/publish", json={"version": 1}, headers=ANY))["published"] == 1
    await gives(http, 400, "POST", f"{OTHER_URL}/publish", json={"version": "x"}, headers=ANY)
    await gives(http, 404, "POST", f"{OTHER_URL}/publish", json={"version": 9}, headers=ANY)
    run = await gives(http, 200, "POST", "/api/prompt", json={"workflowId": "other", "wait": 20})
    assert (run["status"], run["workflowVersion"], run["projectId"]) == ("complete", 1, "default")
    assert (await gives(http, 200, "DELETE", f"{OTHER_URL}/publish", headers=ANY))["published"] is None


async def play_projects(http: httpx.AsyncClient) -> None:
    await gives(http, 201, "POST", "/api/projects", json={"name": "A tale", "description": "of two"})
    await gives(http, 409, "POST", "/api/projects", json={"name": "A tale"})
    await gives(http, 400, "POST", "/api/projects", json={"name": ""})
    await gives(http, 200, "GET", "/api/projects")
    url = "/api/projects/A_tale"
    assert (await gives(http, 200, "GET", f"{url}/metadata"))["description"] == "of two"
    await gives(http, 200, "PUT", url, json={"description": "of three", "preferredView": "custom"})
    await gives(http, 409, "DELETE", "/api/projects/default")
    for method, path in (("GET", "x/metadata"), ("PUT", "x"), ("DELETE", "x"), ("GET", "x/workflows")):
        await gives(http, 404, method, f"/api/projects/{path}", json={} if method == "PUT" else None)
    saved = {**GREETER, "id": "w", "referencedWorkflows": ["greeter"], "custom": 1}
    await gives(http, 201, "POST", f"{url}/workflows", json=saved)
    await gives(http, 409, "POST", f"{url}/workflows", json=saved)
    await gives(http, 200, "GET", f"{url}/workflows")
    await gives(http, 200, "GET", f"{url}/workflows/w")
    changed = {key: value for key, value in saved.items() if key not in ("id", "custom")}
    assert (await gives(http, 200, "PUT", f"{url}/workflows/w", json={**changed, "name": "New"}))["custom"] == 1
    await gives(http, 412, "PUT", f"{url}/workflows/w", json=changed, headers={"If-Match": '"1.1"'})
    await gives(http, 400, "PUT", f"{url}/workflows/w", json=saved | {"id": "v"})
    await gives(http, 404, "PUT", f"{url}/workflows/v", json=changed)
    await gives(http, 204, "DELETE", f"{url}/workflows/w")
    await gives(http, 404, "GET", f"{url}/workflows/w")
    await gives(http, 204, "DELETE", url)


async def play_runs(http: httpx.AsyncClient) -> None:
    ask = {"workflowId": "greeter", "inputs": {"who": "grace"}, "wait": 20}
    first = await gives(http, 200, "POST", "/api/prompt", json=ask)
    assert first["outputs"] == {"line": "GRACEGRACE"}
    run = first["promptId"]
    assert await gives(http, 200, "GET", f"/api/prompt/{run}") == await gives(http, 200, "GET", f"/api/history/{run}")
    await play_outputs(http)
    await play_inputs(http)
    await play_reruns(http)
    await play_refused_runs(http)
    await gives(http, 200, "GET", "/api/history", params={"limit": 1})
    await gives(http, 400, "GET", "/api/history", params={"status": "lost"})
    await gives(http, 400, "GET", "/api/runs", params={"status": "lost"})
    await gives(http, 200, "GET", "/api/runs", params={"limit": 200, "previews": True})
    group = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": "greeter"}}
    held = await start(http, graph(node("a", "Hold"), group))
    await until_running(http, held)
    listed = {run["promptId"]: run for run in (await gives(http, 200, "GET", "/api/executions"))["running"]}
    assert listed[held]["workflowVersions"] == {"greeter": 1}
    await gives(http, 200, "GET", "/api/runs", params={"limit": 1})
    await gives(http, 409, "DELETE", f"/api/history/{held}")
    await gives(http, 200, "DELETE", f"/api/interrupt/{held}")
    await until(http, held, "interrupted")
    for method in ("DELETE", "POST"):
        await gives(http, 409, method, f"/api/interrupt/{held}")
        await gives(http, 404, method, "/api/interrupt/nobody")
    await gives(http, 204, "DELETE", f"/api/history/{held}")
    for method, url in (
        ("DELETE", "/api/history/nobody"),
        ("GET", "/api/history/nobody"),
        ("GET", "/api/prompt/nobody"),
    ):
        await gives(http, 404, method, url)


async def play_socket(http: httpx.AsyncClient, url: str) -> None:
    """A graph that is refused over a socket is a run with problems."""
    async with socket_to(url) as socket:
        await say(socket, "PROMPT_REQUEST", **graph(node("a", "Say"), node("a", "Say")))
        run = (await hear(socket, "PROMPT_ACCEPTED_RESPONSE"))["payload"]["promptId"]
        await hear_run(socket, run)
    await gives(http, 200, "GET", f"/api/prompt/{run}")


async def until_running(http: httpx.AsyncClient, run: str) -> None:
    while not (await gives(http, 200, "GET", f"/api/prompt/{run}"))["nodeStatus"]:
        await asyncio.sleep(0.02)


async def play_outputs(http: httpx.AsyncClient) -> None:
    body = graph(
        node("long", "Shout", text="x", times=10_000),
        node("parts", "Count", upto=3),
        node("bytes", "Picture"),
        node("bad", "Fail"),
        node("after", "Say"),
        {**node("passed", "Say"), "bypassed": True},
        edge("bad", "after"),
        outputs={"text": ("long", "text"), "stream": ("parts", "stream")},
    )
    done = await gives(http, 200, "POST", "/api/prompt", json={**body, "wait": True})
    assert done["status"] == "error"
    for place in ("parts/stream", "long/text", "bytes/image"):
        await gives(http, 200, "GET", f"/api/prompt/{done['promptId']}/outputs/{place}")
    await gives(http, 200, "GET", done["outputs"]["text"]["url"], headers={"Accept": "text/plain"})
    await gives(http, 404, "GET", f"/api/prompt/{done['promptId']}/outputs/long/nothing")
    await gives(http, 200, "GET", f"/api/prompt/{done['promptId']}")


async def play_inputs(http: httpx.AsyncClient) -> None:
    """What a run ran, and what its nodes got: from two edges, from none, from one that brought nothing, a secret."""
    merge = {"id": "merge", "fullType": "core:TextMerge"}
    body = graph(
        node("a", "Say", text="a"),
        node("bad", "Fail"),
        node("key", "KeyLength", api_key="sk-scene"),
        merge,
        {"id": "web", "fullType": "core:HttpRequest"},
        edge("a", "merge", "text", "text_inputs__0"),
        {**edge("a", "merge", "text", "text_inputs__1"), "id": "again"},
        edge("bad", "web", "text", "url"),
        node("slow", "Count", upto=1000, pause=0.01),
    )
    run = await start(http, body)
    url = f"/api/prompt/{run}"
    async with asyncio.timeout(30):
        while "text" not in (await gives(http, 200, "GET", url))["nodeStatus"].get("slow", {}):
            await asyncio.sleep(0.02)
    await gives(http, 200, "POST", f"/api/interrupt/{run}")
    await until(http, run, "interrupted", "error")
    assert len((await gives(http, 200, "GET", f"{url}/document"))["document"]["nodes"]) == 6
    await gives(http, 404, "GET", f"{url}/document", params={"path": "merge"})
    found = {
        path: (await gives(http, 200, "GET", f"{url}/inputs/{path}"))["inputs"] for path in ("merge", "web", "key")
    }
    assert [source["nodeId"] for source in found["merge"]["text_inputs"]["sources"]] == ["a", "a"]
    assert found["web"]["url"]["missing"]
    assert found["key"]["api_key"] == {"from": "value", "secret": True}
    await gives(http, 200, "GET", f"{url}/input-values/a", params={"slot": "text"})
    await gives(http, 400, "GET", f"{url}/input-values/a")
    await gives(http, 404, "GET", f"{url}/inputs/nothing")


async def play_repetitions(http: httpx.AsyncClient, data: Path) -> None:
    """One item is done, the next one holds; then an item that fails."""
    item = {"item": {"key": "item", "dataFlowType": "FLOAT"}}
    nodes = [{"id": "in", "type": "core:GroupInput"}, {"id": "n", "type": "toys:Hold"}]
    into = [{"id": "e", "source": "in", "sourceHandle": "item", "target": "n", "targetHandle": "seconds"}]
    save(data, {"id": "holds", "name": "Holds", "nodes": nodes, "edges": into, "interfaceInputs": item})
    save(data, {"id": "fails", "name": "Fails", "nodes": [{"id": "n", "type": "toys:Fail"}], "interfaceInputs": item})
    setting = {"referencedWorkflowId": "holds", "concurrency": 1}
    each = {"id": "each", "fullType": "core:ForEach", "inputs": {"items": [0, 30]}, "configValues": setting}
    run = await start(http, graph(each))
    while "progress" not in (await gives(http, 200, "GET", f"/api/prompt/{run}"))["nodeStatus"].get("each", {}):
        await asyncio.sleep(0.02)
    await gives(http, 200, "POST", f"/api/interrupt/{run}")
    each["configValues"] = {"referencedWorkflowId": "fails"}
    failed = await gives(http, 200, "POST", "/api/prompt", json={**graph(each), "wait": 20})
    assert failed["nodeStatus"]["each"]["error"]["details"]


async def play_reruns(http: httpx.AsyncClient) -> None:
    pair = graph(node("a", "Say", text="ab"), node("b", "Shout"), node("c", "Say"), edge("a", "b"))
    base = await start(http, {**pair, "wait": 20})
    for more, told in (({"baseRun": base}, {"baseRun": base}), ({"targets": ["b"]}, {"leftOut": ["c"]})):
        tried = await gives(http, 200, "POST", "/api/prompt", json={**pair, **more, "dryRun": True})
        assert told.items() <= tried.items()
    again = {"baseRun": base, "fromNode": "b", "inputs": {"zzz": 1}, "wait": 20}
    done = await gives(http, 200, "POST", "/api/prompt", json=again)
    assert (done["reused"], done["runs"], done["nodeStatus"]["a"]["reused"]) == (["a", "c"], ["b"], True)
    for wait in (False, True):
        await gives(http, 200, "POST", "/api/prompt", json={**pair, "targets": ["b"], "wait": wait})
    await gives(http, 200, "POST", "/api/prompt", json={**again, "wait": False})
    await gives(http, 200, "GET", f"/api/prompt/{done['promptId']}")


async def play_previews(http: httpx.AsyncClient, base: str) -> None:
    """Of a run in which somebody approved: a preview asks nobody, what was approved may be out of date."""
    preview = {"baseRun": base, "preview": True, "changed": ["a"]}
    await gives(http, 200, "POST", "/api/prompt", json=preview)
    done = await gives(http, 200, "POST", "/api/prompt", json={**preview, "wait": 20})
    assert (done["isPreview"], done["stale"], done["nodeStatus"]["ask"]["stale"]) == (True, ["ask"], True)
    await gives(http, 200, "GET", f"/api/prompt/{done['promptId']}")
    await gives(http, 200, "GET", "/api/history", params={"previews": True, "status": "complete"})
    await gives(http, 200, "GET", "/api/runs", params={"previews": True, "status": "complete"})


async def play_refused_runs(http: httpx.AsyncClient) -> None:
    say = graph(node("a", "Say"))
    await gives(http, 400, "POST", "/api/prompt", content=b'{"nodes": [,]}')
    await gives(http, 400, "POST", "/api/prompt", json={**say, "wait": -1})
    await gives(http, 404, "POST", "/api/prompt", json={"workflowId": "nobody"})
    await gives(http, 422, "POST", "/api/prompt", json=graph(node("a", "Nothing")))
    await start(http, say, headers={"Idempotency-Key": "openapi-1"})
    other = graph(node("b", "Say"))
    await gives(http, 422, "POST", "/api/prompt", json=other, headers={"Idempotency-Key": "openapi-1"})


async def play_control(http: httpx.AsyncClient) -> None:
    await play_pause(http)
    ask = {"id": "ask", "fullType": "core:Approval"}
    base = await start(http, graph(node("a", "Say"), ask, edge("a", "ask", "text", "data")))
    await until_open(http, base)
    await gives(http, 200, "POST", f"/api/prompt/{base}/approvals/ask", json={"approved": True})
    await until(http, base, "complete")
    await play_previews(http, base)
    run = await start(http, asking(2))
    await until_open(http, run, 2)
    waiting = await until(http, run, "waiting")
    assert waiting["openApprovals"] == 2
    assert any("openApprovals" in item for item in (await gives(http, 200, "GET", "/api/executions"))["running"])
    listed = (await gives(http, 200, "GET", "/api/runs", params={"status": "waiting"}))["runs"]
    assert [item["openApprovals"] for item in listed if item["promptId"] == run] == [2]
    url = f"/api/prompt/{run}/approvals"
    assert (await gives(http, 200, "GET", url, params={"limit": 1}))["nextCursor"]
    assert (await gives(http, 200, "GET", "/api/approvals", params={"limit": 1}))["nextCursor"]
    await gives(http, 200, "GET", f"{url}/ask0/data")
    await gives(http, 404, "GET", f"{url}/nothing/data")
    for status, answer in ((400, b"{"), (413, b" " * 300_000), (422, b'{"approved": "yes"}')):
        await gives(http, status, "POST", f"{url}/ask0", content=answer)
    await gives(http, 404, "POST", f"{url}/nothing", json={"approved": True})
    answer = {"approved": True, "values": {"title": "Tea"}, "comment": "fine", "by": "ada"}
    await gives(http, 200, "POST", f"{url}/ask0", json=answer, headers={"Idempotency-Key": "openapi-2"})
    await gives(http, 409, "POST", f"{url}/ask0", json=answer)
    await gives(http, 200, "POST", f"/api/prompt/{run}/interrupt")
    await until(http, run, "interrupted")
    closed = (await gives(http, 200, "GET", url))["approvals"]
    assert [item["status"] for item in closed] == ["answered", "closed"]
    await gives(http, 409, "POST", f"/api/prompt/{run}/interrupt")
    await gives(http, 400, "GET", url, params={"status": "lost"})
    await gives(http, 400, "GET", "/api/approvals", params={"cursor": "x"})
    await gives(http, 404, "GET", "/api/prompt/nobody/approvals")
    await gives(http, 404, "POST", "/api/prompt/nobody/interrupt")


async def play_long_waits(http: httpx.AsyncClient) -> None:
    """A node out of budget asks like an approval; one that must wait for long says until when, and why."""
    run = await start(http, graph(node("story", "Spend"), node("busy", "ComeBack", seconds=240)))
    async with asyncio.timeout(30):
        while (found := await gives(http, 200, "GET", f"/api/prompt/{run}"))["status"] != "waiting":
            await asyncio.sleep(0.02)
        while not found["nodeStatus"].get("story", {}).get("wait"):
            found = await gives(http, 200, "GET", f"/api/prompt/{run}")
    assert found["nodeStatus"]["busy"]["lastError"]
    url = f"/api/prompt/{run}/approvals"
    (asked,) = (await gives(http, 200, "GET", url))["approvals"]
    assert asked["kind"] == "budget"
    await gives(http, 200, "POST", f"{url}/story", json={"approved": True, "values": {"tokens": 90_000}})
    await gives(http, 200, "POST", f"/api/prompt/{run}/interrupt")
    await until(http, run, "interrupted")


async def play_pause(http: httpx.AsyncClient) -> None:
    held = await start(http, graph(node("a", "Hold")))
    await gives(http, 200, "POST", f"/api/prompt/{held}/pause")
    await gives(http, 200, "POST", f"/api/prompt/{held}/resume")
    await gives(http, 200, "POST", f"/api/interrupt/{held}")
    await until(http, held, "interrupted")
    for verb in ("pause", "resume"):
        await gives(http, 409, "POST", f"/api/prompt/{held}/{verb}")
        await gives(http, 404, "POST", f"/api/prompt/nobody/{verb}")


async def play_events(http: httpx.AsyncClient, contract: Contract) -> None:
    waits = {"id": "w", "fullType": "core:WaitForEvent", "configValues": {"name": "paid", "timeoutSeconds": 60}}
    run = await start(http, graph(waits, node("c", "Count", upto=2)))
    await until(http, run, "waiting")
    listed = (await gives(http, 200, "GET", "/api/runs", params={"q": run}))["runs"]
    assert listed[0]["waiting"] == [{"kind": "event", "nodes": 1, "nodeId": "w", "name": "paid"}]
    url = f"/api/prompt/{run}/events"
    assert "message" in await gives(http, 200, "POST", url, json={"name": "other"})
    for status, body in ((400, b"{"), (413, json.dumps({"name": "x", "data": "y" * 300_000}).encode())):
        await gives(http, status, "POST", url, content=body)
        await gives(http, status, "POST", "/api/events", content=body)
    await gives(http, 404, "POST", "/api/prompt/nobody/events", json={"name": "paid"})
    assert (await gives(http, 200, "POST", "/api/events", json={"name": "paid", "data": {"sum": 3}}))["runs"] >= 1
    await until(http, run, "complete")
    await gives(http, 409, "POST", url, json={"name": "paid"})
    stream = await http.get(url)
    events = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    declared = operations()["stream_run_events"]["responses"]["200"]["content"]["text/event-stream"]
    for event in events:
        contract.validate("an event", declared["x-itemSchema"]["properties"]["data"]["contentSchema"], event)
    last = next(line[4:] for line in reversed(stream.text.splitlines()) if line.startswith("id: "))
    await gives(http, 204, "GET", url, headers={"Last-Event-ID": last})
    await gives(http, 409, "GET", url, params={"after": 1000})
    await gives(http, 400, "GET", url, params={"after": -1})
    await gives(http, 404, "GET", "/api/prompt/nobody/events")


TRIGGER: Json = {
    "name": "issues",
    "kind": "webhook",
    "workflow": {"id": "greeter", "project": "default", "version": 1},
    "mapping": {"who": {"expression": "body.who"}},
    "filter": "body.who != 'nobody'",
    "concurrency": {"policy": "queue", "key": "body.who", "limit": 2},
    "debounce": {"seconds": 0.001, "key": "body.id"},
    "rate": {"limit": 1000, "perSeconds": 1, "key": "body.id"},
    "inputs": {"who": "ada"},
    "labels": {"team": "core"},
    "webhook": {"scheme": "token", "config": {"header": "X-Key"}},
    "callback": {
        "url": "https://receiver.example/runs",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "on": ["complete"],
    },
    "secrets": ["openapi secret"],
}
KEY = {"X-Key": "openapi secret"}
AS_JSON = {"Content-Type": JSON}
OTHER_KINDS: tuple[Json, ...] = (
    {
        "kind": "schedule",
        "schedule": {"cron": "0 9 * * 1", "timezone": "Europe/Berlin", "overlap": "skip", "catchUpSeconds": 60},
    },
    {
        "kind": "event",
        "event": {"name": "orders.*", "source": "shop"},
        "mapping": {"who": {"expression": "sum(data)"}},  # of a text there is none
    },
    {
        "kind": "file",
        "file": {"folder": "user://in", "glob": "*.png", "on": ["created"], "stillSeconds": 1},
        "mapping": {"who": {"body": True}},
    },
    {"kind": "run", "run": {"statuses": ["error"], "workflow": {"id": "greeter", "project": "default"}}},
)


async def play_triggers(http: httpx.AsyncClient) -> None:
    made = await gives(http, 201, "POST", "/api/triggers", json=TRIGGER)
    await gives(http, 409, "POST", "/api/triggers", json=TRIGGER)
    await gives(http, 400, "POST", "/api/triggers", content=b"[]")
    await gives(http, 422, "POST", "/api/triggers", json={**TRIGGER, "filter": "a =="})
    url, seen = f"/api/triggers/{made['id']}", {"If-Match": '"1"'}
    await gives(http, 200, "GET", url)
    for kind in OTHER_KINDS:
        target = {"workflow": {"id": "greeter", "published": True}, "mapping": {"who": {"literal": "ada"}}}
        other = await gives(http, 201, "POST", "/api/triggers", json={"name": kind["kind"], **target, **kind})
        await gives(http, 200, "GET", f"/api/triggers/{other['id']}")
        status = 200 if kind["kind"] == "schedule" else 409
        await gives(http, status, "GET", f"/api/triggers/{other['id']}/preview")
        await gives(http, 409, "POST", f"/api/triggers/{other['id']}/rotate-token")
        sample = {"payload": {"data": "grace", "run": {}, "schedule": {}, "file": {}}, "deliveryId": "d"}
        await gives(http, 200, "POST", f"/api/triggers/{other['id']}/test", json=sample)
        await gives(http, 204, "DELETE", f"/api/triggers/{other['id']}", headers=ANY)
    await gives(http, 200, "GET", "/api/triggers")
    await gives(http, 400, "GET", "/api/triggers", params={"kind": "hand"})
    changed = {key: value for key, value in TRIGGER.items() if key != "secrets"}
    await gives(http, 428, "PUT", url, json=changed)
    await gives(http, 200, "PUT", url, json=changed, headers=seen)
    await gives(http, 412, "PUT", url, json=changed, headers=seen)
    await gives(http, 400, "PUT", url, content=b"[]", headers=ANY)
    await gives(http, 422, "PUT", url, json={**changed, "secrets": []}, headers=ANY)
    other = await gives(http, 201, "POST", "/api/triggers", json={**TRIGGER, "name": "other"})
    await gives(http, 409, "PUT", url, json={**changed, "name": "other"}, headers=ANY)
    await gives(http, 200, "POST", f"{url}/disable", json={"note": "holidays"})
    await gives(http, 400, "POST", f"{url}/disable", json={"note": 1})
    await gives(http, 200, "POST", f"{url}/enable")
    await play_samples(http, url)
    await gives(http, 200, "POST", f"{url}/rotate-token")
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable")):
        await gives(http, 404, method, f"/api/triggers/nobody{path}", headers=ANY, json=changed)
    for method, path in (("POST", "/test"), ("GET", "/results"), ("GET", "/preview"), ("POST", "/rotate-token")):
        await gives(http, 404, method, f"/api/triggers/nobody{path}")
    await gives(http, 428, "DELETE", url)
    await gives(http, 412, "DELETE", url, headers=seen)
    await gives(http, 204, "DELETE", url, headers=ANY)
    url = f"/api/triggers/{other['id']}"
    await gives(http, 200, "PUT", url, json={**changed, "enabled": False, "secrets": []}, headers=ANY)
    await gives(http, 422, "POST", f"{url}/enable")
    await gives(http, 204, "DELETE", url, headers=ANY)


async def play_samples(http: httpx.AsyncClient, url: str) -> None:
    sample = {"payload": {"who": "grace"}, "headers": {"X-A": "b"}, "query": {"a": ["b"]}, "deliveryId": "s1"}
    await gives(http, 200, "POST", f"{url}/test", json=sample)
    await gives(http, 400, "POST", f"{url}/test", json={"run": 1})
    ran = await gives(http, 200, "POST", f"{url}/test", json={**sample, "run": True})
    again = await gives(http, 200, "POST", f"{url}/test", json={**sample, "run": True})
    assert (again["outcome"], again["runId"]) == ("duplicate", ran["runId"])
    await until(http, ran["runId"], "complete")
    run = await gives(http, 200, "GET", f"/api/prompt/{ran['runId']}")
    assert (run["trigger"]["name"], run["labels"]) == ("issues", {"team": "core"})
    assert any("labels" in item for item in (await gives(http, 200, "GET", "/api/history"))["history"])
    assert any("labels" in item for item in (await gives(http, 200, "GET", "/api/runs"))["runs"])
    results = await gives(http, 200, "GET", f"{url}/results")
    assert [result["outcome"] for result in results["results"]] == ["duplicate", "fired"]
    await gives(http, 400, "GET", f"{url}/results", params={"limit": 0})


async def play_webhooks(http: httpx.AsyncClient) -> None:
    rate = {"name": "hooked", "rate": {"limit": 1, "perSeconds": 60, "key": "body.who"}, "concurrency": {}}
    plain = {key: value for key, value in TRIGGER.items() if key not in ("debounce", "filter")}
    made = await gives(http, 201, "POST", "/api/triggers", json={**plain, **rate})
    url, settings = made["url"], f"/api/triggers/{made['id']}"
    for method in ("POST", "PUT"):
        await gives(http, 202, method, url, json={"who": method}, headers=KEY)
    limited = await http.post(url, json={"who": "PUT"}, headers=KEY)
    assert (limited.status_code, int(limited.headers["retry-after"]) > 0) == (429, True)
    await gives(http, 401, "POST", url, json={})
    await gives(http, 400, "POST", url, content=b"{", headers={**KEY, "Content-Type": "application/json"})
    await gives(http, 413, "POST", url, content=b" " * 5_000_001, headers=KEY)
    await gives(http, 415, "POST", url, content=b"x", headers={**KEY, "Content-Encoding": "gzip"})
    await gives(http, 404, "POST", "/hooks/unknown", content=b"")
    waits = {"mode": "wait", "outputs": ["line"], "status": 200, "contentType": "text/plain", "seconds": 20}
    answer = {**plain, "name": "hooked", "webhook": {**TRIGGER["webhook"], "answer": waits}}
    await gives(http, 200, "PUT", settings, json=answer, headers=ANY)
    found = await http.put(url, json={"who": "grace"}, headers=KEY)
    assert (found.status_code, found.text) == (200, "GRACEGRACE")
    await gives(http, 422, "POST", url, json={"who": 7}, headers=KEY)
    await gives(http, 200, "POST", f"{settings}/disable")
    await gives(http, 409, "POST", url, json={}, headers=KEY)
    await gives(http, 204, "DELETE", settings, headers=ANY)
    await play_slow_webhook(http)
    opened = {**plain, "name": "opened", "webhook": {"scheme": "none"}, "secrets": []}
    made = await gives(http, 201, "POST", "/api/triggers", json={**opened, "filter": "body.who == 'ada'"})
    assert (await gives(http, 200, "PUT", made["url"], json={"who": "bob"}))["status"] == "filtered"
    assert (await gives(http, 200, "POST", made["url"], json={"who": "bob"}))["status"] == "filtered"
    await gives(http, 403, "POST", made["url"], json={}, headers={"Origin": "https://elsewhere.example"})
    await gives(http, 204, "DELETE", f"/api/triggers/{made['id']}", headers=ANY)


async def play_slow_webhook(http: httpx.AsyncClient) -> None:
    """Slack's challenge, then an answer that takes longer than the webhook waits."""
    slack = {"scheme": "slack", "answer": {"mode": "wait", "seconds": 1}}
    body = {"name": "slack", "kind": "webhook", "workflow": {"id": "holds"}, "webhook": slack, "secrets": ["s"]}
    made = await gives(http, 201, "POST", "/api/triggers", json={**body, "mapping": {"item": {"literal": 30}}})
    for status, content in ((200, b'{"type": "url_verification", "challenge": "c"}'), (202, b"{}")):
        headers = dict(send("slack", "s", content, int(time.time())))
        told = await gives(http, status, "POST", made["url"], content=content, headers={**headers, **AS_JSON})
    assert told["status"] == "running"
    await gives(http, 200, "POST", f"/api/interrupt/{told['runId']}")
    await gives(http, 204, "DELETE", f"/api/triggers/{made['id']}", headers=ANY)


async def play_triggers_of_events(http: httpx.AsyncClient, shared: Stack) -> None:
    word = {"who": {"expression": "data.who"}}
    wanted = {"name": "hired", "kind": "event", "event": {"name": "hired"}, "workflow": {"id": "greeter"}}
    definition = read_trigger({**wanted, "mapping": word, "filter": "data.who != 'nobody'"})
    trigger, _ = await shared.container.triggers.create(shared.settings.user, definition)
    event = {"name": "hired", "data": {"who": "ada"}, "id": "1", "source": "office"}
    assert (await gives(http, 200, "POST", "/api/events", json=event))["triggers"][0]["outcome"] == "fired"
    assert (await gives(http, 200, "POST", "/api/events", json=event))["duplicate"] is True
    cloud = {"specversion": "1.0", "type": "hired", "source": "office", "id": "1", "data": {"who": "nobody"}}
    batch = [{**cloud, "id": "2"}, cloud, {}, {**cloud, "data": "x" * 300_000}]
    kind = {"Content-Type": "application/cloudevents-batch+json"}
    found = await gives(http, 200, "POST", "/api/events", content=json.dumps(batch), headers=kind)
    assert [result["status"] for result in found["results"]] == [200, 200, 400, 413]
    await gives(http, 415, "POST", "/api/events", headers={"Content-Type": "application/cloudevents+avro"})
    key = {"Idempotency-Key": "openapi"}
    await gives(http, 200, "POST", "/api/events", json={"name": "keyed"}, headers=key)
    await gives(http, 422, "POST", "/api/events", json={"name": "other"}, headers=key)
    await shared.container.triggers.delete(trigger)


async def play_callbacks(http: httpx.AsyncClient) -> None:
    """The worker of these tests may not reach this machine, which is what it then says."""
    waits = {"id": "w", "fullType": "core:WaitForEvent", "configValues": {"name": "never"}}
    callback = {"url": "http://127.0.0.1:9/hook?key=1", "on": ["waiting", "complete"]}
    run = await start(http, {**graph(waits), "callback": callback})
    url = f"/api/prompt/{run}"
    async with asyncio.timeout(30):
        while "failed" not in json.dumps((await gives(http, 200, "GET", url))["callbacks"]):
            await asyncio.sleep(0.05)
    await gives(http, 200, "POST", f"{url}/callbacks/0/resend", params={"event": "waiting"})
    await gives(http, 404, "POST", f"{url}/callbacks/0/resend", params={"event": "complete"})
    await gives(http, 404, "POST", f"{url}/callbacks/1/resend")
    await gives(http, 404, "POST", "/api/prompt/nobody/callbacks/0/resend")
    await gives(http, 400, "POST", f"{url}/callbacks/x/resend")
    await gives(http, 200, "POST", f"/api/interrupt/{run}")
    told = await gives(
        http, 200, "POST", "/api/prompt", json={**graph(node("a", "Say")), "callback": callback, "wait": 20}
    )
    assert told["callbacks"][0]["url"] == "http://127.0.0.1:9/hook?***"


async def play_files(http: httpx.AsyncClient) -> None:
    url = "/api/files/user/openapi/a.txt"
    await gives(http, 201, "PUT", url, content=b"0123456789")
    await gives(http, 200, "PUT", url, content=b"0123456789")
    await gives(http, 412, "PUT", url, content=b"", headers={"If-None-Match": "*"})
    await gives(http, 400, "PUT", url, content=b"", headers={"If-None-Match": "x"})
    for method in ("PUT", "DELETE"):
        await gives(http, 412, method, url, headers={"If-Match": '"x"'})
    await gives(http, 409, "PUT", f"{url}/inside", content=b"")
    whole = await http.get(url)
    declared = operations()["get_file"]["responses"]["200"]["headers"]
    assert declared.keys() - {name.title() for name in whole.headers} == {"ETag", "Link"}
    for status, headers in ((206, {"Range": "bytes=2-4"}), (416, {"Range": "bytes=99-"})):
        await gives(http, status, "GET", url, headers=headers)
    await gives(http, 206, "HEAD", url, headers={"Range": "bytes=2-4"})
    for method in ("GET", "HEAD"):
        await gives(http, 304, method, url, headers={"If-None-Match": whole.headers["etag"]})
        await gives(http, 404, method, "/api/files/user/openapi/none")
    await gives(http, 200, "HEAD", url)
    await gives(http, 400, "GET", "/api/files/user/openapi")
    assert (await gives(http, 200, "GET", "/api/files/user/openapi/"))[0]["size"] == 10
    await gives(http, 200, "GET", "/api/files/user")
    await gives(http, 400, "GET", "/api/files/user", params={"limit": 0})
    for method in ("GET", "PUT", "DELETE"):
        await gives(http, 403, method, "/api/files/user/.hidden")
        await gives(http, 404, method, "/api/files/nowhere/a")
    await gives(http, 404, "GET", "/api/files/nowhere")
    await gives(http, 204, "DELETE", url)


async def play_file_manager(http: httpx.AsyncClient) -> None:
    folder, encoded = "user://openapi-fam/", "user%3A%2F%2Fopenapi-fam%2F"
    new = {"parentLogicalPath": "user://", "dirName": "openapi-fam"}
    await gives(http, 201, "POST", "/api/fam/create-dir", json=new)
    await gives(http, 409, "POST", "/api/fam/create-dir", json=new)
    await gives(http, 200, "POST", "/api/fam/write-json", json={"logicalPath": f"{folder}a.json", "content": {"k": 1}})
    await gives(http, 201, "POST", f"/api/fam/upload/{encoded}", files={"files": ("b.txt", b"hello")})
    for status, headers in ((200, {}), (206, {"Range": "bytes=0-1"}), (416, {"Range": "bytes=99-"})):
        for verb in ("read", "download"):
            await gives(http, status, "GET", f"/api/fam/{verb}/{encoded}b.txt", headers=headers)
    await gives(http, 200, "PUT", "/api/fam/rename", json={"logicalPath": f"{folder}b.txt", "newName": "c.txt"})
    await gives(http, 409, "PUT", "/api/fam/rename", json={"logicalPath": f"{folder}c.txt", "newName": "a.json"})
    await gives(http, 201, "POST", "/api/fam/create-dir", json={"parentLogicalPath": folder, "dirName": "sub"})
    move = {"sourcePaths": [f"{folder}c.txt"], "targetParentPath": f"{folder}sub/"}
    await gives(http, 200, "PUT", "/api/fam/move", json=move)
    await gives(http, 409, "PUT", "/api/fam/move", json={**move, "sourcePaths": [f"{folder}sub"]})
    await gives(http, 200, "GET", f"/api/fam/list/{encoded}")
    for status, path in ((400, "x"), (403, "user%3A%2F%2F.x"), (404, "x%3A%2F%2Fx"), (409, f"{encoded}a.json")):
        await gives(http, status, "GET", f"/api/fam/list/{path}")
    for verb in ("read", "download"):
        for status, path in ((403, f"{encoded}..%2F..%2Fworker.token"), (404, f"{encoded}none"), (400, encoded[:-3])):
            await gives(http, status, "GET", f"/api/fam/{verb}/{path}")
    await gives(http, 403, "POST", "/api/fam/upload/system%3A%2F%2F", files={"files": ("b.txt", b"hello")})
    await gives(http, 400, "POST", f"/api/fam/upload/{encoded}", json={})
    none = f"{folder}none"
    for method, url, body in (
        ("PUT", "rename", {"logicalPath": none, "newName": "x"}),
        ("PUT", "move", {"sourcePaths": [none], "targetParentPath": folder}),
        ("DELETE", "delete", {"logicalPaths": [none]}),
    ):
        await gives(http, 404, method, f"/api/fam/{url}", json=body)
    for method, url in (("POST", "create-dir"), ("POST", "write-json"), ("PUT", "rename"), ("PUT", "move")):
        await gives(http, 400, method, f"/api/fam/{url}", json={})
    await gives(http, 400, "DELETE", "/api/fam/delete", json={})
    await gives(http, 204, "DELETE", "/api/fam/delete", json={"logicalPaths": [folder]})


async def play_user(http: httpx.AsyncClient, data: Path) -> None:
    await gives(http, 404, "GET", "/api/users/me/avatar")
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    await gives(http, 200, "POST", "/api/users/me/avatar", files={"avatar": picture.getvalue()})
    await gives(http, 400, "POST", "/api/users/me/avatar", files={"avatar": b"x"})
    await gives(http, 200, "GET", "/api/users/me/avatar")
    await gives(http, 200, "PUT", "/api/users/me/username", json={"username": "Ada"})
    await gives(http, 400, "PUT", "/api/users/me/username", json={"username": ""})
    (data / "channels.yaml").write_text(f"""\
channels:
  - {{id: main, baseUrl: "https://models.example/v1", apiKey: {{$secret: {"a" * 64}}}, createdAt: 2026-11-29T00:00:00Z}}
models:
  - {{modelId: story, groupName: prose, defaultChannelRef: main}}
""")
    for url in ("auth/current", "users/me/service-keys", "users/me/credentials", "llm/providers", "llm/channels"):
        await gives(http, 200, "GET", f"/api/{url}")
    await gives(http, 200, "GET", "/api/llm/models")
    await gives(http, 200, "GET", "/api/llm/channels/main/list-models")
    await gives(http, 404, "GET", "/api/llm/channels/none/list-models")
    await play_channels(http)
    (data / "channels.yaml").write_text("[]")
    for name in ("channels", "models"):
        await gives(http, 409, "GET", f"/api/llm/{name}")
    (data / "channels.yaml").unlink()


async def play_channels(http: httpx.AsyncClient) -> None:
    url = "/api/llm/channels"
    traits = {
        "query": {"api-version": "v1"},
        "parameters": {
            "rename": {"max_tokens": "max_completion_tokens"},
            "defaults": {"top_k": 4},
            "drop": ["temperature"],
        },
        "prefix": "trailing",
        "structuredOutput": "json_schema",
        "thinkTags": True,
        "limits": {
            "requestsPerMinute": 60,
            "tokensPerMinute": 100_000,
            "concurrent": 4,
            "burst": 5,
            "sharedByKey": True,
        },
        "pricing": {"provider": "openai"},
    }
    whole = {
        "id": "mine",
        "label": "My server",
        "baseUrl": "demo",
        "customHeaders": {"X-Title": "Inn"},
        "perModel": {"demo-echo": {**traits, "headers": {"X-Title": "Echo"}}},
        **traits,
    }
    made = await gives(http, 201, "POST", url, json=whole)
    await gives(http, 400, "POST", url, content=b"[")
    await gives(http, 409, "POST", url, json=whole)
    await gives(http, 422, "POST", url, json={"baseUrl": "ftp://x"})
    await gives(http, 200, "PUT", f"{url}/mine", json={"label": "Mine"}, headers={"If-Match": made["etag"]})
    await gives(http, 412, "PUT", f"{url}/mine", json={"label": "Other"}, headers={"If-Match": made["etag"]})
    await gives(http, 400, "PUT", f"{url}/mine", content=b"[")
    await gives(http, 404, "PUT", f"{url}/none", json={})
    await gives(http, 409, "PUT", f"{url}/main", json={})
    await gives(http, 422, "PUT", f"{url}/mine", json={"baseUrl": "ftp://x"})
    await gives(http, 200, "POST", f"{url}/mine/discover-models")
    await gives(http, 404, "POST", f"{url}/none/discover-models")
    await gives(http, 201, "POST", url, json={"id": "inside", "baseUrl": "http://10.1.2.3/v1"})
    await gives(http, 403, "POST", f"{url}/inside/discover-models")
    await gives(http, 201, "POST", url, json={"id": "away", "baseUrl": "http://127.0.0.1:9/v1"})
    await gives(http, 502, "POST", f"{url}/away/discover-models")
    await gives(http, 200, "GET", url)
    url = "/api/llm/models"
    await gives(http, 201, "POST", url, json={"modelId": "own", "groupName": "g", "defaultChannelRef": "mine"})
    await gives(http, 409, "POST", url, json={"modelId": "own"})
    await gives(http, 422, "POST", url, json={})
    await gives(http, 400, "POST", url, content=b"[")
    changed = await gives(http, 200, "PUT", f"{url}/own", json={"displayName": "Own", "tags": ["t"]})
    for method in ("PUT", "DELETE"):
        body = {"json": {}} if method == "PUT" else {}
        await gives(http, 412, method, f"{url}/own", headers={"If-Match": '"0"'}, **body)
        await gives(http, 404, method, f"{url}/none", **body)
        await gives(http, 409, method, f"{url}/story", **body)
    await gives(http, 400, "PUT", f"{url}/own", content=b"[")
    await gives(http, 422, "PUT", f"{url}/own", json={"modelType": "magic"})
    await gives(http, 204, "DELETE", f"{url}/own", headers={"If-Match": changed["etag"]})
    url = "/api/llm/channels"
    await gives(http, 412, "DELETE", f"{url}/mine", headers={"If-Match": '"0"'})
    await gives(http, 404, "DELETE", f"{url}/none")
    await gives(http, 409, "DELETE", f"{url}/main")
    for name in ("mine", "inside", "away"):
        await gives(http, 204, "DELETE", f"{url}/{name}")


async def play_characters(http: httpx.AsyncClient, data: Path) -> None:
    folder = data / "users" / "default_user" / "library" / "characters"
    folder.mkdir(parents=True, exist_ok=True)
    mira = {
        "spec": "chara_card_v2",
        "create_date": "2026-11-29",
        "data": {
            **{"name": "Mira", "description": "Keeps the inn.", "tags": ["inn"], "creator": "ann"},
            **{"creator_notes": "Be nice.", "character_version": "1.2", "extensions": {"talkativeness": 0.5}},
        },
    }
    (folder / "mira.json").write_text(json.dumps(mira))
    Image.new("RGB", (4, 4)).save(folder / "mira.png", "PNG")
    (card,) = (await gives(http, 200, "GET", "/api/characters"))["data"]
    url = f"/api/characters/image/{card['imageName']}"
    await gives(http, 200, "GET", url)
    await gives(http, 206, "GET", url, headers={"Range": "bytes=0-1"})
    await gives(http, 403, "GET", "/api/characters/image/.x.png")
    await gives(http, 404, "GET", "/api/characters/image/x.png")
    for file in folder.iterdir():
        file.unlink()


async def play_demo(http: httpx.AsyncClient) -> None:
    await gives(http, 200, "GET", "/demo/v1/models")
    url = "/demo/v1/chat/completions"
    ask = {"model": "demo-echo@0", "messages": [{"role": "user", "content": "tea for two"}]}
    await gives(http, 200, "POST", url, json=ask)
    await gives(http, 200, "POST", url, json={**ask, "stream": True})
    await gives(http, 400, "POST", url, content=b"{")
    await gives(http, 404, "POST", url, json={**ask, "model": "other"})
    await gives(http, 413, "POST", url, content=b" " * 1_100_000)


# --- a generated client -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a package with a client made from the document alone."""
    folder = tmp_path_factory.mktemp("client")
    source = folder / "openapi.json"
    source.write_text(json.dumps(document()))
    config = Config.from_sources(
        ConfigFile(post_hooks=[]), MetaType.NONE, source, "utf-8", overwrite=True, output_path=folder / "generated_api"
    )
    assert openapi_python_client.generate(config=config) == []
    sys.path.insert(0, str(folder))
    yield "generated_api"
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_api"]:
        del sys.modules[name]


async def test_generated_client_plays_a_run(generated: str, shared: Stack) -> None:
    def part(name: str) -> ModuleType:
        return importlib.import_module(f"{generated}.{name}")

    api = part("client").Client(base_url=shared.url)
    body = part("models.run_request").RunRequest.from_dict(
        graph(node("a", "Say", text="hi"), outputs={"o": ("a", "text")})
    )
    accepted = await part("api.runs.submit_run").asyncio(client=api, body=body)
    assert type(accepted).__name__ == "RunAccepted"
    get_run = part("api.runs.get_run").asyncio
    async with asyncio.timeout(30):
        while (run := await get_run(accepted.prompt_id, client=api)).status.value in ("queued", "running"):
            await asyncio.sleep(0.02)
    assert (run.status.value, run.outputs.to_dict()) == ("complete", {"o": "hi"})
    assert run.node_status["a"].output.to_dict() == {"text": "hi"}
    output = await part("api.runs.get_run_output").asyncio(accepted.prompt_id, "a/text", client=api)
    assert output == "hi"
    page = await part("api.runs.list_history").asyncio(client=api, limit=1)
    assert page.history[0].prompt_id == accepted.prompt_id
    missing = await get_run("nobody", client=api)
    assert (type(missing).__name__, missing.code) == ("Error", "run_not_found")
    body = part("models.run_request").RunRequest.from_dict(graph(node("a", "Nothing")))
    refused = await part("api.runs.submit_run").asyncio(client=api, body=body)
    assert (refused.code, refused.problems[0].code) == ("invalid_workflow", "unknown_node_type")
    late = await part("api.control.interrupt_run").asyncio_detailed(accepted.prompt_id, client=api)
    assert (late.status_code, late.parsed.success) == (409, False)
    await api.get_async_httpx_client().aclose()


async def test_generated_client_writes_and_reads_a_file(generated: str, shared: Stack) -> None:
    def part(name: str) -> ModuleType:
        return importlib.import_module(f"{generated}.{name}")

    place = ("user", "made/by a client.bin")  # the slash is sent as %2F
    data = bytes(range(256))

    def play() -> None:
        with part("client").Client(base_url=shared.url) as api:
            body = part("types").File(io.BytesIO(data))
            written = part("api.files.put_file").sync(*place, client=api, body=body)
            assert (written.path, written.size, written.created) == ("user://made/by a client.bin", 256, True)
            assert part("api.files.get_file").sync(*place, client=api).payload.read() == data
            assert part("api.files.delete_file").sync_detailed(*place, client=api).status_code == 204

    await asyncio.to_thread(play)


def test_every_module_of_the_generated_client_can_be_imported(generated: str) -> None:
    package = importlib.import_module(generated)
    names = [info.name for info in pkgutil.walk_packages(package.__path__, f"{generated}.")]
    assert len(names) > len(operations())
    for name in names:
        importlib.import_module(name)
