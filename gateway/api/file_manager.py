"""Files of the user as the file manager of ComfyTavern's front end asks for them: by logical path, folder by folder.

Paths, limits and rules are those of `/api/files`. A logical path is one path parameter: whole, and percent-encoded
(`user%3A%2F%2Fcards%2Fa.png`).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import mimetypes
from typing import Annotated, Any, BinaryIO

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.control import UNREADABLE
from innkeeper.gateway.api.file_transfer import (
    WRITABLE,
    Draft,
    FolderItem,
    UserFiles,
    name_of,
    parse_path,
    path_in,
    without_slash,
)
from innkeeper.gateway.api.files import (
    FILE,
    NOT_MODIFIED,
    PART,
    READ_ERRORS,
    READ_HEADERS,
    VERSION,
    file_response,
    files_of,
    utf8_path,
)
from innkeeper.gateway.api.forms import files_in_form, form_body
from innkeeper.gateway.api.models import file_manager as models
from innkeeper.gateway.api.responses import ANY, BYTES, answer, contents, errors, json_body, list_of
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.runs.admission import read_body

router = APIRouter(
    prefix="/api/fam", tags=["files"], dependencies=[Depends(utf8_path)], default_response_class=Response
)

MAX_PATHS = 1000
MAX_UPLOADS = 100
_WRITE_AT_ONCE = 1024 * 1024
LogicalPath = Annotated[str, Path(description="Logical path, percent-encoded, such as `user%3A%2F%2Fcards%2F`.")]
EnsureExists = Query("", description="Changes nothing: a missing folder is empty, and the first write makes it.")
REFUSED = {400: "bad_request", 403: "resource_refused", 404: "not_found resource_not_found"}
CHANGE_ERRORS = errors({**REFUSED, **UNREADABLE, 409: "name_taken resource_unwritable", 507: "storage_failed"})


@router.get(
    "/list/{path:path}",
    summary="What stands in one folder",
    responses=answer("Folders first, then files, by name; a missing folder has none.", list_of(models.FolderItem))
    | errors({**REFUSED, 409: "resource_unreadable too_many_files"}),
)
async def list_folder(path: LogicalPath, request: Request, ensureExists: str = EnsureExists) -> Response:
    found = await asyncio.to_thread(files_of(request).list_folder, parse_path(path))
    return json_response([_to_json(item) for item in found])


_READ = {
    **contents("The file.", {BYTES: FILE, ANY: FILE}, headers=VERSION),
    **contents("A part of the file.", {BYTES: FILE, ANY: FILE}, status=206, headers=PART),
    **NOT_MODIFIED,
    **READ_ERRORS,
}


@router.get("/read/{path:path}", summary="A file, to be shown", responses=_READ, openapi_extra=READ_HEADERS)
async def read_file(path: LogicalPath, request: Request) -> Response:
    return await file_response(request, parse_path(path))


@router.get("/download/{path:path}", summary="A file, to be saved", responses=_READ, openapi_extra=READ_HEADERS)
async def download_file(path: LogicalPath, request: Request) -> Response:
    return await file_response(request, parse_path(path))


@router.post(
    "/create-dir",
    summary="Make a folder",
    status_code=201,
    responses=answer("The new folder.", models.FolderItem, status=201) | CHANGE_ERRORS,
    openapi_extra=json_body(models.NewFolder, "Where, and its name."),
)
async def create_folder(request: Request) -> Response:
    body = await _body(request)
    path = path_in(parse_path(_text(body, "parentLogicalPath")), _text(body, "dirName"))
    return json_response(_to_json(await asyncio.to_thread(files_of(request).make_folder, path)), 201)


@router.post(
    "/upload/{path:path}",
    summary="Write files into a folder",
    status_code=201,
    responses=answer("The files.", list_of(models.FolderItem), status=201) | CHANGE_ERRORS,
    openapi_extra=form_body(
        models.FilesForm,
        f"At most {MAX_UPLOADS} files, together `INNKEEPER_MAX_FILE_BYTES`. Files of the same names are replaced.",
    ),
)
async def upload_files(path: LogicalPath, request: Request) -> Response:
    folder, user_files = parse_path(path), files_of(request)
    async with files_in_form(request, "files", most=MAX_UPLOADS) as uploads:
        paths = [path_in(folder, upload.filename or "") for upload in uploads]
        if len({*paths}) < len(paths):
            raise BadRequest("two files of the form have the same name")
        streams = {path: upload.file for path, upload in zip(paths, uploads, strict=True)}
        written = await asyncio.to_thread(_write_all, user_files, streams)
    return json_response([_to_json(item) for item in written], 201)


@router.post(
    "/write-json",
    summary="Write a JSON file",
    responses=answer("The file.", models.FolderItem) | CHANGE_ERRORS,
    openapi_extra=json_body(models.JsonFile, "The file and what it shall hold."),
)
async def write_json_file(request: Request) -> Response:
    body, user_files = await _body(request), files_of(request)
    path = parse_path(_text(body, "logicalPath"))
    if "content" not in body:
        raise BadRequest("'content' is missing: what the file shall hold")
    text = io.BytesIO(orjson.dumps(body["content"]))
    (written,) = await asyncio.to_thread(_write_all, user_files, {path: text})
    return json_response(_to_json(written))


@router.put(
    "/rename",
    summary="Give a file or folder another name",
    responses=answer("With its new name.", models.FolderItem) | CHANGE_ERRORS,
    openapi_extra=json_body(models.NewName, "Nothing is overwritten: 409 when something has this name."),
)
async def rename_file(request: Request) -> Response:
    body = await _body(request)
    path = without_slash(parse_path(_text(body, "logicalPath")))
    folder = path.removesuffix(name_of(path))
    target = path_in(folder, _text(body, "newName"))
    (item,) = await asyncio.to_thread(files_of(request).move, [(path, target)])
    return json_response(_to_json(item))


@router.put(
    "/move",
    summary="Move files and folders, all of them or none",
    responses=answer("Where they are now.", list_of(models.FolderItem)) | CHANGE_ERRORS,
    openapi_extra=json_body(models.NewPlace, "Nothing is overwritten: 409 when something has one of the names."),
)
async def move_files(request: Request) -> Response:
    body = await _body(request)
    folder = parse_path(_text(body, "targetParentPath"))
    moves = [(path, path_in(folder, name_of(path))) for path in _paths(body, "sourcePaths")]
    moved = await asyncio.to_thread(files_of(request).move, moves)
    return json_response([_to_json(item) for item in moved])


@router.delete(
    "/delete",
    summary="Delete files, and folders with all that is in them: all of them or none",
    status_code=204,
    responses=answer("They are gone.", status=204) | CHANGE_ERRORS,
    openapi_extra=json_body(models.Unwanted, "Which."),
)
async def delete_files(request: Request) -> Response:
    paths = _paths(await _body(request), "logicalPaths")
    await asyncio.to_thread(files_of(request).delete_all, paths)
    return Response(status_code=204)


def _write_all(files: UserFiles, data: dict[str, BinaryIO]) -> list[FolderItem]:
    """Write them all to the disk before the first one gets its place: most errors then leave all as it was."""
    with contextlib.ExitStack() as stack:
        drafts: list[Draft] = []
        for path, stream in data.items():
            draft = stack.enter_context(files.draft(path))
            while piece := stream.read(_WRITE_AT_ONCE):
                draft.write(piece)
            drafts.append(draft)
        for draft in drafts:
            draft.finish()
    return [files.item(path) for path in data]


def _to_json(item: FolderItem) -> dict[str, Any]:
    common = {
        "id": item.path,
        "name": item.name,
        "logicalPath": item.path,
        "itemType": "directory" if item.is_folder else "file",
        "lastModified": max(0, int(item.modified * 1000)),
        "isWritable": item.path.partition(":")[0] in WRITABLE,
    }
    if item.is_folder:
        return common
    mime = mimetypes.guess_type(item.name)[0]
    return {**common, "size": item.size, **({"mimeType": mime} if mime else {})}


async def _body(request: Request) -> dict[str, Any]:
    return await read_body(await request.body(), "paths of files")


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key!r} must be a text that is not empty")
    return value


def _paths(body: dict[str, Any], key: str) -> list[str]:
    value = body.get(key)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_PATHS or not all(isinstance(x, str) for x in value):
        raise BadRequest(f"{key!r} must be a list of 1 to {MAX_PATHS} logical paths")
    return list(dict.fromkeys(without_slash(parse_path(path)) for path in value))
