"""All runs in one list, and what was submitted for one of them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.runs import KeptDocument, NodeInputs, RunPage
from innkeeper.gateway.api.output_response import output_response
from innkeeper.gateway.api.prompts import MAX_CURSOR, WHOLE_VALUE, RunId
from innkeeper.gateway.api.responses import answer, contents, errors
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.runs.run_list import MAX_PAGE, WantedRuns
from innkeeper.gateway.usage.report import moment_of

router = APIRouter(prefix="/api", tags=["runs"], default_response_class=Response)

MAX_TEXT = 200
MAX_MOMENT = 40
MAX_PATH = 1000
NodePath = Annotated[
    str, Path(description="Path of the node: ids from the outermost group to the node, joined by `/`.")
]
ShownStatus = Literal["queued", "running", "waiting", "paused", "interrupting", "complete", "error", "interrupted"]


@router.get(
    "/runs",
    summary="All runs, newest first, whatever their state",
    responses=answer("A page.", RunPage) | errors({400: "bad_request", 503: "event_log_unavailable"}),
)
async def list_runs(
    request: Request,
    *,
    status: list[ShownStatus] = Query([], description="Only runs in this state; may be given several times."),
    workflowId: str | None = Query(None, max_length=MAX_TEXT, description="Only runs of this workflow."),
    q: str = Query("", max_length=MAX_TEXT, description="A part of the workflow's name or id, or of the `promptId`."),
    since: str | None = Query(
        None, max_length=MAX_MOMENT, description="Runs that were submitted then or later: a day, or a moment (UTC)."
    ),
    until: str | None = Query(
        None, max_length=MAX_MOMENT, description="Runs that were submitted before; of a day, with that day."
    ),
    previews: bool = Query(False, description="List previews too."),
    limit: int = Query(50, ge=1, le=MAX_PAGE, description="At most so many runs."),
    cursor: int | None = Query(None, ge=0, le=MAX_CURSOR, description="`nextCursor` of the page before."),
) -> Response:
    container = container_of(request)
    wanted = WantedRuns(
        user_id=container.settings.user,
        statuses=frozenset(status),
        workflow_id=workflowId,
        text=q.strip(),
        since=None if since is None else moment_of(since, "since"),
        until=None if until is None else moment_of(until, "until", is_end=True),
        previews=previews,
    )
    runs, following = await container.run_list.page(wanted, cursor, limit)
    return json_response({"runs": runs, "nextCursor": following})


@router.get(
    "/prompt/{run}/document",
    summary="What a run ran: the submitted document, or that of a group in it",
    responses=answer("The document, with references for its secrets.", KeptDocument)
    | errors({400: "bad_request", 404: "run_not_found document_not_kept node_not_found"}),
)
async def get_run_document(
    run: RunId,
    request: Request,
    path: str = Query(
        "", max_length=MAX_PATH, description="Of a group: its node path, joined by `/`. Empty: the document itself."
    ),
) -> Response:
    return json_response(await container_of(request).run_details.document(run, path))


@router.get(
    "/prompt/{run}/inputs/{path:path}",
    summary="The inputs of a node, and where they come from",
    responses=answer("The inputs, as far as they are known.", NodeInputs)
    | errors({404: "run_not_found plan_not_kept node_not_found", 409: "run_damaged", 503: "event_log_unavailable"}),
)
async def get_node_inputs(run: RunId, path: NodePath, request: Request) -> Response:
    return json_response(await container_of(request).run_details.inputs(run, path))


@router.get(
    "/prompt/{run}/input-values/{path:path}",
    summary="One input value, whole",
    responses={
        **contents("The value.", WHOLE_VALUE),
        **errors(
            {
                400: "bad_request",
                404: "run_not_found plan_not_kept node_not_found input_not_found resource_not_found",
                409: "resource_unreadable run_damaged",
                503: "event_log_unavailable",
            }
        ),
    },
)
async def get_input_value(
    run: RunId,
    path: NodePath,
    request: Request,
    slot: str = Query(max_length=MAX_TEXT, description="The input."),
) -> Response:
    container = container_of(request)
    value = await container.run_details.input_value(run, path, slot)
    return await output_response(value, container.blobs, request.headers.get("accept", ""))
