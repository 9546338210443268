"""Viewers that leave and come back with their last position, over WebSocket or server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

import httpx

from innkeeper.gateway.client import GatewayClient
from tests.crash.viewer import Viewer

Event = dict[str, Any]
Way = Literal["websocket", "sse"]


class StreamViewer(Viewer):
    """Sees the stream outputs of the run too.

    Attributes:
        digest: Of all that it was told: equal for viewers who were told the same.
        chunk_count: Chunks of nodes that it was given, those of void attempts too.
        longest_pause_s: Between two events of the run, by the gateway's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, str] = {}
        self.ended_outputs: list[str] = []
        self.digest = hashlib.sha256()
        self.chunk_count = 0
        self.connections = 0
        self.last_event_id = ""
        self.ended_at: dict[str, int] = {}
        self.longest_pause_s = 0.0
        self._last_ts = 0

    def apply(self, event: Event) -> None:
        super().apply(event)
        kind, payload = event["type"], event["payload"]
        self.digest.update(json.dumps(event, sort_keys=True).encode())
        self._keep_time(event["ts"])
        if kind == "NODE_YIELD" and "index" in payload:
            self.chunk_count += 1
        elif kind == "WORKFLOW_INTERFACE_RESET":
            self.outputs.pop(payload["interfaceOutputKey"], None)
        elif kind == "WORKFLOW_INTERFACE_YIELD":
            self._apply_output(payload)
        if payload.get("nodeId") in self.terminal:
            self.ended_at.setdefault(payload["nodeId"], event["ts"])

    def _apply_output(self, payload: Event) -> None:
        key, chunk = payload["interfaceOutputKey"], payload["yieldedContent"]
        assert key not in self.ended_outputs, f"stream output {key!r} goes on after its last chunk"
        if chunk.get("type") == "text_chunk":
            self.outputs[key] = self.outputs.get(key, "") + chunk["content"]
        if payload["isLastChunk"]:
            self.ended_outputs.append(key)

    def _keep_time(self, ts: int) -> None:
        if self._last_ts:
            self.longest_pause_s = max(self.longest_pause_s, (ts - self._last_ts) / 1000)
        self._last_ts = ts

    @property
    def is_done(self) -> bool:
        return self.status in ("complete", "error", "interrupted")


async def watch(
    client: GatewayClient, run: str, viewer: StreamViewer, chance: random.Random, way: Way = "websocket"
) -> None:
    """Watch a run to its end, leaving and coming back at random moments."""
    while not viewer.is_done:
        viewer.connections += 1
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(chance.uniform(0.5, 10.0)):
                source = client.events(run, viewer.seq) if way == "websocket" else _sse(client.url, run, viewer)
                async with aclosing(source) as events:
                    async for event in events:
                        viewer.apply(event)
        await asyncio.sleep(chance.uniform(0.0, 1.0))


async def _sse(url: str, run: str, viewer: StreamViewer) -> AsyncGenerator[Event, None]:
    """One connection, as a browser's EventSource makes it; an answer of 503 says to come back."""
    last = {"Last-Event-ID": viewer.last_event_id} if viewer.last_event_id else {}
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http,
        http.stream("GET", f"/api/prompt/{run}/events", headers=last) as response,
    ):
        if response.status_code == 503:
            return
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("id:"):
                viewer.last_event_id = line.removeprefix("id:").strip()
            elif line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))
