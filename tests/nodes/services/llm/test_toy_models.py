"""The plugin of docs/plugins.md that adds a protocol, from its manifest to the answer of a server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import WorkerSettings
from innkeeper.nodes.catalogue.live import LiveCatalogue
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.node import ChatRequest, Llm, ModelWish
from innkeeper.nodes.services.llm import plugin_adapter
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.nodes.services.llm.registry import built_in_adapters
from innkeeper.nodes.testing import MemoryBlobs
from tests.nodes.services.llm.conftest import serving

PLUGIN = Path(__file__).parents[3] / "plugins" / "toy-models"
WORDS = ("Hello", " wor", "ld")


class ToyServer:
    """Attributes: body, key: What the last request held."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.body: Any = None
        self.key = ""

        @self.app.post("/say")
        async def say(request: Request) -> Response:
            self.body, self.key = await request.json(), request.headers.get("authorization", "")
            if self.body["model"] == "sick":
                return Response(json.dumps({"error": {"message": "no", "code": "server_error"}}) + "\n")
            if not self.body["stream"]:
                return JSONResponse({"text": "".join(WORDS), "end": "stop"})
            lines = [*({"word": word} for word in WORDS), {"end": "stop", "tokens": 3}]
            return Response("".join(json.dumps(line) + "\n" for line in lines), media_type="application/x-ndjson")


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[tuple[Llm, ToyServer]]:
    """The models of a worker that has the plugin, and a channel to a server of its protocol."""
    server, catalogue = ToyServer(), LiveCatalogue(load_catalogue([PLUGIN]))
    async with serving(server.app) as url:
        channels = [
            {"id": name, "baseUrl": url, "adapterType": name, "apiKey": "env:TOY_API_KEY", "supportedModels": models}
            for name, models in (("toy", ["m", "sick"]), ("toy-bad", ["fails", "exits", "blocks"]))
        ]
        (folder / "channels.yaml").write_text(json.dumps({"channels": channels}))
        environ = {"INNKEEPER_ALLOW_LOOPBACK": "1", "TOY_API_KEY": "sk-toy"}
        environ["INNKEEPER_GATEWAY_URL"] = ""  # nobody waits for a gateway that is not there
        settings = WorkerSettings.load(environ, data_dir=folder)
        make = ServicesForRuns(settings, MemoryBlobs(), environ, plugin_adapters=lambda: catalogue.adapters)
        services, _ = make(CallOrigin(run="r", node="n"))
        try:
            yield services.llm, server
        finally:
            await make.aclose()


def asked(model: str) -> ChatRequest:
    return ChatRequest(
        wish=ModelWish(model), messages=[{"role": "user", "content": "Hi"}], parameters={"temperature": 1}
    )


async def test_a_channel_speaks_the_protocol_of_a_plugin(tmp_path: Path) -> None:
    async with worker(tmp_path) as (llm, server):
        response = await llm.chat(asked("m"))
        assert (response.text, response.finish_reason, response.channel_id) == ("Hello world", "stop", "toy")
        assert server.body == {"model": "m", "prompt": "user: Hi", "stream": False, "temperature": 1}
        assert server.key == "Bearer sk-toy"
        chunks = [chunk async for chunk in llm.stream(asked("m"))]
        assert [chunk.content for chunk in chunks if chunk.type == "text_chunk"] == list(WORDS)
        assert chunks[-1].content["usage"] == {"completion_tokens": 3}
        with pytest.raises(ProviderError, match='the provider says: "no"'):
            await llm.chat(asked("sick"))


@pytest.mark.parametrize(
    ("model", "what"), [("fails", "AttributeError"), ("exits", "SystemExit"), ("blocks", "blocked for")]
)
async def test_a_protocol_that_misbehaves_fails_its_own_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, what: str
) -> None:
    limited = partial(plugin_adapter.ThreadedAdapter, block_limit_s=1.0)
    monkeypatch.setattr("innkeeper.nodes.services.llm.registry.ThreadedAdapter", limited)
    async with worker(tmp_path) as (llm, _):
        bad = asyncio.create_task(llm.chat(asked(model)))
        slowest = 0.0
        while not bad.done():
            began = time.monotonic()
            assert (await llm.chat(asked("m"))).text == "Hello world"
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.01)
        with pytest.raises(ProviderError) as caught:
            await bad
        assert "'toy-bad' of the plugin 'toy-models'" in caught.value.message
        assert what in caught.value.message
        assert slowest < 0.9


def test_the_providers_of_the_api_show_it() -> None:
    catalogue = load_catalogue([PLUGIN])
    kinds = {kind.name: kind.display_name for kind in built_in_adapters(plugins=lambda: catalogue.adapters)}
    assert kinds["toy"] == "Toy protocol"
