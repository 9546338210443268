"""Talking to the WebSocket of clients: what many tests say and hear there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Json = dict[str, Any]


@contextlib.asynccontextmanager
async def socket_to(url: str) -> AsyncIterator[ClientConnection]:
    async with connect(url, compression=None, proxy=None, max_size=2**24) as socket:
        yield socket


async def say(socket: ClientConnection, kind: str, **payload: Any) -> None:
    await socket.send(json.dumps({"type": kind, "payload": payload}))


async def hear(socket: ClientConnection, kind: str) -> Json:
    """The next message of this type; others are passed over."""
    async with asyncio.timeout(30):
        while True:
            frame: Json = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


async def hear_run(socket: ClientConnection, run: str) -> list[Json]:
    """All events of a run up to its final status."""
    events = []
    async with asyncio.timeout(30):
        while True:
            frame = json.loads(await socket.recv())
            if frame["seq"] is not None and frame["payload"].get("promptId") == run:
                events.append(frame)
                if is_final(frame):
                    return events


def is_final(frame: Json) -> bool:
    done = ("complete", "error", "interrupted")
    return bool(frame["type"] == "EXECUTION_STATUS_UPDATE" and frame["payload"]["status"] in done)
