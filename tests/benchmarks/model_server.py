"""A model server for the `model` rows, on a bare socket: it must not be what is measured. Takes a port.

The model of a request is `CHUNKS@PACE_MS`: so many chunks, a network write of 8 of them each, so far apart.
"""

from __future__ import annotations

import asyncio
import json
import sys

PER_WRITE = 8
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(number: int) -> bytes:
    """One chunk, as OpenAI writes it."""
    part = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": f" word{number}"}, "logprobs": None, "finish_reason": None}],
    }
    return b"data: " + json.dumps(part).encode() + b"\n\n"


EVENTS = [event(number) for number in range(1_000)]
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def framed(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await _answer(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    model = json.loads(await reader.readexactly(length))["model"]
    chunks, _, pace_ms = model.partition("@")
    writer.write(HEAD)
    for first in range(0, int(chunks), PER_WRITE):
        count = min(PER_WRITE, int(chunks) - first)
        writer.write(framed(b"".join(EVENTS[(first + number) % len(EVENTS)] for number in range(count))))
        await writer.drain()
        await asyncio.sleep(float(pace_ms) / 1000)
    writer.write(framed(END) + b"0\r\n\r\n")
    await writer.drain()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
