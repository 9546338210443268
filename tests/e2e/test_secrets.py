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

from gateway.client import GatewayClient
from gateway.local import LocalStack, StackOptions

TYPED = "sk-canary-typed-4f1c9b7e2d"
INNER = "canary inner +/ key 81c7"
INTERFACE = "sk-canary-interface-77aa01"
WIRED = "canary-wired-through-an-edge-5512"
ENVIRONMENT = "sk-canary-environment-903bd1"
CANARIES = (TYPED, INNER, INTERFACE, WIRED, ENVIRONMENT)


class Provider:
    """Answers with an error that quotes the key it was given, as some real ones do."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.keys: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        key = next(line.split(" ", 2)[2] for line in head.split("\r\n") if line.lower().startswith("authorization:"))
        self.keys.append(key)
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


def _edge(source: str, target: str) -> dict[str, Any]:
    (node, slot), (to, into) = source.split("."), target.split(".")
    ends = {"sourceNodeId": node, "sourceHandle": slot, "targetNodeId": to, "targetHandle": into}
    return {"id": f"{source}>{target}", **ends}


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
    edges = [_edge("in.key", "interface.api_key"), _edge("source.merged_text", "wired.api_key")]
    for name, inputs in settings.items():
        nodes.append({"id": name, "fullType": "core:APISettings", "inputs": inputs})
        nodes.append(
            {"id": f"ask_{name}", "fullType": "core:OpenAI", "inputs": {"prompt": "x", "stream": name == "typed"}}
        )
        edges.append(_edge(f"{name}.api_settings", f"ask_{name}.api_settings"))
    interface = {"key": {"key": "key", "dataFlowType": "STRING", "config": {"default": INTERFACE}}}
    return {"nodes": nodes, "edges": edges, "interfaceInputs": interface}


async def test_no_canary_is_found_anywhere(tmp_path: Path) -> None:
    shown: list[str] = []
    async with provider() as model:
        env = {"OPENAI_API_KEY": ENVIRONMENT, "INNKEEPER_ENV_KEY_HOSTS": f"127.0.0.1:{model.port}"}
        async with LocalStack(StackOptions(tmp_path / "data", env=env)) as stack:
            async with GatewayClient(stack.url) as client:
                run = await client.submit(graph(model.url))
                shown += [json.dumps(event) async for event in client.events(run)]
                status = await client.status(run)
            async with httpx.AsyncClient(base_url=stack.url) as http:
                pages = ("", "/events", "/outputs/typed/api_settings", "/outputs/wired/api_settings")
                shown += [(await http.get(f"/api/prompt/{run}{page}")).text for page in pages]
                others = ("/api/history", f"/api/history/{run}", "/api/executions", "/metrics", "/api/plugins")
                shown += [(await http.get(page)).text for page in others]
            temporal = await Client.connect(stack.temporal_address, namespace="innkeeper")
            history = await temporal.get_workflow_handle(run).fetch_history()
            shown += [text.decode("latin-1") for event in history.events for text in layers(event.SerializeToString())]
    # The keys really arrived where they are spent; without that, nothing would be proved.
    assert set(model.keys) == set(CANARIES)
    assert {status["nodeStatus"][node]["status"] for node in ("inner", "ask_typed", "ask_environment")} == {"error"}
    for text in shown:
        assert not found_in(text.encode("latin-1", "replace"))
    leaks = {
        str(file): found for file in _files(tmp_path) for part in layers(file.read_bytes()) if (found := found_in(part))
    }
    assert leaks == {}


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
