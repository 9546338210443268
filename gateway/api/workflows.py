"""Stored workflows over HTTP, and checking a document without running it."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.nodes.errors import InvalidWorkflow

router = APIRouter(prefix="/api", tags=["workflows"])


@router.get("/workflows", summary="Stored workflows")
async def workflows(request: Request) -> Response:
    found = await asyncio.to_thread(container_of(request).workflows.list)
    return json_response([item.to_json() for item in found])


@router.get("/workflows/{workflow_id}", summary="One stored workflow")
async def workflow(workflow_id: str, request: Request) -> Response:
    data = await asyncio.to_thread(container_of(request).workflows.read, workflow_id)
    return Response(data, media_type="application/json")


@router.post("/validate", summary="Every problem of a document, without running it")
async def validate(request: Request) -> Response:
    container = container_of(request)
    body = read_body(await request.body())
    try:
        checked = await container.admission.check(body, container.settings.user)
    except InvalidWorkflow as error:
        return json_response({"valid": False, "problems": [problem.to_json() for problem in error.problems]})
    return json_response({"valid": True, "problems": [problem.to_json() for problem in checked.warnings]})
