"""Each protocol through the real stack: channels, the worker, its plugins, viewers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.viewer import Viewer
from tests.nodes.services.llm.conftest import serving
from tests.nodes.services.llm.provider_server import ProviderServer
from tests.nodes.services.llm.test_toy_models import ToyServer

pytestmark = pytest.mark.slow
Json = dict[str, Any]
PATHS = {"anthropic": "/anthropic", "openai-responses": "/openai/v1", "gemini": "/gemini", "ollama": "/ollama"}


@asynccontextmanager
async def providers(data: Path) -> AsyncIterator[None]:
    """Channels to a server of each protocol, and to one of the plugin's."""
    file = data / "channels.yaml"
    before = file.read_bytes() if file.exists() else None
    async with serving(ProviderServer().app) as url, serving(ToyServer().app) as toy:
        channels = [{"id": name, "baseUrl": url + path, "adapterType": name} for name, path in PATHS.items()]
        channels.append({"id": "toy", "baseUrl": toy, "adapterType": "toy"})
        file.write_text(json.dumps({"channels": channels}))
        yield
    if before is None:
        file.unlink()
    else:
        file.write_bytes(before)


def node(channel: str, model: str, stream: bool) -> Json:
    inputs = {"messages": [{"role": "user", "content": "Hi"}], "activated_model_id": f"channel:{channel}/{model}"}
    return {
        "id": f"{channel}-{model}-{'stream' if stream else 'whole'}",
        "fullType": "core:GenericLlmRequest",
        "inputs": {**inputs, "stream": stream},
    }


async def test_every_protocol_answers_nodes_and_viewers(shared: tuple[LocalStack, Path]) -> None:
    stack, data = shared
    asked = [(name, model) for name in PATHS for model in ("text", "thinking")] + [("toy", "m")]
    viewer = Viewer()
    async with providers(data), GatewayClient(stack.url) as client:
        id = await client.submit(
            {"nodes": [node(*one, stream) for one in asked for stream in (True, False)], "edges": []}
        )
        async for event in client.events(id):
            viewer.apply(event)
        status = await client.status(id)
    for channel, model in asked:
        text = {"text": "Grüß dich 😀", "thinking": "42", "m": "Hello world"}[model]
        streamed, whole = (status["nodeStatus"][f"{channel}-{model}-{way}"] for way in ("stream", "whole"))
        for entry in (streamed, whole):
            assert entry["status"] == "complete", entry
            assert (entry["output"]["responseText"], entry["output"]["finish_reason"]) == (text, "stop")
        assert viewer.text(f"{channel}-{model}-stream") == text
        if channel != "toy":
            assert streamed["output"]["usage"] == whole["output"]["usage"]
            assert streamed["output"]["reasoning"] == whole["output"]["reasoning"]
            assert bool(whole["output"]["reasoning"]) is (model == "thinking")


async def test_the_api_lists_the_protocols_of_plugins(shared: tuple[LocalStack, Path]) -> None:
    async with httpx.AsyncClient(base_url=shared[0].url, trust_env=False) as http:
        answer = await http.get("/api/llm/providers")
    assert {"id": "toy", "name": "Toy protocol"} in answer.json()
