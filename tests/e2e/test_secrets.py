"""Canary keys are planted everywhere a user may put one, then every place that keeps or shows anything is searched."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.catalogue.plugins import Catalogue
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key
from innkeeper.workflows.compiler.seal import seal_document
from tests.graphs import edge

TYPED = "sk-canary-typed-4f1c9b7e2d"
INNER = "canary inner +/ key 81c7"
INTERFACE = "sk-canary-interface-77aa01"
WIRED = "canary-wired-through-an-edge-5512"
ENVIRONMENT = "sk-canary-environment-903bd1"
MODEL_KEYS = (TYPED, INNER, INTERFACE, WIRED, ENVIRONMENT)
CHANNEL = "canary-channel-6be07a44"
HEADER = "canary header =/ 2f90d8"
SHOWN_TO_NODES = "canary-shown-to-nodes-1c5de"
NODE_KEYS = (CHANNEL, HEADER)
CANARIES = (*MODEL_KEYS, *NODE_KEYS, SHOWN_TO_NODES)


class Provider:
    """Answers with an error that quotes the key it was given, as some real ones do; `/away` leads to another host."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.keys: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line for line in head.split("\r\n") if line.lower().startswith("authorization:")]
        key = lines[0].split(" ", 2)[2] if lines else ""
        self.keys.append(key)
        if head.split(" ")[1] == "/v1/away":
            place = f"http://localhost:{self.port}/v1/arrived"
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()
            return
        error = {"error": {"message": f"bad key {key}", "type": "invalid_request_error", "code": key}}
        body = json.dumps(error).encode()
        status = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(status + f"Content-Length: {len(body)}\r\nX-Key: {key}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    serving = Provider()
    server = await asyncio.start_server(serving.handle, "127.0.0.1", 0)
    serving.port = server.sockets[0].getsockname()[1]
    serving.url = f"http://127.0.0.1:{serving.port}/v1"
    try:
        yield serving
    finally:
        server.close()


def _node(id: str, type: str, **inputs: Any) -> dict[str, Any]:
    return {"id": id, "fullType": type, "inputs": inputs}


def graph(url: str) -> dict[str, Any]:
    """Five ways to bring a key to a model: typed, inside an object, by an interface input, by an edge, from outside."""
    settings = {
        "typed": {"base_url": url, "api_key": TYPED},
        "interface": {"base_url": url},
        "wired": {"base_url": url},
        "environment": {"base_url": url, "use_env_vars": True},
    }
    nodes: list[dict[str, Any]] = [
        _node("in", "core:GroupInput"),
        {
            "id": "source",
            "fullType": "core:TextMerge",
            "inputs": {"text_inputs": [WIRED[:7], WIRED[7:]], "separator": ""},
        },
        {
            "id": "inner",
            "fullType": "core:OpenAI",
            "inputs": {"prompt": "x", "api_settings": {"base_url": url, "api_key": INNER}},
        },
    ]
    edges = [edge("in.key", "interface.api_key"), edge("source.merged_text", "wired.api_key")]
    for name, inputs in settings.items():
        nodes.append({"id": name, "fullType": "core:APISettings", "inputs": inputs})
        nodes.append(
            {"id": f"ask_{name}", "fullType": "core:OpenAI", "inputs": {"prompt": "x", "stream": name == "typed"}}
        )
        edges.append(edge(f"{name}.api_settings", f"ask_{name}.api_settings"))
    interface = {"key": {"key": "key", "dataFlowType": "STRING", "config": {"default": INTERFACE}}}
    return {"nodes": nodes, "edges": edges, "interfaceInputs": interface}


def node_graph(url: str) -> dict[str, Any]:
    """Keys in the hands of other nodes: of a channel, of a request, and in an object that nodes are shown."""
    shown = {"base_url": url, "api_key": SHOWN_TO_NODES}
    ask = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
    request = {"url": f"{url}/web", "authorization": f"Bearer {HEADER}"}
    nodes: list[dict[str, Any]] = [
        _node("generic", "core:GenericLlmRequest", **ask),
        _node("generic_stream", "core:GenericLlmRequest", stream=True, **ask),
        _node("chat", "core:OpenAIChat", user_input="x", system_prompt="", api_settings=shown),
        _node("web", "core:HttpRequest", **request),
        {**_node("web_fails", "core:HttpRequest", **request), "configValues": {"failOnError": True}},
        _node("web_away", "core:HttpRequest", **{**request, "url": f"{url}/away"}),
        _node("refused", "core:HttpRequest", **{**request, "url": "http://10.0.0.1/"}),
        _node("settings", "core:APISettings", **shown),
        _node("template", "core:Template", template="{{ api_key }} {{ base_url }}"),
        _node("template_fails", "core:Template", template="{{ api_key.nothing }}"),
        _node("extract", "core:JsonExtract", expression="@"),
        _node("context", "core:ContextBuilder", presetData={"prompts": []}),
        _node("body", "core:HttpRequest", method="PUT", url=f"{url}/body"),
        _node("file", "core:SaveText", path="user://settings.txt"),
    ]
    edges = [
        edge("settings.api_settings", end)
        for end in ("template.values", "template_fails.values", "extract.data", "context.variables", "body.body")
    ]
    edges += [edge("extract.text", "file.text")]
    return {"nodes": nodes, "edges": edges}


CHANNELS = """
channels:
  - id: one
    baseUrl: {url}
    apiKey: env:CANARY_CHANNEL_API_KEY
models:
  - modelId: m
"""


@pytest.mark.slow
async def test_no_canary_is_found_anywhere(tmp_path: Path) -> None:
    async with provider() as model:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "channels.yaml").write_text(CHANNELS.format(url=model.url))
        env = {
            "OPENAI_API_KEY": ENVIRONMENT,
            "INNKEEPER_ENV_KEY_HOSTS": f"127.0.0.1:{model.port}",
            "CANARY_CHANNEL_API_KEY": CHANNEL,
            "INNKEEPER_ALLOW_LOOPBACK": "1",
        }
        async with LocalStack(StackOptions(tmp_path / "data", env=env)) as stack:
            await check_models(stack, model)
            model.keys.clear()
            await check_saved(stack, model)
            model.keys.clear()
            await check_other_nodes(stack, model)
    leaks = {
        str(file): found for file in _files(tmp_path) for part in layers(file.read_bytes()) if (found := found_in(part))
    }
    assert leaks == {}


