"""A model server that answers with recorded exchanges: each request body is matched to its recorded answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

IGNORED = ("stream_options",)  # we ask for usage; what was recorded did not


class ModelServer:
    """Plays the exchanges of one recorded run. `unmatched` holds bodies nobody recorded."""

    def __init__(self) -> None:
        self.url = ""
        self.exchanges: list[dict[str, Any]] = []
        self.unmatched: list[Any] = []
        self.authorizations: list[str | None] = []

    def play(self, exchanges: Sequence[dict[str, Any]]) -> None:
        self.exchanges = list(exchanges)
        self.unmatched = []
        self.authorizations = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and len(head) < 65_536:
                headers = _headers(head)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                writer.write(self._answer(headers, json.loads(body) if body else None))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, headers: dict[str, str], body: Any) -> bytes:
        self.authorizations.append(headers.get("authorization"))
        wanted = {key: value for key, value in (body or {}).items() if key not in IGNORED}
        for index, exchange in enumerate(self.exchanges):
            if exchange["body"] == wanted:
                return _response(self.exchanges.pop(index))
        self.unmatched.append(wanted)
        return _response(
            {"status": 400, "json": {"error": {"message": "not recorded", "type": "invalid_request_error"}}}
        )


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


def _response(exchange: dict[str, Any]) -> bytes:
    if "sse" in exchange:
        kind, body = "text/event-stream", "".join(f"{line}\n\n" for line in exchange["sse"]).encode()
    elif "text" in exchange:
        kind, body = "text/plain", exchange["text"].encode()
    else:
        kind, body = "application/json", json.dumps(exchange["json"]).encode()
    head = f"HTTP/1.1 {exchange['status']} -\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
