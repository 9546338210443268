"""Runs over HTTP: submit, look, list, interrupt, and fetch single outputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.documents import RunRequest
from innkeeper.gateway.api.models.errors import InterruptRefused
from innkeeper.gateway.api.models.runs import DryRun, Executions, History, Interrupted, Run, RunAccepted, SubmittedRun
from innkeeper.gateway.api.output_response import find_output, output_response
from innkeeper.gateway.api.responses import (
    BYTES,
    JSON,
    TEXT,
    answer,
    binary,
    contents,
    errors,
    json_body,
    one_of,
    request_headers,
    text,
)
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, body_of, json_response, status_of, unsuccessful
from innkeeper.gateway.runs.admission import DRY_RUN, read_body
from innkeeper.gateway.usage.report import with_usage
from innkeeper.nodes.errors import RunError

router = APIRouter(prefix="/api", tags=["runs"], default_response_class=Response)

MAX_KEY_CHARS = 255
MAX_WAIT_S = 600.0
MAX_CURSOR = 2**63 - 1
RunId = Annotated[str, Path(description="The run's `promptId`.")]
UNREADABLE = {400: "bad_request invalid_workflow", 413: "too_large invalid_workflow", 422: "invalid_workflow"}
"""Errors of a JSON body that the document reader refuses: its code is `invalid_workflow`, its problems say why."""
IDEMPOTENCY = request_headers(
    {
        "Idempotency-Key": f"1 to {MAX_KEY_CHARS} characters of the client's own: a request repeated with the same key "
        "and body has the same answer and happens once."
    }
)
WHOLE_VALUE = {
    JSON: {"description": "Any JSON value."},
    TEXT: text("With `Accept: text/plain`: a text as it is, any other value as JSON."),
    BYTES: binary("A binary value, to be saved."),
    "image/*": binary("A PNG, JPEG, GIF or WebP."),
    "audio/*": binary("An MP3, WAV or Ogg."),
}
INTERRUPTION = (
    answer("It is being interrupted, or left the queue.", Interrupted)
    | errors({400: "bad_request"})
    | errors({404: "run_not_found", 409: "run_not_active"}, schema=InterruptRefused)
)


@router.post(
    "/prompt",
    summary="Submit a run",
    responses={
        **answer(
            "Accepted; with `wait` the full status, ended or not; with `dryRun` what it would run.",
            one_of(SubmittedRun, RunAccepted, DryRun),
        ),
        **errors(
            {
                **UNREADABLE,
                404: "run_not_found version_not_found workflow_not_found",
                409: "base_unusable duplicate_workflow_id workflow_damaged",
                422: "invalid_workflow idempotency_mismatch",
                429: "too_many_waiting_runs",
                503: "engine_unavailable event_log_unavailable",
                507: "storage_failed",
            }
        ),
    },
    openapi_extra={**json_body(RunRequest, "What to run, and how."), **IDEMPOTENCY},
)
async def submit_run(request: Request) -> Response:
    container = container_of(request)
    body = await read_body(await request.body())
    if body.get(DRY_RUN) is True:
        return json_response(await container.runs.try_out(body, container.settings.user))
    wait_s = _wait_seconds(body.get("wait"))
    accepted = await container.runs.submit(body, container.settings.user, idempotency_key(request))
    if wait_s is None:
        return json_response(accepted.to_json())
    status = await container.runs.wait_for_end(accepted.run, wait_s, container.reader.follow)
    status = with_usage(status, await container.usage.of_run(accepted.run))
    return json_response({**status, **accepted.to_json()})


@router.get(
    "/prompt/{run}",
    summary="Full status of a run, running or ended",
    responses=answer("The run.", Run)
    | errors({404: "run_not_found", 409: "run_damaged", 503: "event_log_unavailable"}),
)
async def get_run(run: RunId, request: Request) -> Response:
    container = container_of(request)
    status = await container.runs.status(run)
    return json_response(with_usage(status, await container.usage.of_run(run)))


@router.get(
    "/prompt/{run}/outputs/{place:path}",
    summary="One output value, whole",
    responses={
        **contents("The value.", WHOLE_VALUE),
        **errors(
            {
                404: "run_not_found output_not_found resource_not_found",
                409: "resource_unreadable run_damaged",
                503: "event_log_unavailable",
            }
        ),
    },
)
async def get_run_output(
    run: RunId,
    place: Annotated[str, Path(description="`<node path>/<slot>`; both may hold slashes.")],
    request: Request,
) -> Response:
    container = container_of(request)
    value = find_output(await container.runs.status(run), place)
    return await output_response(value, container.blobs, request.headers.get("accept", ""))


@router.get(
    "/executions",
    summary="Runs that have not ended",
    responses=answer("Runs that run and runs that wait.", Executions) | errors({503: "event_log_unavailable"}),
)
async def list_active_runs(request: Request) -> Response:
    return json_response(await container_of(request).runs.executions())


@router.get(
    "/history",
    summary="Ended runs, newest first",
    responses=answer("A page.", History) | errors({400: "bad_request"}),
)
async def list_history(
    request: Request,
    *,
    limit: int = Query(50, ge=1, le=500, description="At most so many runs."),
    cursor: int | None = Query(None, ge=0, le=MAX_CURSOR, description="`nextCursor` of the page before."),
    status: Literal["complete", "error", "interrupted"] | None = Query(None, description="Only runs that ended so."),
    previews: bool = Query(False, description="List previews too."),
) -> Response:
    runs, following = await container_of(request).runs.history(cursor, limit, status, previews=previews)
    return json_response({"history": runs, "nextCursor": following})


@router.get(
    "/history/{run}",
    summary="Full status of a run; the same as GET /api/prompt/{run}",
    responses=answer("The run.", Run)
    | errors({404: "run_not_found", 409: "run_damaged", 503: "event_log_unavailable"}),
)
async def get_history_run(run: RunId, request: Request) -> Response:
    return await get_run(run, request)


@router.delete(
    "/history/{run}",
    summary="Delete an ended run: its result, its events, and in time its values",
    status_code=204,
    responses=answer("It is gone.", status=204)
    | errors({404: "run_not_found", 409: "run_still_active", 503: "event_log_unavailable"}),
)
async def delete_run(run: RunId, request: Request) -> Response:
    await container_of(request).runs.delete(run)
    return Response(status_code=204)


@router.delete("/interrupt/{run}", name="delete_interrupt", summary="Interrupt a run", responses=INTERRUPTION)
@router.post("/interrupt/{run}", name="post_interrupt", summary="Interrupt a run", responses=INTERRUPTION)
async def interrupt_run(
    run: RunId,
    request: Request,
    force: bool = Query(
        False,
        description="End it now, without waiting for its nodes, its worker or Temporal. A second interrupt, 10 s after "
        "the first, does the same.",
    ),
) -> Response:
    try:
        message = await container_of(request).runs.interrupt(run, force=force)
    except RunError as error:
        return json_response(unsuccessful(body_of(error)), status_of(error))
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
