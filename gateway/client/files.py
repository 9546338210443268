"""Files of workflows, as `GatewayClient.files`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx2

from innkeeper.gateway.client.transport import GatewayRefused, InvalidAddress, Transport, content_of

_PIECE = 256 * 1024
_PAGE = 1000


class Files:
    """Logical paths are `user://...`, `shared://...` or `system://...`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def put(self, path: str, file: Path, *, overwrite: bool = True) -> dict[str, Any]:
        """Upload a file to a logical path (`user://cards/a.png`). Gives its path, size, sha256 and whether it is new.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: Too large, out of bounds, or with `overwrite=False` there already (`file_exists`).
            GatewayAway: Nothing answers; an upload is not repeated.
            OSError: The file cannot be read.
        """
        url, size = _file_url(path), await asyncio.to_thread(os.path.getsize, file)
        headers = {"Content-Length": str(size)} | ({} if overwrite else {"If-None-Match": "*"})
        try:
            response = await self._transport.http.put(url, headers=headers, content=_file_pieces(file))
        except httpx2.TransportError as error:
            # A gateway that refuses a large file hangs up; its answer may be lost on the way.
            if not await self._transport.is_up():
                raise self._transport.away() from error
            reason = f"the gateway broke off the upload of {size} bytes; is it over the limit INNKEEPER_MAX_FILE_BYTES?"
            raise GatewayRefused(reason, code="upload_broken_off") from error
        found: dict[str, Any] = content_of(response)
        return found

    async def get(self, path: str, target: BinaryIO) -> int:
        """Download a file, piece by piece; gives its size.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: There is no such file, or it is out of bounds.
            GatewayAway: The gateway went away, perhaps in the middle.
        """
        size = 0
        try:
            async with self._transport.http.stream("GET", _file_url(path)) as response:
                if not response.is_success:
                    await response.aread()
                    content_of(response)
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(target.write, piece)
                    size += len(piece)
        except httpx2.TransportError as error:
            raise self._transport.away() from error
        return size

    async def list_below(self, folder: str) -> list[dict[str, Any]]:
        """All files below a folder: `{path, size, modifiedAt}` each, sorted by path. A missing folder has none.

        Raises:
            InvalidAddress: `folder` is no logical path.
        """
        url = _file_url(folder if folder.endswith("/") else f"{folder}/")
        files: list[dict[str, Any]] = []
        while True:
            after = {"after": files[-1]["path"]} if files else {}
            page = await self._transport.call("GET", url, params={"limit": _PAGE, **after})
            files += page
            if len(page) < _PAGE:
                return files

    async def delete(self, path: str) -> None:
        """Delete a file.

        Raises:
            InvalidAddress: `path` is no logical path.
            GatewayRefused: There is no such file, or it is out of bounds.
        """
        await self._transport.call("DELETE", _file_url(path))


async def _file_pieces(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as stream:
        while piece := await asyncio.to_thread(stream.read, _PIECE):
            yield piece


def _file_url(path: str) -> str:
    """Where the gateway has a logical path."""
    scheme, mark, inner = path.partition("://")
    try:
        quoted = "/".join(quote(name, safe="") for name in inner.split("/"))
    except UnicodeEncodeError:
        mark = ""
    if not mark or scheme not in ("user", "shared", "system") or {".", ".."} & set(inner.split("/")):
        raise InvalidAddress(f"{path[:200]!r} is no path of a file: write it like user://cards/name.png")
    return f"/api/files/{scheme}/{quoted}"
