"""The library when many want something at the same moment, or one wants much."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from tests.gateway.conftest import Stack
from tests.gateway.library.test_library import greeter

Json = dict[str, Any]
MANY = 30
"""More than there are threads."""
UNPACKED_IN_A_THREAD = 60_000


def large(identity: str) -> Json:
    return {**greeter(identity, "hi"), "notes": os.urandom(UNPACKED_IN_A_THREAD).hex()}


def caller(identity: str, *groups: str) -> Json:
    nodes = [
        {"id": f"g{number}", "type": "core:NodeGroup", "configValues": {"referencedWorkflowId": group}}
        for number, group in enumerate(groups)
    ]
    return {"id": identity, "name": identity, "nodes": nodes, "edges": []}


async def test_many_compile_at_once_around_a_large_group(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/workflows", json=large("large-one"))).status_code == 201
    async with asyncio.timeout(60):
        saves = [http.post("/api/workflows", json=caller(f"around{n}", "large-one")) for n in range(MANY)]
        checks = [http.post("/api/validate", json=caller("c", "large-one")) for _ in range(MANY)]
        answers = await asyncio.gather(*saves, *checks)
    assert all(answer.json()["valid"] for answer in answers)


async def test_many_compile_at_once_while_the_files_of_their_groups_change(
    http: httpx.AsyncClient, shared: Stack
) -> None:
    folder = Path(shared.data, "shared", "library", "workflows")
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(MANY):
        (folder / f"part{n}.json").write_text(json.dumps(greeter(f"part{n}", "hi")))
    async with asyncio.timeout(60):
        checks = [http.post("/api/validate", json=caller("c", f"part{n}")) for n in range(MANY)]
        answers = await asyncio.gather(*checks)
    assert all(answer.json()["valid"] for answer in answers)
    for file in folder.glob("part*.json"):
        file.unlink()


async def test_thousands_of_workflows_are_listed_in_pages_and_deleted_in_one_step(
    temporal: Client, tmp_path: Path
) -> None:
    stack = Stack(temporal, tmp_path)
    # Without the check of each answer, which takes longer than the answers of all others.
    async with stack.up(), stack.http(event_hooks={}) as http:
        await http.post("/api/projects", json={"name": "large"})
        await http.post("/api/workflows", json=greeter("model", "hi"))
        await asyncio.to_thread(_copy, stack.settings.store_path, "model", "large", 5_000)
        began = time.monotonic()
        whole = (await http.get("/api/projects/large/workflows")).json()
        listing_s = time.monotonic() - began
        page = (await http.get("/api/workflows", params={"project": "large", "limit": 3, "offset": 4_000})).json()
        assert [row["id"] for row in page] == [row["id"] for row in whole[4_000:4_003]]
        tagged = await http.get("/api/workflows", params={"project": "large", "tag": "none"})
        assert tagged.json() == []
        # All other writes wait for it, those of runs too.
        began = time.monotonic()
        assert (await http.delete("/api/projects/large")).status_code == 204
        assert time.monotonic() - began < 5 * listing_s
        assert len((await http.get("/api/workflows", params={"deleted": True, "limit": 5_000})).json()) == 5_000
        assert (await http.post("/api/workflows/w7/restore")).status_code == 200
        assert [row["id"] for row in (await http.get("/api/projects/large/workflows")).json()] == ["w7"]
    stack.close()


def _copy(database: Path, identity: str, project: str, count: int) -> None:
    """Store copies of a workflow, without versions, faster than the gateway can."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        own = ("number", "id", "name", "project_id")
        found = [row[1] for row in connection.execute("pragma table_info(workflows)")]
        rest = ", ".join(name for name in found if name not in own)
        connection.executemany(
            f"insert into workflows (id, name, project_id, {rest}) select ?, ?, ?, {rest} from workflows where id = ?",
            [(f"w{n}", f"w{n}", project, identity) for n in range(count)],
        )
        connection.commit()