async def check_models(stack: LocalStack, model: Provider) -> None:
    status = await played(stack, graph(model.url), ("typed/api_settings", "wired/api_settings"))
    # The keys really arrived where they are spent; without that, nothing would be proved.
    assert set(model.keys) == set(MODEL_KEYS)
    assert {status["nodeStatus"][node]["status"] for node in ("inner", "ask_typed", "ask_environment")} == {"error"}


async def check_saved(stack: LocalStack, model: Provider) -> None:
    """The same graph as an editor saves it, opens it, saves it again and runs it: the keys arrive, and no answer has
    them."""
    home = "/api/projects/default/workflows"
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http:
        made = await http.post(home, json={"id": "saved", "name": "saved", **as_stored(graph(model.url))})
        assert made.status_code == 201, made.text
        opened = await http.get(f"{home}/saved")
        again = await http.put(f"{home}/saved", json={**opened.json(), "description": "saved again"})
        versions = await http.get("/api/workflows/saved/versions")
        diff = await http.get("/api/workflows/saved/diff?from=1&to=2")
    assert [version["version"] for version in versions.json()] == [2, 1]
    assert [found_in(answer.content) for answer in (made, opened, again, versions, diff)] == [[]] * 5
    key = opened.json()["nodes"][2]["inputValues"]["api_settings"]["api_key"]
    assert key.startswith("$secret:")
    await played(stack, {"workflowId": "saved"}, ("typed/api_settings",))
    assert set(model.keys) == set(MODEL_KEYS)
    # Sent by an editor that has opened it, and given anew for an input.
    model.keys.clear()
    await played(stack, {**again.json(), "inputs": {"key": key}}, ("interface/api_settings",))
    assert set(model.keys) == {*MODEL_KEYS} - {INTERFACE}
    assert model.keys.count(INNER) == 2


