"""Stored workflows over HTTP: saved in versions, published, compared, deleted; and checking a document."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.documents import RunRequest, Validation, Workflow
from innkeeper.gateway.api.models.library import (
    Publication,
    SavedWorkflow,
    StoredWorkflow,
    WorkflowDiff,
    WorkflowVersion,
)
from innkeeper.gateway.api.preconditions import changed
from innkeeper.gateway.api.prompts import UNREADABLE
from innkeeper.gateway.api.responses import JSON, answer, errors, json_body, list_of, request_headers
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.library.documents import JsonObject, check_new_id, comparable, grouped
from innkeeper.gateway.library.library import Saved, SaveOptions
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT, StoredRow, Which
from innkeeper.gateway.library.view import etag, tags_of, version_to_json, workflow_to_json
from innkeeper.gateway.runs.admission import read_body
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.diff import differences

T = TypeVar("T")
router = APIRouter(prefix="/api", tags=["workflows"], default_response_class=Response)

MAX_LISTED = 5_000
MAX_NOTE_CHARS = 1_000
MAX_VERSION = 2**31 - 1
WorkflowId = Annotated[str, Path(max_length=200, description="The `id` inside the document.")]
Number = Annotated[int, Path(ge=1, le=MAX_VERSION, description="Number of the version.")]
InProject = Annotated[
    str | None,
    Query(alias="project", max_length=200, description="The project; without one `default`, else the only one."),
]
Note = Annotated[str, Query(max_length=MAX_NOTE_CHARS, description="What the version is for.")]
VERSIONED = {"ETag": "Version of the workflow, for `If-Match`."}
IF_MATCH = request_headers(
    {"If-Match": "The ETag that was read: the change is made only on that version. `*`: on any. Required."}
)
CHANGED = {409: "duplicate_workflow_id", 412: "version_mismatch", 428: "precondition_required"}
DAMAGED = "duplicate_workflow_id workflow_damaged"
UNKNOWN = {400: "bad_request", 404: "workflow_not_found", 409: "duplicate_workflow_id"}
DOCUMENT = json_body(Workflow, "The document. One that does not compile is stored, too: its problems are told.")


@router.get(
    "/workflows",
    summary="Stored workflows, by name",
    responses=answer("The workflows.", list_of(StoredWorkflow)) | errors({400: "bad_request"}),
)
async def list_workflows(
    request: Request,
    *,
    project: InProject = None,
    tag: str | None = Query(None, max_length=200, description="Only those with this tag."),
    deleted: bool = Query(False, description="Those in the bin instead, the last one first."),
    limit: int = Query(1000, ge=1, le=MAX_LISTED, description="At most so many."),
    offset: int = Query(0, ge=0, le=MAX_VERSION, description="Leave out so many before."),
) -> Response:
    container = container_of(request)
    user = container.settings.user
    await container.lookup.refresh()
    if not deleted and tag is None:
        page = await container.library.live(user, project, limit=limit, offset=offset)
    else:
        rows = await (container.library.bin(user) if deleted else container.library.live(user, project))
        page = (await asyncio.to_thread(_among, rows, project, tag))[offset : offset + limit]
    return await asyncio.to_thread(_listed, page)


@router.post(
    "/workflows",
    summary="Store a new workflow",
    status_code=201,
    responses=answer("It is stored as version 1.", SavedWorkflow, status=201, headers=VERSIONED)
    | errors(
        {
            **UNREADABLE,
            404: "project_not_found",
            409: "id_taken name_taken",
            413: "too_large invalid_workflow secret_too_large",
            507: "storage_failed",
        }
    ),
    openapi_extra=DOCUMENT,
)
async def create_workflow(request: Request, *, project: InProject = None, note: Note = "") -> Response:
    container = container_of(request)
    body = await read_body(await request.body())
    check_new_id(body)
    user = container.settings.user
    check_new_id(body)
    home = (await container.projects.get(user, project or DEFAULT_PROJECT)).id
    saved = await container.library.create(body, user, home, SaveOptions(note))
    return _saved(saved, 201)


@router.get(
    "/workflows/{workflow_id}",
    summary="One stored workflow",
    responses=answer("The document as it is stored.", Workflow, headers=VERSIONED)
    | errors({400: "bad_request", 404: "workflow_not_found version_not_found", 409: DAMAGED}),
)
async def get_workflow(
    workflow_id: WorkflowId,
    request: Request,
    *,
    project: InProject = None,
    version: str = Query("latest", max_length=20, description="Number of a version, `latest`, or `published`."),
) -> Response:
    row = await _row(request, workflow_id, project)
    return await _document(container_of(request), row, _which(version))


@router.put(
    "/workflows/{workflow_id}",
    summary="Store a new version of a workflow",
    responses=answer("It is stored; identical content makes no version.", SavedWorkflow, headers=VERSIONED)
    | errors(
        {
            **UNREADABLE,
            **CHANGED,
            404: "workflow_not_found",
            409: "duplicate_workflow_id name_taken",
            413: "too_large invalid_workflow secret_too_large",
            507: "storage_failed",
        }
    ),
    openapi_extra={**DOCUMENT, **IF_MATCH},
)
async def put_workflow(
    workflow_id: WorkflowId, request: Request, *, project: InProject = None, note: Note = ""
) -> Response:
    body = await read_body(await request.body())

    async def save(row: StoredRow) -> Saved:
        if body.get("id") not in (None, row.id):
            raise BadRequest(f"the document has another id than the path ({row.id!r}): an id stays as it is")
        return await container_of(request).library.save(row, body, SaveOptions(note))

    return _saved(await _changed(request, workflow_id, project, save))


@router.delete(
    "/workflows/{workflow_id}",
    summary="Move a workflow to the bin; it stays there for 30 days",
    status_code=204,
    responses=answer("It is in the bin.", status=204) | errors({**UNKNOWN, **CHANGED}),
    openapi_extra=IF_MATCH,
)
async def delete_workflow(workflow_id: WorkflowId, request: Request, *, project: InProject = None) -> Response:
    await _changed(request, workflow_id, project, container_of(request).library.delete)
    return Response(status_code=204)


@router.post(
    "/workflows/{workflow_id}/restore",
    summary="Take a workflow out of the bin",
    responses=answer("It is back.", StoredWorkflow, headers=VERSIONED)
    | errors({400: "bad_request", 404: "workflow_not_found", 409: "id_taken"}),
)
async def restore_workflow(workflow_id: WorkflowId, request: Request, *, project: InProject = None) -> Response:
    container = container_of(request)
    return _shown(await container.library.restore(container.settings.user, workflow_id, project))


@router.get(
    "/workflows/{workflow_id}/versions",
    summary="The versions of a workflow, the newest first",
    responses=answer("A page.", list_of(WorkflowVersion)) | errors({400: "bad_request", **UNKNOWN}),
)
async def list_versions(
    workflow_id: WorkflowId,
    request: Request,
    *,
    project: InProject = None,
    limit: int = Query(100, ge=1, le=1000, description="At most so many."),
    before: int | None = Query(None, ge=1, le=MAX_VERSION, description="Only versions before this one."),
) -> Response:
    row = await _row(request, workflow_id, project)
    found = await container_of(request).library.versions(row, before, limit)
    return json_response([version_to_json(version, row) for version in found])


@router.get(
    "/workflows/{workflow_id}/versions/{number}",
    summary="One version of a workflow",
    responses=answer("The document as it was stored.", Workflow, headers=VERSIONED)
    | errors({400: "bad_request", 404: "workflow_not_found version_not_found", 409: DAMAGED}),
)
async def get_version(
    workflow_id: WorkflowId, number: Number, request: Request, *, project: InProject = None
) -> Response:
    row = await _row(request, workflow_id, project)
    return await _document(container_of(request), row, number)


@router.post(
    "/workflows/{workflow_id}/publish",
    summary="Publish a version: runs by id take it",
    responses=answer("It is published.", StoredWorkflow, headers=VERSIONED)
    | errors(
        {**UNREADABLE, **CHANGED, 404: "workflow_not_found version_not_found", 409: DAMAGED, 422: "invalid_workflow"}
    ),
    openapi_extra={
        **json_body(Publication, "Which version; without a body the newest.", required=False),
        **IF_MATCH,
    },
)
async def publish_workflow(workflow_id: WorkflowId, request: Request, *, project: InProject = None) -> Response:
    data = await request.body()
    version = _published(await read_body(data, "{version}") if data.strip() else {})
    library = container_of(request).library
    return _shown(await _changed(request, workflow_id, project, lambda row: library.publish(row, version)))


@router.delete(
    "/workflows/{workflow_id}/publish",
    summary="Publish nothing: runs by id take the newest version that compiles",
    responses=answer("Nothing is published.", StoredWorkflow, headers=VERSIONED) | errors({**UNKNOWN, **CHANGED}),
    openapi_extra=IF_MATCH,
)
async def unpublish_workflow(workflow_id: WorkflowId, request: Request, *, project: InProject = None) -> Response:
    return _shown(await _changed(request, workflow_id, project, container_of(request).library.unpublish))


@router.get(
    "/workflows/{workflow_id}/diff",
    summary="What differs between two versions",
    responses=answer("The differences.", WorkflowDiff)
    | errors({400: "bad_request", 404: "workflow_not_found version_not_found", 409: DAMAGED}),
)
async def diff_workflow(
    workflow_id: WorkflowId,
    request: Request,
    *,
    project: InProject = None,
    before: str = Query("published", alias="from", max_length=20, description="A version, as `version` of GET."),
    after: str = Query("latest", alias="to", max_length=20, description="The other one."),
) -> Response:
    container = container_of(request)
    row = await _row(request, workflow_id, project)
    old, new = [await container.lookup.version(row, _which(name)) for name in (before, after)]
    found = await asyncio.to_thread(_compared, old.document, new.document)
    return json_response({"from": old.version.version, "to": new.version.version, **found})


@router.post(
    "/validate",
    summary="Every problem of a document, without running it",
    responses=answer("The problems, also of a document that cannot run.", Validation)
    | errors({**UNREADABLE, 404: "workflow_not_found version_not_found", 409: DAMAGED}),
    openapi_extra=json_body(RunRequest, "What would be submitted to `POST /api/prompt`."),
)
async def validate_workflow(request: Request) -> Response:
    container = container_of(request)
    body = await read_body(await request.body())
    try:
        checked = await container.admission.check(body, container.settings.user)
    except InvalidWorkflow as error:
        return json_response({"valid": False, "problems": [problem.to_json() for problem in error.problems]})
    return json_response({"valid": True, "problems": [problem.to_json() for problem in checked.warnings]})


def _among(rows: Sequence[StoredRow], project: str | None, tag: str | None) -> Sequence[StoredRow]:
    return [row for row in rows if project in (None, row.project_id) and (tag is None or tag in tags_of(row))]


def _listed(rows: Sequence[StoredRow]) -> Response:
    return json_response([workflow_to_json(row) for row in rows])


async def _row(request: Request, workflow_id: str, project: str | None) -> StoredRow:
    container = container_of(request)
    await container.lookup.refresh()
    if project is not None:
        return await container.lookup.row_in(container.settings.user, project, workflow_id)
    return await container.lookup.row(container.settings.user, workflow_id)


async def _changed(
    request: Request, workflow_id: str, project: str | None, change: Callable[[StoredRow], Awaitable[T]]
) -> T:
    """As `changed`, of the workflow with this id."""
    return await changed(request, lambda: _row(request, workflow_id, project), change)


def _shown(row: StoredRow) -> Response:
    return json_response(workflow_to_json(row), headers={"ETag": etag(row)})


async def _document(container: Container, row: StoredRow, which: Which) -> Response:
    stored = await container.lookup.version(row, which)
    headers = {"ETag": etag(row, stored.version.version), "Cache-Control": "private, no-cache"}
    return Response(stored.data, media_type=JSON, headers=headers)


def _saved(saved: Saved, status: int = 200) -> Response:
    told = {
        **workflow_to_json(saved.row),
        "isNewVersion": saved.is_new,
        "problems": [problem.to_json() for problem in saved.problems],
        "updates": [{"id": row.id, "projectId": row.project_id, "name": row.name} for row in saved.updates.first],
        "updateCount": saved.updates.count,
    }
    return json_response(told, status, {"ETag": etag(saved.row)})


def _compared(old: JsonObject, new: JsonObject) -> JsonObject:
    return grouped(differences(comparable(old), comparable(new)))


def _which(text: str) -> Which:
    if text in ("latest", "published"):
        return "latest" if text == "latest" else "published"
    with contextlib.suppress(ValueError):
        if 0 < int(text) <= MAX_VERSION:
            return int(text)
    raise BadRequest("a version is a number from 1, 'latest' or 'published'")


def _published(body: Mapping[str, Any]) -> int | None:
    version = body.get("version")
    if version is not None and (type(version) is not int or not 0 < version <= MAX_VERSION):
        raise BadRequest("'version' is the number of a version, or left out for the newest")
    return version
