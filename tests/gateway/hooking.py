"""Triggers and their workflows on a real gateway, and requests to webhooks as senders make them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests.gateway.triggers.senders import CONFIGS, secrets_of, send

Json = dict[str, Any]


def workflow(id: str, type: str = "toys:Say", *, slot: str = "text", out: str = "text", **more: Any) -> Json:
    """A stored workflow of one node: its input `what` goes into `slot`, its output `line` comes out of `out`."""
    output = {"key": "line", "dataFlowType": "STRING", **more}
    return {
        "id": id,
        "name": id,
        "nodes": [
            {"id": "in", "type": "core:GroupInput"},
            {"id": "n", "type": type},
            {"id": "out", "type": "core:GroupOutput"},
        ],
        "edges": [
            {"id": "e1", "source": "in", "sourceHandle": "what", "target": "n", "targetHandle": slot},
            {"id": "e2", "source": "n", "sourceHandle": out, "target": "out", "targetHandle": "line"},
        ],
        "interfaceInputs": {"what": {"key": "what", "dataFlowType": "WILDCARD", "required": True}},
        "interfaceOutputs": {"line": output},
    }


SAY = workflow("says")


async def store(http: httpx.AsyncClient, document: Json = SAY) -> None:
    """Store a workflow unless an earlier test has."""
    answer = await http.post("/api/workflows", json=document)
    assert answer.status_code in (201, 409), answer.text


def definition(name: str, kind: str = "webhook", *, workflow: str = "says", **fields: Any) -> Json:
    mapping = {"what": {"expression": "body.text" if kind == "webhook" else "data.text"}}
    return {"name": name, "kind": kind, "workflow": {"id": workflow}, "mapping": mapping, **fields}


@dataclass
class Hook:
    """A webhook and what its sender knows."""

    http: httpx.AsyncClient
    trigger: Json
    scheme: str
    secrets: tuple[str, ...]

    @property
    def url(self) -> str:
        return str(self.trigger["url"])

    @property
    def path(self) -> str:
        return f"/api/triggers/{self.trigger['id']}"

    def signed(self, body: bytes, delivery: str = "d_1", *, at: float | None = None, secret: int = 0) -> Any:
        """Headers that prove this body."""
        if self.scheme == "none":
            return []
        moment = int(time.time() if at is None else at)
        return send(self.scheme, self.secrets[secret], body, moment, delivery)

    async def post(self, body: bytes, headers: Any = (), **more: Any) -> httpx.Response:
        content_type = [("Content-Type", "application/json")]
        return await self.http.post(self.url, content=body, headers=[*content_type, *headers], **more)

    async def deliver(self, body: bytes = b'{"text": "hi"}', delivery: str = "d_1", **more: Any) -> httpx.Response:
        return await self.post(body, self.signed(body, delivery), **more)

    async def results(self) -> list[Json]:
        answer = await self.http.get(f"{self.path}/results")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["results"])

    async def until_result(self, outcome: str) -> Json:
        """Refused deliveries are noted a moment later."""
        async with asyncio.timeout(10):
            while True:
                found = [result for result in await self.results() if result["outcome"] == outcome]
                if found:
                    return found[0]
                await asyncio.sleep(0.05)


async def hook(http: httpx.AsyncClient, name: str, scheme: str = "github", *, secrets: int = 1, **fields: Any) -> Hook:
    """A new webhook."""
    await store(http)
    known = () if scheme == "none" else secrets_of(scheme)[:secrets]
    part = {"scheme": scheme, "config": CONFIGS.get(scheme, {}), **fields.pop("webhook", {})}
    body = {**definition(name, webhook=part, **fields), **({"secrets": list(known)} if known else {})}
    answer = await http.post("/api/triggers", json=body)
    assert answer.status_code == 201, answer.text
    return Hook(http, answer.json(), scheme, known)
