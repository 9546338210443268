"""Projects and their workflows in the shape that ComfyTavern's editor reads: no If-Match is needed, unknown fields
stay."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.documents import Workflow
from innkeeper.gateway.api.models.library import NewProject, Project, ProjectChange, ProjectWorkflow
from innkeeper.gateway.api.preconditions import changed, check_match
from innkeeper.gateway.api.prompts import UNREADABLE
from innkeeper.gateway.api.responses import answer, errors, json_body, list_of, request_headers
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import BadRequest, json_response
from innkeeper.gateway.library.documents import JsonObject, check_new_id, with_kept_fields
from innkeeper.gateway.library.library import Saved
from innkeeper.gateway.library.lookup import StoredRow, WorkflowDamaged
from innkeeper.gateway.library.projects import StoredProject
from innkeeper.gateway.library.view import document_to_json, etag, project_to_json, project_workflow_to_json
from innkeeper.gateway.runs.admission import read_body

router = APIRouter(prefix="/api/projects", tags=["projects"], default_response_class=Response)
ProjectId = Annotated[str, Path(max_length=200, description="The project's `id`.")]
WorkflowId = Annotated[str, Path(max_length=200, description="The workflow's `id`.")]
NO_PROJECT = {400: "bad_request", 404: "project_not_found"}
NO_WORKFLOW = {400: "bad_request", 404: "project_not_found workflow_not_found"}
UPDATES = "Innkeeper-Updates"
VERSIONED = {"ETag": "Version of the workflow, for `If-Match`."}
SAVED = {**VERSIONED, UPDATES: "Number of workflows that are brought up to its new interface, in the background."}
IF_MATCH = request_headers({"If-Match": "The ETag that was read: the change is made only on that version."})


@router.get("", summary="All projects, by name", responses=answer("The projects.", list_of(Project)) | errors())
async def list_projects(request: Request) -> Response:
    container = container_of(request)
    found = await container.projects.live(container.settings.user)
    return json_response([project_to_json(row) for row in found])


@router.post(
    "",
    summary="Make a project",
    status_code=201,
    responses=answer("It is made.", Project, status=201)
    | errors(
        {
            **UNREADABLE,
            400: "bad_request",
            409: "project_exists",
            507: "storage_failed",
        }
    ),
    openapi_extra=json_body(NewProject, "Its name and description."),
)
async def create_project(request: Request) -> Response:
    container = container_of(request)
    body = await read_body(await request.body(), "{name, description}")
    return json_response(project_to_json(await container.projects.create(container.settings.user, body)), 201)


@router.get(
    "/{project_id}/metadata",
    summary="One project",
    responses=answer("The project.", Project) | errors(NO_PROJECT),
)
async def get_project(project_id: ProjectId, request: Request) -> Response:
    return json_response(project_to_json(await _project(request, project_id)))


@router.put(
    "/{project_id}",
    summary="Change a project; its id stays",
    responses=answer("The project.", Project)
    | errors(
        {
            **NO_PROJECT,
            **UNREADABLE,
            400: "bad_request",
            409: "project_exists version_changed",
            507: "storage_failed",
        }
    ),
    openapi_extra=json_body(ProjectChange, "What changes."),
)
async def put_project(project_id: ProjectId, request: Request) -> Response:
    container = container_of(request)
    body = await read_body(await request.body(), "{name, description}")
    return json_response(project_to_json(await container.projects.change(container.settings.user, project_id, body)))


@router.delete(
    "/{project_id}",
    summary="Move a project and its workflows to the bin; its files stay",
    status_code=204,
    responses=answer("It is in the bin.", status=204) | errors({**NO_PROJECT, 409: "project_needed"}),
)
async def delete_project(project_id: ProjectId, request: Request) -> Response:
    container = container_of(request)
    await container.projects.delete(container.settings.user, project_id)
    return Response(status_code=204)


@router.get(
    "/{project_id}/workflows",
    summary="The workflows of a project, by name",
    responses=answer("The workflows.", list_of(ProjectWorkflow)) | errors(NO_PROJECT),
)
async def list_project_workflows(project_id: ProjectId, request: Request) -> Response:
    container = container_of(request)
    project = await _project(request, project_id)
    await container.lookup.refresh()
    rows = await container.library.live(project.user_id, project.id)
    return await asyncio.to_thread(lambda: json_response([project_workflow_to_json(row) for row in rows]))


@router.post(
    "/{project_id}/workflows",
    summary="Store a new workflow in a project",
    status_code=201,
    responses=answer("The workflow as it is stored.", Workflow, status=201, headers=SAVED)
    | errors(
        {
            **NO_PROJECT,
            **UNREADABLE,
            409: "id_taken name_taken",
            413: "too_large invalid_workflow secret_too_large",
            507: "storage_failed",
        }
    ),
    openapi_extra=json_body(Workflow, "The document, with a name."),
)
async def create_project_workflow(project_id: ProjectId, request: Request) -> Response:
    container = container_of(request)
    body = _named(await read_body(await request.body()))
    check_new_id(body)
    project = await _project(request, project_id)
    saved = await container.library.create(body, project.user_id, project.id)
    return await _saved(container, saved, 201)


@router.get(
    "/{project_id}/workflows/{workflow_id}",
    summary="One workflow of a project, its newest version",
    responses=answer("The workflow.", Workflow, headers=VERSIONED) | errors({**NO_WORKFLOW, 409: "workflow_damaged"}),
)
async def get_project_workflow(project_id: ProjectId, workflow_id: WorkflowId, request: Request) -> Response:
    row = await _workflow(request, project_id, workflow_id)
    return await _document(container_of(request), row)


@router.put(
    "/{project_id}/workflows/{workflow_id}",
    summary="Store a new version of a workflow; fields that its editor does not know are kept",
    responses=answer("The workflow as it is stored.", Workflow, headers=SAVED)
    | errors(
        {
            **NO_WORKFLOW,
            **UNREADABLE,
            409: "name_taken version_changed",
            412: "version_mismatch",
            413: "too_large invalid_workflow secret_too_large",
            507: "storage_failed",
        }
    ),
    openapi_extra={**json_body(Workflow, "The document; its id is that of the path."), **IF_MATCH},
)
async def put_project_workflow(project_id: ProjectId, workflow_id: WorkflowId, request: Request) -> Response:
    container = container_of(request)
    body = _named(await read_body(await request.body()))
    if body.get("id") not in (None, workflow_id):
        raise BadRequest(f"the document has another id than the path ({workflow_id!r}): an id stays as it is")

    async def save(row: StoredRow) -> Saved:
        return await container.library.save(row, await _with_kept_fields(container, row, body))

    # Without If-Match the last writer wins, as the editor expects: whoever came between is a version before.
    found = await changed(request, lambda: _workflow(request, project_id, workflow_id), save, required=False)
    return await _saved(container, found)


@router.delete(
    "/{project_id}/workflows/{workflow_id}",
    summary="Move a workflow to the bin; it stays there for 30 days",
    status_code=204,
    responses=answer("It is in the bin.", status=204)
    | errors({**NO_WORKFLOW, 409: "version_changed", 412: "version_mismatch"}),
    openapi_extra=IF_MATCH,
)
async def delete_project_workflow(project_id: ProjectId, workflow_id: WorkflowId, request: Request) -> Response:
    container = container_of(request)
    row = await _workflow(request, project_id, workflow_id)
    await check_match(request, container, row, required=False)
    await container.library.delete(row)
    return Response(status_code=204)


async def _project(request: Request, project_id: str) -> StoredProject:
    container = container_of(request)
    return await container.projects.get(container.settings.user, project_id)


async def _workflow(request: Request, project_id: str, workflow_id: str) -> StoredRow:
    project = await _project(request, project_id)
    await container_of(request).lookup.refresh()
    return await container_of(request).lookup.row_in(project.user_id, project.id, workflow_id)


async def _with_kept_fields(container: Container, row: StoredRow, body: JsonObject) -> JsonObject:
    """What is saved, with the fields that its editor does not know. Of a damaged version nothing is kept: to save is
    how the workflow becomes readable again."""
    try:
        before = await container.lookup.version(row, "latest")
    except WorkflowDamaged:
        return body
    return await asyncio.to_thread(with_kept_fields, body, before.document)


def _named(body: JsonObject) -> JsonObject:
    if not isinstance(body.get("name"), str):
        raise BadRequest("'name' of a workflow is missing")
    return body


async def _document(
    container: Container, row: StoredRow, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The document with what the server says of it; what is null is left out, as the editor's schema wants it."""
    stored = await container.lookup.version(row, row.version)
    return json_response(document_to_json(stored.document, row), status, {"ETag": etag(row), **(headers or {})})


async def _saved(container: Container, saved: Saved, status: int = 200) -> Response:
    # Who follows is told in a header: the schema of ComfyTavern's editor allows no further field.
    return await _document(container, saved.row, status, {UPDATES: str(saved.updates.count)})
