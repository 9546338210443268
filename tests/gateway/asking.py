"""Asking a gateway over HTTP: what many tests do with a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.service import RPCError

Json = dict[str, Any]


def growing_pauses() -> Iterator[float]:
    """Seconds between two looks at what comes by itself: seldomer the longer it takes, for a look costs both sides."""
    pause_s = 0.02
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.3, 0.1)


async def submit(http: httpx.AsyncClient, body: Json) -> str:
    """Start a run, and give its id."""
    answer = await http.post("/api/prompt", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["promptId"])


async def until(http: httpx.AsyncClient, run: str, *statuses: str, timeout_s: float = 30) -> Json:
    """The full status of a run, as soon as it is one of these."""
    pauses = growing_pauses()
    async with asyncio.timeout(timeout_s):
        while (found := (await http.get(f"/api/prompt/{run}")).json())["status"] not in statuses:
            await asyncio.sleep(next(pauses))
    return dict(found)


def single(type: str, config: Json | None = None, **inputs: Any) -> Json:
    """A graph of one node, `n`."""
    return {"nodes": [{"id": "n", "fullType": type, "inputs": inputs, "configValues": config or {}}], "edges": []}


async def until_begun(http: httpx.AsyncClient, run: str, path: str = "n") -> None:
    """Return as soon as a node has begun."""
    pauses = growing_pauses()
    async with asyncio.timeout(30):
        while path not in (await http.get(f"/api/prompt/{run}")).json()["nodeStatus"]:
            await asyncio.sleep(next(pauses))


async def until_started(temporal: Client, run: str) -> None:
    """Return as soon as Temporal has a run: its submission is answered before."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RPCError):
                await temporal.get_workflow_handle(run).describe()
                return
            await asyncio.sleep(0.02)


async def until_ready(http: httpx.AsyncClient) -> None:
    """Return as soon as the gateway takes runs."""
    async with asyncio.timeout(30):
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
