"""A backup as docs/operating.md describes it: stop, pack, unpack elsewhere, start. Open runs go on."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import httpx

from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.services.secrets import OPERATOR, SecretStore, load_or_create_key
from tests.docs.pages import DOCS

APPROVAL = json.loads((DOCS.parent / "examples" / "approval.json").read_bytes())


async def when(http: httpx.AsyncClient, path: str, key: str, wanted: str) -> dict[str, Any]:
    """What an address answers, once it has the wanted value."""
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await http.get(path)).json()
            if found[key] == wanted:
                return found
            await asyncio.sleep(0.1)


async def test_open_run_and_stored_key_survive_the_way_through_an_archive(tmp_path: Path) -> None:
    data, archive, elsewhere = tmp_path / "data", tmp_path / "backup.tar.gz", tmp_path / "elsewhere"
    async with LocalStack(StackOptions(data)) as stack, httpx.AsyncClient(base_url=stack.url) as http:
        run = (await http.post("/api/prompt", json=APPROVAL)).json()["promptId"]
        await when(http, f"/api/prompt/{run}", "status", "waiting")
    reference = SecretStore(data / "secrets", load_or_create_key(data, {})).put("sk-of-a-channel", OPERATOR)

    with tarfile.open(archive, "w:gz") as packed:
        packed.add(data, "data")
    data.rename(tmp_path / "gone")
    with tarfile.open(archive) as packed:
        packed.extractall(elsewhere, filter="tar")

    restored = elsewhere / "data"
    async with LocalStack(StackOptions(restored)) as stack, httpx.AsyncClient(base_url=stack.url) as http:
        assert stack.damages() == []
        assert (await http.post(f"/api/prompt/{run}/approvals/check", json={"approved": True})).is_success
        ended = await when(http, f"/api/prompt/{run}", "status", "complete")
    assert ended["outputs"] == {"text": "Sent: We are glad to announce the new lamp."}
    secrets = SecretStore(restored / "secrets", load_or_create_key(restored, {}))
    assert secrets.load(reference).value == "sk-of-a-channel"
