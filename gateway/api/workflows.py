"""Stored workflows over HTTP, and checking a document without running it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.documents import RunRequest, StoredWorkflow, Validation, Workflow
from innkeeper.gateway.api.prompts import UNREADABLE
from innkeeper.gateway.api.responses import answer, errors, json_body, list_of
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.nodes.errors import InvalidWorkflow

router = APIRouter(prefix="/api", tags=["workflows"], default_response_class=Response)


@router.get(
    "/workflows",
    summary="Stored workflows, by name",
    responses=answer("The workflows.", list_of(StoredWorkflow)) | errors(),
)
async def list_workflows(request: Request) -> Response:
    found = await asyncio.to_thread(container_of(request).workflows.list)
    return json_response([item.to_json() for item in found])


@router.get(
    "/workflows/{workflow_id}",
    summary="One stored workflow",
    responses=answer("The document as it is stored.", Workflow)
    | errors({404: "workflow_not_found", 409: "duplicate_workflow_id"}),
)
async def get_workflow(
    workflow_id: Annotated[str, Path(description="The `id` inside the document.")], request: Request
) -> Response:
    data = await asyncio.to_thread(container_of(request).workflows.read, workflow_id)
    return Response(data, media_type="application/json")


@router.post(
    "/validate",
    summary="Every problem of a document, without running it",
    responses=answer("The problems, also of a document that cannot run.", Validation)
    | errors({**UNREADABLE, 404: "workflow_not_found", 409: "duplicate_workflow_id"}),
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
