"""Control of runs over HTTP: pause, resume, interrupt, approvals, and events from outside."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.output_response import output_response
from innkeeper.gateway.api.prompts import idempotency_key, interrupt
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import BadRequest, TooLarge, json_response
from innkeeper.gateway.runs.admission import JsonObject, read_body
from innkeeper.gateway.runs.external_events import read_event

router = APIRouter(prefix="/api", tags=["control"])

MAX_ANSWER_BYTES = 256_000
MAX_PAGE = 500
AN_ANSWER = "{approved, values?, comment?, by?}"
AN_EVENT = "{name, data?}"
MAX_NUMBER = 2**63 - 1


def _takes(description: str, **properties: JsonObject) -> JsonObject:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


ANSWER = _takes(
    "The answer. `values` are new values for fields of the approval's form.",
    approved={"type": "boolean"},
    values={"type": "object"},
    comment={"type": "string"},
    by={"type": "string"},
)
EVENT = _takes(
    "The event: the name that nodes wait for, and whatever they should get.",
    name={"type": "string"},
    data={"description": "any JSON value"},
)


@router.post("/prompt/{run}/pause", summary="Start no new node of a run; what runs goes on")
async def pause(run: str, request: Request) -> Response:
    message = await container_of(request).control.pause(run)
    return json_response({"success": True, "promptId": run, "status": "paused", "message": message})


@router.post("/prompt/{run}/resume", summary="Let a paused run go on")
async def resume(run: str, request: Request) -> Response:
    message = await container_of(request).control.resume(run)
    return json_response({"success": True, "promptId": run, "message": message})


router.post("/prompt/{run}/interrupt", summary="Interrupt a run")(interrupt)


@router.get("/prompt/{run}/approvals", summary="Approvals of a run, in the order they were asked for")
async def approvals_of_run(
    run: str,
    request: Request,
    status: Literal["open", "answered", "closed"] | None = None,
    cursor: int = Query(0, ge=0, le=MAX_NUMBER),
    limit: int = Query(100, ge=1, le=MAX_PAGE),
) -> Response:
    found, following = await container_of(request).approvals.of_run(run, cursor, limit, status)
    return json_response({"approvals": found, "nextCursor": following})


@router.get("/approvals", summary="Open approvals of all runs, oldest run first")
async def approvals(
    request: Request, cursor: str | None = None, limit: int = Query(100, ge=1, le=MAX_PAGE)
) -> Response:
    found, following = await container_of(request).approvals.open(_place(cursor), limit)
    return json_response({"approvals": found, "nextCursor": following and f"{following[0]}.{following[1]}"})


@router.get("/prompt/{run}/approvals/{approval:path}/data", summary="The whole of what is to be approved")
async def approval_data(run: str, approval: str, request: Request) -> Response:
    container = container_of(request)
    found = await container.approvals.find(run, approval)
    return await output_response(found.get("data"), container.blobs, request.headers.get("accept", ""))


@router.post("/prompt/{run}/approvals/{approval:path}", openapi_extra=ANSWER, summary="Answer an approval, once")
async def answer(run: str, approval: str, request: Request) -> Response:
    data = await request.body()
    if len(data) > MAX_ANSWER_BYTES:
        raise TooLarge(f"an answer has at most {MAX_ANSWER_BYTES} bytes, this one has {len(data)}")
    counted = await container_of(request).approvals.answer(
        run, approval, read_body(data, AN_ANSWER), idempotency_key(request)
    )
    return json_response({"success": True, "promptId": run, "approvalId": approval, "answer": counted})


@router.post("/prompt/{run}/events", openapi_extra=EVENT, summary="Tell one run that something happened")
async def post_event(run: str, request: Request) -> Response:
    event = read_event(read_body(await request.body(), AN_EVENT))
    told = await container_of(request).external_events.post(run, event)
    message = "" if told["waiting"] else f"no node of the run is known to wait for {event.name!r} now"
    return json_response({"success": True, **told, **({"message": message} if message else {})})


@router.post("/events", openapi_extra=EVENT, summary="Tell every run that waits for it that something happened")
async def broadcast_event(request: Request) -> Response:
    event = read_event(read_body(await request.body(), AN_EVENT))
    told = await container_of(request).external_events.broadcast(event)
    return json_response({"success": not told.get("missed"), **told})


def _place(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return 0, 0
    run, dot, seq = cursor.partition(".")
    if not (dot and run.isdecimal() and seq.isdecimal() and len(cursor) <= 40):
        raise BadRequest("'cursor' must be the 'nextCursor' of the page before")
    return int(run), int(seq)
