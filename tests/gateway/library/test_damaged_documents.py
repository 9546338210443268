"""A document that is damaged where it is stored: its workflow says so, and everything else goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import zlib
from typing import Any

import httpx
import pytest

from tests.gateway.api.test_control import until
from tests.gateway.conftest import Stack
from tests.gateway.library.test_library import around, greeter, saved

DAMAGES = {
    "not-packed": b"\0damaged",
    "cut-short": zlib.compress(b'{"nodes": [], "edges": []}')[:-4],
    "no-json": zlib.compress(b'{"nodes": ['),
    "no-object": zlib.compress(b"[]"),
}


def damage(shared: Stack, identity: str, content: bytes) -> None:
    """Change the newest version of a workflow behind the gateway's back. In a thread: the gateway may be writing."""
    with contextlib.closing(sqlite3.connect(shared.data / "gateway.db", timeout=10)) as db, db:
        query = (
            "UPDATE workflow_versions SET document=? WHERE (workflow, version) = "
            "(SELECT number, version FROM workflows WHERE id=? AND deleted_at=0)"
        )
        assert db.execute(query, (content, identity)).rowcount == 1


def refused(response: httpx.Response) -> Any:
    assert response.status_code == 409, response.text
    assert "is damaged and cannot be read" in response.json()["error"]
    return response.json()["code"]


@pytest.mark.parametrize("kind", DAMAGES)
async def test_damaged_document_says_so_and_stops_nothing_else(
    shared: Stack, http: httpx.AsyncClient, kind: str
) -> None:
    hurt, sound, outer = f"hurt-{kind}", f"sound-{kind}", f"outer-{kind}"
    for document in (greeter(hurt, "Hi"), greeter(sound, "Ho"), around(outer, hurt, shared.data / "never")):
        await saved(http, document)
    await asyncio.to_thread(damage, shared, hurt, DAMAGES[kind])
    any_version = {"If-Match": "*"}
    for response in (
        await http.get(f"/api/workflows/{hurt}"),
        await http.get(f"/api/workflows/{hurt}/versions/1"),
        await http.get(f"/api/projects/default/workflows/{hurt}"),
        await http.get(f"/api/workflows/{hurt}/diff?from=1&to=latest"),
        await http.post(f"/api/workflows/{hurt}/publish", headers=any_version),
        await http.post("/api/prompt", json={"workflowId": hurt}),
        await http.post("/api/validate", json={"workflowId": hurt}),
    ):
        assert refused(response) == "workflow_damaged"
    group = await http.post("/api/prompt", json={"workflowId": outer})
    assert group.status_code == 422
    told = [problem["message"] for problem in group.json()["problems"] if problem.get("node") == "group"]
    assert any(f"'{hurt}' is damaged and cannot be read" in message for message in told), told

    (shared.data / "shared" / "library" / "workflows").mkdir(parents=True, exist_ok=True)
    file = shared.data / "shared" / "library" / "workflows" / f"file-{kind}.json"
    file.write_text(json.dumps(greeter(f"file-{kind}", "from a file")))
    listed = {workflow["id"] for workflow in (await http.get("/api/workflows")).json()}
    assert {hurt, sound, outer, f"file-{kind}"} <= listed
    assert len((await http.get(f"/api/workflows/{hurt}/versions")).json()) == 1
    assert (await http.post("/api/gc?dryRun=true")).status_code == 200
    run = (await http.post("/api/prompt", json={"workflowId": sound})).json()["promptId"]
    await until(http, run, "complete")


@pytest.mark.parametrize("path", ["workflows", "projects/default/workflows"])
async def test_saving_a_damaged_workflow_again_mends_it_even_with_the_same_content(
    shared: Stack, http: httpx.AsyncClient, path: str
) -> None:
    identity = f"mended-{path.partition('/')[0]}"
    await saved(http, greeter(identity, "Hi"))
    await asyncio.to_thread(damage, shared, identity, DAMAGES["no-json"])
    answer = await http.put(f"/api/{path}/{identity}", json=greeter(identity, "Hi"), headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    stored = await http.get(f"/api/workflows/{identity}")
    assert stored.json() == greeter(identity, "Hi")
    assert stored.headers["etag"].endswith('.2"')