def as_stored(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload in the words of stored workflows."""
    words = {"fullType": "type", "inputs": "inputValues", "sourceNodeId": "source", "targetNodeId": "target"}
    parts = {
        part: [{words.get(key, key): value for key, value in item.items()} for item in payload[part]]
        for part in ("nodes", "edges")
    }
    return {**payload, **parts, "viewport": {"x": 0, "y": 0, "zoom": 1}}


def sealed(document: dict[str, Any], catalogue: Catalogue, data: Path) -> dict[str, Any]:
    """A document as the gateway of this data directory stores it; its secrets are stored, too."""
    store = SecretStore(data / "secrets", load_or_create_key(data, {}))
    owner = "default_user"
    found = seal_document(document, catalogue, secret_id=lambda value: store.ref_for(value, owner).id, owner=owner)
    for secret in found.secrets:
        store.put(secret.value, secret.owner, secret.hosts)
    return found.document


async def check_other_nodes(stack: LocalStack, model: Provider) -> None:
    outputs = ("web/body", "web/json", "web/headers", "template/text", "extract/value", "context/chatState")
    status = await played(stack, node_graph(model.url), outputs)
    found = {node: told["status"] for node, told in status["nodeStatus"].items()}
    assert {*NODE_KEYS, SHOWN_TO_NODES} <= set(model.keys)
    failing = ("generic", "generic_stream", "chat", "web_fails", "refused")
    assert {found[node] for node in failing} == {"error"}, found
    assert {found[node] for node in ("web", "web_away")} == {"complete"}, found
    assert model.keys.count(HEADER) == 3
    assert "***" in status["nodeStatus"]["web"]["output"]["body"]


async def played(stack: LocalStack, document: dict[str, Any], outputs: tuple[str, ...]) -> Any:
    """Run a graph to its end, and search all that was said of it; gives the run's status."""
    shown: list[str] = []
    async with GatewayClient(stack.url) as client:
        run = await client.submit(document)
        shown += [json.dumps(event) async for event in client.events(run)]
        status = await client.status(run)
    async with httpx.AsyncClient(base_url=stack.url) as http:
        pages = ("", "/events", *(f"/outputs/{output}" for output in outputs))
        pages = (*pages, "/document", *(f"/inputs/{node}" for node in status["nodeStatus"]))
        shown += [(await http.get(f"/api/prompt/{run}{page}")).text for page in pages]
        others = ("/api/history", f"/api/history/{run}", "/api/executions", "/api/runs", "/metrics", "/api/plugins")
        shown += [(await http.get(page)).text for page in others]
    temporal = await Client.connect(stack.temporal_address, namespace="innkeeper")
    history = await temporal.get_workflow_handle(run).fetch_history()
    shown += [text.decode("latin-1") for event in history.events for text in layers(event.SerializeToString())]
    for text in shown:
        assert not found_in(text.encode("latin-1", "replace"))
    return status


def found_in(data: bytes) -> list[str]:
    return [canary for canary in CANARIES for form in forms(canary) if form in data]


def forms(canary: str) -> Iterator[bytes]:
    """How a key may look where it was kept: plain, in JSON, in a URL, in base64 (without its unstable ends)."""
    yield canary.encode()
    yield quote(canary, safe="").encode()
    yield json.dumps(canary)[1:-1].encode()
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + canary.encode())[4:-4]


def layers(data: bytes) -> Iterator[bytes]:
    """The data, and whatever is packed in it with zlib."""
    yield data
    position = data.find(b"\x78")
    while position >= 0:
        if data[position + 1 : position + 2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
            with suppress(zlib.error):
                yield zlib.decompressobj().decompress(data[position:], 10_000_000)
        position = data.find(b"\x78", position + 1)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("canary", CANARIES)
def test_the_search_would_find_a_canary(canary: str) -> None:
    kept = json.dumps({"key": canary}).encode()
    assert found_in(kept)
    assert any(found_in(layer) for layer in layers(b"junk" + zlib.compress(kept) + b"junk"))
    assert found_in(base64.b64encode(b"a" + kept))
