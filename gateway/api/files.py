"""Files of the user over HTTP: list, read (also in parts), write, delete."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import os
import re
from email.utils import formatdate
from typing import Annotated, BinaryIO
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from innkeeper.gateway.api.file_conditions import condition_of_delete, condition_of_upload, etag_of
from innkeeper.gateway.api.file_transfer import MAX_LISTED, UserFiles, logical_path, pieces
from innkeeper.gateway.api.models.files import ListedFile, WrittenFile
from innkeeper.gateway.api.output_response import BINARY_MIME, SAFE_HEADERS
from innkeeper.gateway.api.responses import (
    ANY,
    BYTES,
    JSON,
    JsonObject,
    answer,
    binary,
    binary_body,
    contents,
    errors,
    list_of,
    request_headers,
    without_bodies,
)
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.nodes.services.resources import FileInfo


def utf8_path(request: Request) -> None:
    """What is not UTF-8 has become U+FFFD in the path that routes see: another name than was asked for."""
    try:
        unquote_to_bytes(request.scope.get("raw_path", b"")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path holds bytes that are not UTF-8 (such as %ff); names are UTF-8") from None


router = APIRouter(
    prefix="/api/files", tags=["files"], dependencies=[Depends(utf8_path)], default_response_class=Response
)

# As many digits as Python reads: a range beyond any size is still one.
_RANGE = re.compile(r"bytes=(\d{0,4000})-(\d{0,4000})", re.ASCII)
_WRITE_AT_ONCE = 1024 * 1024
Scheme = Annotated[str, Path(description="`user`, `shared` or `system`.")]
FilePath = Annotated[str, Path(description="Path of the file; names are UTF-8 and do not begin with a dot.")]
Limit = Query(1000, ge=1, le=MAX_LISTED, description="At most so many files.")
After = Query("", max_length=2000, description="Only files whose paths come after this one: the last of a page.")
REFUSED = {400: "bad_request", 403: "resource_refused", 404: "not_found"}
NEXT_PAGE = {"Link": '`<url>; rel="next"`: the next page, when there is one.'}
VERSION = {
    "ETag": "Version of the file.",
    "Last-Modified": "When it was written.",
    "Accept-Ranges": "`bytes`.",
    "Content-Disposition": "`attachment` with the file's name: it is saved, never shown.",
}
PART = {**VERSION, "Content-Range": "`bytes <first>-<last>/<size>`."}
# First as bytes of no type: generators of clients know it, and take what they know.
FILE = binary("The bytes of the file, or of a part of it, in the media type that its name stands for.")
LIST_OR_FILE: JsonObject = {
    "description": "A page of files; or what a JSON file holds.",
    "anyOf": [list_of(ListedFile), {}],
}
READ_HEADERS = request_headers(
    {
        "If-None-Match": "ETags that the client has: of one of them the answer is 304.",
        "Range": "`bytes=<first>-<last>`, either end may be open: one part of the file. Several give the whole file.",
        "If-Range": "ETag: the part only if the file is still this version, else the whole file.",
    }
)
READ_ERRORS = errors(
    {
        400: "bad_request is_folder",
        403: "resource_refused",
        404: "not_found resource_not_found",
        409: "resource_unreadable",
        416: "range_not_satisfiable",
    }
)
NEW_VERSION = {"ETag": "Version of the file, as `GET` gives it."}
IF_MATCH = {
    "If-Match": "ETags: only if the file is one of these versions; `*`: only if there is one. Otherwise the answer is "
    "412, with the present version in `details.etag`."
}
NOT_MODIFIED = answer("The client has this version.", status=304, headers=VERSION)


@router.get(
    "/{scheme}",
    summary="Files of a scheme, also in its folders, by path",
    responses=answer("A page.", list_of(ListedFile), headers=NEXT_PAGE) | errors(REFUSED),
)
async def list_files(scheme: Scheme, request: Request, limit: int = Limit, after: str = After) -> Response:
    return await _list(request, logical_path(scheme, ""), limit, after)


@router.get(
    "/{scheme}/{path:path}",
    summary="A file, whole or in part; of a folder (`path/`) its files",
    responses={
        **contents(
            "The file; or a page of files.",
            {BYTES: FILE, JSON: LIST_OR_FILE, ANY: FILE},
            headers=VERSION | NEXT_PAGE,
        ),
        **contents(
            "A part of the file.",
            {BYTES: FILE, ANY: FILE},
            status=206,
            headers=PART,
        ),
        **NOT_MODIFIED,
        **READ_ERRORS,
    },
    openapi_extra=READ_HEADERS,
)
async def get_file(
    scheme: Scheme, path: FilePath, request: Request, *, limit: int = Limit, after: str = After
) -> Response:
    logical = logical_path(scheme, path)
    if not path or path.endswith("/"):
        return await _list(request, logical, limit, after)
    return await file_response(request, logical)


@router.head(
    "/{scheme}/{path:path}",
    summary="Size, type and version of a file",
    responses={
        **answer("The headers of the file.", headers={**VERSION, "Content-Length": "Its size in bytes."}),
        **answer("The headers of a part.", status=206, headers=PART),
        **NOT_MODIFIED,
        **without_bodies(READ_ERRORS),
    },
    openapi_extra=READ_HEADERS,
)
async def head_file(scheme: Scheme, path: FilePath, request: Request) -> Response:
    return await file_response(request, logical_path(scheme, path))


@router.put(
    "/{scheme}/{path:path}",
    summary="Write a file, whole or not at all",
    responses={
        **answer("It replaced a file.", WrittenFile, headers=NEW_VERSION),
        **answer("It is new.", WrittenFile, status=201, headers=NEW_VERSION),
        **errors(
            {
                **REFUSED,
                409: "resource_unwritable",
                412: "file_exists precondition_failed",
                413: "too_large",
                507: "storage_failed",
            }
        ),
    },
    openapi_extra={
        **binary_body("The file. The largest is `INNKEEPER_MAX_FILE_BYTES`."),
        **request_headers({"If-None-Match": "`*`: do not replace a file, answer 412 instead.", **IF_MATCH}),
    },
)
async def put_file(scheme: Scheme, path: FilePath, request: Request) -> Response:
    logical = logical_path(scheme, path)
    condition = condition_of_upload(request.headers)
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
        written = await asyncio.to_thread(draft.finish, condition)
    return json_response(written.to_json(), 201 if written.created else 200, {"ETag": written.etag})


@router.delete(
    "/{scheme}/{path:path}",
    summary="Delete a file",
    status_code=204,
    responses=answer("It is gone.", status=204)
    | errors(
        {
            **REFUSED,
            404: "not_found resource_not_found",
            409: "resource_unwritable",
            412: "precondition_failed",
            507: "storage_failed",
        }
    ),
    openapi_extra=request_headers(IF_MATCH),
)
async def delete_file(scheme: Scheme, path: FilePath, request: Request) -> Response:
    logical, condition = logical_path(scheme, path), condition_of_delete(request.headers)
    await asyncio.to_thread(files_of(request).delete_matching, logical, condition)
    return Response(status_code=204)


def files_of(request: Request) -> UserFiles:
    settings = container_of(request).settings
    return UserFiles(settings.data_dir, settings.user, settings.max_file_bytes)


async def _list(request: Request, folder: str, limit: int, after: str) -> Response:
    page, last = await asyncio.to_thread(files_of(request).list_page, folder, limit, after)
    more = f"{quote(request.url.path)}?limit={limit}&after={quote(last, safe='')}" if last else None
    headers = {"Link": f'<{more}>; rel="next"'} if more else {}
    return json_response([file.to_json() for file in page], headers=headers)


async def file_response(request: Request, path: str) -> Response:
    """A file as GET and HEAD have it: whole or in part, or 304. Raises as `UserFiles.open`."""
    stream, info = await asyncio.to_thread(files_of(request).open, path)
    response = _answer(request, path, stream, info)
    if not isinstance(response, StreamingResponse):
        stream.close()
    return response


def _answer(request: Request, path: str, stream: BinaryIO, info: FileInfo) -> Response:
    tag = etag_of(os.fstat(stream.fileno()))
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
