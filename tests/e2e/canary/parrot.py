"""A server that repeats the key it was asked with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass
class Parrot:
    """Repeats keys in texts, pieces of streams, headers, JSON, errors (`/broken`) and redirects (`/redirect`).

    Attributes:
        keys: Those it was asked with.
    """

    url: str = ""
    keys: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        headers = {name.lower(): value for name, value in headers.items()}
        key = headers.get("authorization", "").partition(" ")[2]
        self.keys.append(key)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = json.loads(body) if body.startswith(b"{") else {}
        path = head.split(" ")[1]
        status = "500 No" if "/broken" in path else "302 Found" if "/redirect" in path else "200 OK"
        parts = (
            self._stream(key) if asked.get("stream") else self._whole(key, calls="JSON Schema" not in json.dumps(asked))
        )
        if "/broken" in path:
            error = {
                "message": f"Not with the key {key}, sent as Authorization: Bearer {key}",
                "param": key,
                "type": key,
            }
            parts = json.dumps({"error": error, "x-api-key": key}).encode()
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Key: {key}\r\nX-Url: {quote(key)}\r\n"
            f"Location: /v1/web?key={quote(key, safe='')}\r\nSet-Cookie: key={quote(key, safe='')}\r\n"
            f"Content-Length: {len(parts)}\r\nConnection: close\r\n\r\n".encode()
            + parts
        )
        await writer.drain()
        writer.close()

    def _whole(self, key: str, *, calls: bool) -> bytes:
        call = {"id": key, "type": "function", "function": {"name": key, "arguments": json.dumps({"key": key})}}
        message = {
            **{"role": "assistant", "content": f"Your key is {key}, in a URL {quote(key, safe='')}."},
            **{"reasoning_content": f"They asked with {key}.", "tool_calls": [call] if calls else None},
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop", "echo": {key: [key]}}
        return json.dumps({"id": key, "object": "chat.completion", "model": key, "choices": [choice]}).encode()

    def _stream(self, key: str) -> bytes:
        split = (key[:4], key[4:11], key[11:])
        pieces = [{"reasoning_content": text} for text in ("Hm, ", *split, ".")]
        pieces += [{"content": text} for text in ("Key: ", *split, f" {key} ", key[:6])]
        pieces += [{"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": text}}]} for text in split]
        choices = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [{"id": key, "object": "chat.completion.chunk", "model": "m", "choices": [one]} for one in choices]
        return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


@asynccontextmanager
async def parrot() -> AsyncIterator[Parrot]:
    serving = Parrot()
    server = await asyncio.start_server(serving.handle, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield serving
