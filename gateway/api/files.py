"""Files of the user over HTTP: list, read (also in parts), write, delete."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
from email.utils import formatdate
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from innkeeper.gateway.api.file_transfer import MAX_LISTED, UserFiles, logical_path, pieces
from innkeeper.gateway.api.output_response import BINARY_MIME, SAFE_HEADERS
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.nodes.services.resources import FileInfo


def _utf8_path(request: Request) -> None:
    """What is not UTF-8 has become U+FFFD in the path that routes see: another name than was asked for."""
    try:
        unquote_to_bytes(request.scope.get("raw_path", b"")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path holds bytes that are not UTF-8 (such as %ff); names are UTF-8") from None


router = APIRouter(prefix="/api/files", tags=["files"], dependencies=[Depends(_utf8_path)])

# As many digits as Python reads: a range beyond any size is still one.
_RANGE = re.compile(r"bytes=(\d{0,4000})-(\d{0,4000})", re.ASCII)
_WRITE_AT_ONCE = 1024 * 1024
Limit = Query(1000, ge=1, le=MAX_LISTED, description="At most so many files.")
After = Query("", max_length=2000, description="Only files whose paths come after this one: the last of a page.")


@router.get("/{scheme}", summary="Files of a scheme: user, shared or system")
async def list_all(scheme: str, request: Request, limit: int = Limit, after: str = After) -> Response:
    return await _list(request, logical_path(scheme, ""), limit, after)


@router.get("/{scheme}/{path:path}", summary="A file, whole or in part; of a folder (path/) its files")
async def get(scheme: str, path: str, request: Request, limit: int = Limit, after: str = After) -> Response:
    logical = logical_path(scheme, path)
    if not path or path.endswith("/"):
        return await _list(request, logical, limit, after)
    return await _file(request, logical)


@router.head("/{scheme}/{path:path}", summary="Size, type and age of a file")
async def head(scheme: str, path: str, request: Request) -> Response:
    return await _file(request, logical_path(scheme, path))


@router.put("/{scheme}/{path:path}", summary="Write a file, whole or not at all")
async def put(scheme: str, path: str, request: Request) -> Response:
    logical = logical_path(scheme, path)
    condition = request.headers.get("if-none-match")
    if condition not in (None, "*"):
        raise BadRequest("If-None-Match of an upload can only be '*': do not overwrite")
    if "content-range" in request.headers:
        raise BadRequest("a file is uploaded whole: Content-Range is not taken")
    with contextlib.ExitStack() as stack:
        draft = await asyncio.to_thread(stack.enter_context, files_of(request).draft(logical))
        waiting = bytearray()
        async for piece in request.stream():
            waiting += piece
            if len(waiting) >= _WRITE_AT_ONCE:
                await asyncio.to_thread(draft.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(draft.write, bytes(waiting))
        written = await asyncio.to_thread(draft.finish, may_replace=condition is None)
    return json_response(written.to_json(), 201 if written.created else 200)


@router.delete("/{scheme}/{path:path}", summary="Delete a file", status_code=204)
async def delete(scheme: str, path: str, request: Request) -> Response:
    await files_of(request).delete(logical_path(scheme, path))
    return Response(status_code=204)


def files_of(request: Request) -> UserFiles:
    settings = container_of(request).settings
    return UserFiles(settings.data_dir, settings.user, settings.max_file_bytes)


async def _list(request: Request, folder: str, limit: int, after: str) -> Response:
    page, last = await asyncio.to_thread(files_of(request).list_page, folder, limit, after)
    more = f"{quote(request.url.path)}?limit={limit}&after={quote(last, safe='')}" if last else None
    headers = {"Link": f'<{more}>; rel="next"'} if more else {}
    return json_response([file.to_json() for file in page], headers=headers)


async def _file(request: Request, path: str) -> Response:
    stream, info = await asyncio.to_thread(files_of(request).open, path)
    response = _answer(request, path, stream, info)
    if not isinstance(response, StreamingResponse):
        stream.close()
    return response


def _answer(request: Request, path: str, stream: BinaryIO, info: FileInfo) -> Response:
    tag = f'"{int(info.modified * 1_000_000):x}-{info.size:x}"'
    headers = {
        **SAFE_HEADERS,
        "ETag": tag,
        "Last-Modified": formatdate(info.modified, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Content-Disposition": _attachment(path),
    }
    if tag in [known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    asked = _asked_range(request, tag)
    start, length = _part(asked, info.size) if asked else (0, info.size)
    if asked and not length:
        error = {"error": f"{path!r} has {info.size} bytes; the range lies outside", "code": "range_not_satisfiable"}
        return json_response(error, 416, {**headers, "Content-Range": f"bytes */{info.size}"})
    if asked:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{info.size}"
    headers["Content-Length"] = str(length)
    status = 206 if asked else 200
    mime = mimetypes.guess_type(path.rpartition("/")[2])[0] or BINARY_MIME
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=mime)
    stream.seek(start)
    return StreamingResponse(pieces(stream, length), status, headers, media_type=mime)


def _asked_range(request: Request, tag: str) -> tuple[int | None, int | None] | None:
    """First and last byte of a single range, either may be open; None when the whole file is asked for.

    Several ranges, nonsense, and a range of another version of the file mean the whole file too.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or request.headers.get("if-range", tag) != tag or not (match[1] or match[2]):
        return None
    first, last = (int(text) if text else None for text in match.groups())
    return None if first is not None and last is not None and last < first else (first, last)


def _part(asked: tuple[int | None, int | None], size: int) -> tuple[int, int]:
    """Start and length of a range in a file; length 0 when no byte of it is there."""
    first, last = asked
    if first is None:
        length = min(last or 0, size)
        return size - length, length
    end = size if last is None else min(last + 1, size)
    return first, max(0, end - first)


def _attachment(path: str) -> str:
    """It is saved, never shown: an uploaded page must not run at our address."""
    name = path.rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
