"""Asks whether a gateway answers, without an HTTP library: importing one takes longer than a gateway does to answer."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

POLL_S = 0.02


async def answers(url: str, path: str, token: str | None = None) -> None:
    """Wait until a GET is answered with 200."""
    while True:
        if await status_of(url, path, token) == 200:
            return
        await asyncio.sleep(POLL_S)


async def status_of(url: str, path: str, token: str | None = None, timeout_s: float = 2.0) -> int:
    """The status of one GET; 0 when nothing answers."""
    return (await fetched(url, path, token, timeout_s))[0]


async def fetched(url: str, path: str, token: str | None = None, timeout_s: float = 2.0) -> tuple[int, bytes]:
    """Status and body of one GET; 0 when nothing answers."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                extra = f"Authorization: Bearer {token}\r\n" if token else ""
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{extra}Connection: close\r\n\r\n".encode())
                words = (await reader.readline()).split()
                if len(words) < 2 or not words[0].startswith(b"HTTP/"):
                    return 0, b""
                _, _, body = (await reader.read()).partition(b"\r\n\r\n")
                return int(words[1]), body
    except (OSError, ValueError, TimeoutError):
        return 0, b""
