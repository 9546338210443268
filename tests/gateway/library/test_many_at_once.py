"""The library when many want something at the same moment, or one wants much."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx

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
