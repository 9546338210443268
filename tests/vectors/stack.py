"""The stack on which recorded runs are played, and what can be asked of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx

from innkeeper.gateway.process.local_stack import LocalStack
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.channel_file import CHANNELS_FILE
from innkeeper.nodes.services.secrets import SecretStore, load_or_create_key
from tests.vectors.model_server import ModelServer

PLUGINS = Path(__file__).parents[1] / "plugins"
ENVIRONMENT = {"OPENAI_API_BASE": "https://env.host", "OPENAI_API_KEY": "envkey"}


class Stack:
    """A running stack and a client of it."""

    def __init__(self, local: LocalStack, http: httpx.AsyncClient, data: Path, models: ModelServer) -> None:
        self.local, self.http, self.data, self.models = local, http, data, models
        self._secrets = SecretStore(data / "secrets", load_or_create_key(data, {}))

    def write_files(self, files: dict[str, Any]) -> None:
        for path, content in files.items():
            scheme, _, inner = path.partition("://")
            file = self.data / ("users/default_user" if scheme == "user" else scheme) / inner
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else base64.b64decode(content["base64"]))

    def write_channels(self, channels: list[dict[str, Any]] | None) -> None:
        """The channels of the run's user as the operator's file, their keys stored; without any there is no file."""
        file = self.data / CHANNELS_FILE
        mine = [channel for channel in channels or () if channel.get("userId") in (None, "default_user")]
        if not mine:
            file.unlink(missing_ok=True)
            return
        for channel in mine:
            if key := channel.pop("apiKey", ""):
                channel["apiKey"] = self._secrets.put(key, "operator").to_json()
        file.write_text(json.dumps({"channels": mine}).replace("{{LLM_BASE}}", self.models.url))

    async def submit(self, payload: Any) -> httpx.Response:
        return await self.http.post("/api/prompt", json=payload)

    async def events(self, run: str, interrupt: list[Any] | None = None) -> list[dict[str, Any]]:
        """All events of a run up to its final status; interrupts it at the event `[type, node, nth]`."""
        seen: list[dict[str, Any]] = []
        async with self.http.stream("GET", f"/api/prompt/{run}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    seen.append(json.loads(line[5:]))
                    if interrupt and _matches(seen, interrupt):
                        interrupt = None
                        await self.http.delete(f"/api/interrupt/{run}")
        return seen

    async def status(self, run: str) -> dict[str, Any]:
        return (await self.http.get(f"/api/prompt/{run}")).json()  # type: ignore[no-any-return]

    async def resolved(self, run: str, path: str, value: Any, slot: str) -> Any:
        """The value behind references: blobs by their URL, secrets from the store."""
        if isinstance(value, dict) and isinstance(value.get("$blob"), str):
            answer = await self.http.get(f"/api/prompt/{run}/outputs/{path}/{slot}")
            return answer.json()
        return self._revealed(value)

    def _revealed(self, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("$secret"), str):
            name = value["$secret"]
            if name.startswith("env:"):
                return ENVIRONMENT[name.removeprefix("env:")]
            return self._secrets.load(SecretRef(name)).value
        if isinstance(value, dict):
            return {key: self._revealed(item) for key, item in value.items()}
        return value


def _matches(seen: list[dict[str, Any]], when: list[Any]) -> bool:
    kind, node, nth = when[0], when[1], when[2] if len(when) > 2 else 1
    last = seen[-1]
    if last["type"] != kind or _node_of(last) != node:
        return False
    return sum(1 for event in seen if event["type"] == kind and _node_of(event) == node) >= nth


def _node_of(event: dict[str, Any]) -> str | None:
    payload = event["payload"]
    return payload.get("nodeId") or payload.get("sourceNodeId")
