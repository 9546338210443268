"""Control of runs over HTTP: pause, resume, interrupt, approvals, and events from outside."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.control import (
    Answered,
    ApprovalAnswer,
    EventDelivered,
    ExternalEvent,
    OpenApprovals,
    Paused,
    Resumed,
    RunApprovals,
)
from innkeeper.gateway.api.output_response import output_response
from innkeeper.gateway.api.prompts import (
    IDEMPOTENCY,
    INTERRUPTION,
    WHOLE_VALUE,
    RunId,
    idempotency_key,
    interrupt_run,
)
from innkeeper.gateway.api.responses import answer, contents, errors, json_body
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, TooLarge, json_response
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.runs.external_events import MAX_DATA_BYTES, read_event
from innkeeper.gateway.runs.external_events import ExternalEvent as PostedEvent

router = APIRouter(prefix="/api", tags=["control"], default_response_class=Response)

MAX_ANSWER_BYTES = 256_000
MAX_EVENT_BYTES = MAX_DATA_BYTES + 10_000
MAX_PAGE = 500
AN_ANSWER = "{approved, values?, comment?, by?}"
AN_EVENT = "{name, data?}"
MAX_NUMBER = 2**63 - 1
ApprovalId = Annotated[str, Path(description="The `approvalId`: the path of the node that asks.")]
UNREADABLE = {400: "bad_request malformed_json document_too_deep document_too_large", 413: "too_large"}
NOT_ACTIVE = {404: "run_not_found", 409: "run_not_active"}


@router.post(
    "/prompt/{run}/pause",
    summary="Start no new node of a run; what runs goes on",
    responses=answer("It is paused, or will be as soon as Temporal answers.", Paused) | errors(NOT_ACTIVE),
)
async def pause_run(run: RunId, request: Request) -> Response:
    message = await container_of(request).control.pause(run)
    return json_response({"success": True, "promptId": run, "status": "paused", "message": message})


@router.post(
    "/prompt/{run}/resume",
    summary="Let a paused run go on",
    responses=answer("It goes on, or will as soon as Temporal answers.", Resumed) | errors(NOT_ACTIVE),
)
async def resume_run(run: RunId, request: Request) -> Response:
    message = await container_of(request).control.resume(run)
    return json_response({"success": True, "promptId": run, "message": message})


router.post("/prompt/{run}/interrupt", summary="Interrupt a run", responses=INTERRUPTION)(interrupt_run)


@router.get(
    "/prompt/{run}/approvals",
    summary="Approvals of a run, in the order they were asked for",
    responses=answer("A page.", RunApprovals)
    | errors({400: "bad_request", 404: "run_not_found", 503: "event_log_unavailable"}),
)
async def list_run_approvals(
    run: RunId,
    request: Request,
    *,
    status: Literal["open", "answered", "closed"] | None = Query(None, description="Only approvals of this status."),
    cursor: int = Query(0, ge=0, le=MAX_NUMBER, description="`nextCursor` of the page before."),
    limit: int = Query(100, ge=1, le=MAX_PAGE, description="At most so many approvals."),
) -> Response:
    found, following = await container_of(request).approvals.of_run(run, cursor, limit, status)
    return json_response({"approvals": found, "nextCursor": following})


@router.get(
    "/approvals",
    summary="Open approvals of all runs, oldest run first",
    responses=answer("A page.", OpenApprovals) | errors({400: "bad_request", 503: "event_log_unavailable"}),
)
async def list_open_approvals(
    request: Request,
    cursor: str | None = Query(None, description="`nextCursor` of the page before."),
    limit: int = Query(100, ge=1, le=MAX_PAGE, description="At most so many approvals."),
) -> Response:
    found, following = await container_of(request).approvals.open(_place(cursor), limit)
    return json_response({"approvals": found, "nextCursor": following and f"{following[0]}.{following[1]}"})


@router.get(
    "/prompt/{run}/approvals/{approval:path}/data",
    summary="The whole of what is to be approved",
    responses=contents("The value.", WHOLE_VALUE)
    | errors(
        {
            404: "run_not_found approval_not_found resource_not_found",
            409: "resource_unreadable",
            503: "event_log_unavailable",
        }
    ),
)
async def get_approval_data(run: RunId, approval: ApprovalId, request: Request) -> Response:
    container = container_of(request)
    found = await container.approvals.find(run, approval)
    return await output_response(found.get("data"), container.blobs, request.headers.get("accept", ""))


@router.post(
    "/prompt/{run}/approvals/{approval:path}",
    summary="Answer an approval, once",
    responses=answer("The answer counts.", Answered)
    | errors(
        {
            **UNREADABLE,
            404: "run_not_found approval_not_found",
            409: "run_not_active approval_answered approval_closed",
            422: "invalid_answer",
            503: "worker_unavailable engine_unavailable event_log_unavailable",
        }
    ),
    openapi_extra={**json_body(ApprovalAnswer, "The answer, at most 256,000 bytes."), **IDEMPOTENCY},
)
async def answer_approval(run: RunId, approval: ApprovalId, request: Request) -> Response:
    data = await request.body()
    if len(data) > MAX_ANSWER_BYTES:
        raise TooLarge(f"an answer has at most {MAX_ANSWER_BYTES} bytes, this one has {len(data)}")
    counted = await container_of(request).approvals.answer(
        run, approval, await read_body(data, AN_ANSWER), idempotency_key(request)
    )
    return json_response({"success": True, "promptId": run, "approvalId": approval, "answer": counted})


@router.post(
    "/prompt/{run}/events",
    summary="Tell one run that something happened",
    responses=answer("The run has the event.", EventDelivered)
    | errors(
        {
            **UNREADABLE,
            **NOT_ACTIVE,
            503: "engine_unavailable event_log_unavailable",
        }
    ),
    openapi_extra=json_body(ExternalEvent, "The event."),
)
async def post_run_event(run: RunId, request: Request) -> Response:
    event = await _event_in(request)
    told = await container_of(request).external_events.post(run, event)
    message = "" if told["waiting"] else f"no node of the run is known to wait for {event.name!r} now"
    return json_response({"success": True, **told, **({"message": message} if message else {})})


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    run, dot, seq = cursor.partition(".")
    if not (dot and run.isdecimal() and seq.isdecimal() and len(cursor) <= 40):
        raise BadRequest("'cursor' must be the 'nextCursor' of the page before")
    return int(run), int(seq)


async def _event_in(request: Request) -> PostedEvent:
    data = await request.body()
    if len(data) > MAX_EVENT_BYTES:
        raise TooLarge(
            f"an event has at most {MAX_EVENT_BYTES} bytes, this one has {len(data)}: send a reference instead"
        )
    return read_event(await read_body(data, AN_EVENT))
