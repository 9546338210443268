"""The console: the page at `/` and its files. They are public; the data that the page asks for is not."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.errors import NotFound, shown

router = APIRouter(include_in_schema=False, default_response_class=Response)

FOLDER = Path(__file__).parents[1] / "console"
INDEX = "index.html"
PREFIX = "/console/"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""The system's own table is not asked: where it is wrong, a browser refuses the module."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    # Asked for anew each time, and answered by 304: after an upgrade no module meets an older one.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def get_console(request: Request) -> Response:
    return await _answer(INDEX, request)


@router.api_route("/console/{file:path}", methods=["GET", "HEAD"])
async def get_console_file(file: str, request: Request) -> Response:
    return await _answer(file, request)


async def _answer(name: str, request: Request) -> Response:
    # By name from a list: no path that a client sends reaches the file system.
    path = _files().get(name)
    if path is None:
        raise NotFound(f"the console has no file {shown(name)}")
    content = await asyncio.to_thread(path.read_bytes)
    # That of the page itself stands for all its modules: a page that is open learns by it that another one is served.
    version = content + _version() if name == INDEX else content
    headers = {**HEADERS, "ETag": f'"{hashlib.sha256(version).hexdigest()[:32]}"'}
    # A proxy that packs what it sends makes the tag a weak one.
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[path.suffix])


@cache
def _version() -> bytes:
    """Of all files together, when the gateway first serves the page."""
    content = hashlib.sha256()
    for name, path in sorted(_files().items()):
        content.update(f"{name}\0".encode() + path.read_bytes())
    return content.digest()


@cache
def _files() -> dict[str, Path]:
    """Name in the address to the file, of all that a browser may load."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(FOLDER).as_posix(): path for path in found}
