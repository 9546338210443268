"""Media of messages on their way from a worker to servers of each protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import Response

from innkeeper.activities.services import ServicesForRuns
from innkeeper.activities.settings import WorkerSettings
from innkeeper.nodes.errors import NodeInputError, RequestRefused
from innkeeper.nodes.node import ChatRequest, Llm, ModelWish
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.nodes.testing import MemoryBlobs
from tests.nodes.services.llm.conftest import serving
from tests.nodes.services.llm.provider_server import ProviderServer

PNG = b"\x89PNG\r\n\x1a\n" + b"." * 40
DATA = base64.b64encode(PNG).decode()
PATHS = {"anthropic": "/anthropic", "openai-responses": "/openai/v1", "gemini": "/gemini", "ollama": "/ollama"}


@asynccontextmanager
async def worker(folder: Path, name: str, environ: dict[str, str]) -> AsyncIterator[tuple[Llm, ProviderServer, str]]:
    """The models of a worker with one channel, its server, and the address of a picture."""
    server, pictures = ProviderServer(), FastAPI()
    pictures.add_api_route("/cat.png", lambda: Response(PNG, media_type="image/png"))
    (folder / "users" / "ann").mkdir(parents=True)
    (folder / "users" / "ann" / "cat.png").write_bytes(PNG)
    async with serving(server.app) as url, serving(pictures) as web:
        channel = {"id": name, "baseUrl": url + PATHS[name], "adapterType": name}
        (folder / "channels.yaml").write_text(json.dumps({"channels": [channel]}))
        settings = WorkerSettings.load({"INNKEEPER_GATEWAY_URL": "", **environ}, data_dir=folder)
        make = ServicesForRuns(settings, MemoryBlobs(), environ)
        services, _ = make(CallOrigin(run="r", node="n", user="ann"))
        try:
            yield services.llm, server, f"{web}/cat.png"
        finally:
            await make.aclose()


async def sent(folder: Path, name: str, image: str | None, **environ: str) -> str:
    """The body that the server of a protocol gets for an image; by default for that of the web."""
    async with worker(folder, name, environ) as (llm, server, web):
        part = {"type": "image_url", "image_url": {"url": image or web}}
        messages = [{"role": "user", "content": [part]}]
        response = await llm.chat(ChatRequest(wish=ModelWish("text"), messages=messages))
        assert response.channel_id == name
        return json.dumps(server.body).replace(web, "WEB")


@pytest.mark.parametrize("name", PATHS)
async def test_files_of_the_user_are_sent_as_data(tmp_path: Path, name: str) -> None:
    body = await sent(tmp_path, name, "user://cat.png", INNKEEPER_ALLOW_LOOPBACK="1")
    assert DATA in body
    assert "user://" not in body


@pytest.mark.parametrize(
    ("name", "is_fetched"), [("anthropic", False), ("openai-responses", False), ("gemini", True), ("ollama", True)]
)
async def test_addresses_are_fetched_where_the_provider_does_not(tmp_path: Path, name: str, is_fetched: bool) -> None:
    body = await sent(tmp_path, name, None, INNKEEPER_ALLOW_LOOPBACK="1")
    assert (DATA in body) is is_fetched
    assert ("WEB" in body) is not is_fetched


async def test_what_requests_of_nodes_may_not_reach_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match=r"^messages\[0\]\.content\[0\]: request to '127.0.0.1'"):
        await sent(tmp_path, "ollama", None)


async def test_files_of_others_are_not_sent(tmp_path: Path) -> None:
    (tmp_path / "users" / "bob").mkdir(parents=True)
    (tmp_path / "users" / "bob" / "cat.png").write_bytes(PNG)
    with pytest.raises(NodeInputError, match="refused"):
        await sent(tmp_path, "ollama", "user://../bob/cat.png")
