"""Runs over HTTP: submit, look, list, interrupt, and fetch single outputs."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.output_response import find_output, output_response
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, body_of, json_response, status_of
from innkeeper.gateway.runs.admission import JsonObject, read_body
from innkeeper.nodes.errors import RunError

router = APIRouter(prefix="/api", tags=["runs"])

MAX_KEY_CHARS = 255
MAX_WAIT_S = 600.0
MAX_CURSOR = 2**63 - 1
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An execution payload, a stored workflow, or {workflowId, inputs}; `inputs` may stand "
        "beside any of them, and `wait` (seconds, or true) answers with the full status once the run has ended. "
        "`baseRun` takes over what that run has finished and what is the same (without a document: its own graph); "
        "`fromNode` runs that node and all behind it in any case; `targets` runs only these nodes and what they need; "
        "`preview: true` with `changed` runs what that node affects, without side effects; `noCache` runs every node.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.post("/prompt", openapi_extra=BODY, summary="Submit a run")
async def submit(request: Request) -> Response:
    container = container_of(request)
    body = read_body(await request.body())
    wait_s = _wait_seconds(body.get("wait"))
    accepted = await container.runs.submit(body, container.settings.user, idempotency_key(request))
    if wait_s is None:
        return json_response(accepted.to_json())
    status = await container.runs.wait_for_end(accepted.run, wait_s, container.reader.follow)
    return json_response({**status, **accepted.to_json()})


@router.get("/prompt/{run}", summary="Full status of a run, running or ended")
async def status(run: str, request: Request) -> Response:
    return json_response(await container_of(request).runs.status(run))


@router.get("/prompt/{run}/outputs/{place:path}", summary="One output value: <node path>/<slot>")
async def output(run: str, place: str, request: Request) -> Response:
    container = container_of(request)
    value = find_output(await container.runs.status(run), place)
    return await output_response(value, container.blobs, request.headers.get("accept", ""))


@router.get("/executions", summary="Runs that run or wait now")
async def executions(request: Request) -> Response:
    return json_response(await container_of(request).runs.executions())


@router.get("/history", summary="Ended runs, newest first")
async def history(
    request: Request,
    limit: int = Query(50, ge=1, le=500),
    cursor: int | None = Query(None, ge=0, le=MAX_CURSOR),
    status: Literal["complete", "error", "interrupted"] | None = None,
    previews: bool = Query(False, description="List previews too"),
) -> Response:
    runs, following = await container_of(request).runs.history(cursor, limit, status, previews=previews)
    return json_response({"history": runs, "nextCursor": following})


@router.get("/history/{run}", summary="Full status of a run")
async def history_entry(run: str, request: Request) -> Response:
    return await status(run, request)


@router.delete("/history/{run}", summary="Delete an ended run: its result, its events, and in time its values")
async def delete(run: str, request: Request) -> Response:
    await container_of(request).runs.delete(run)
    return Response(status_code=204)


@router.delete("/interrupt/{run}", summary="Interrupt a run")
@router.post("/interrupt/{run}", summary="Interrupt a run")
async def interrupt(run: str, request: Request) -> Response:
    try:
        message = await container_of(request).runs.interrupt(run)
    except RunError as error:
        body: JsonObject = {"success": False, "message": error.message, **body_of(error)}
        return json_response(body, status_of(error))
    return json_response({"success": True, "message": message})


def idempotency_key(request: Request) -> str | None:
    """The header of this name. Raises BadRequest when it is empty or too long."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
        raise BadRequest(f"Idempotency-Key must have 1 to {MAX_KEY_CHARS} characters, found {len(key)}")
    return key


def _wait_seconds(wait: Any) -> float | None:
    if wait is None or wait is False:
        return None
    if wait is True:
        return MAX_WAIT_S
    if not isinstance(wait, int | float) or not 0 <= wait <= MAX_WAIT_S:
        raise BadRequest(f"'wait' must be true or a number of seconds from 0 to {MAX_WAIT_S:g}")
    return float(wait)
