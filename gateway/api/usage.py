"""What requests to models took and cost, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.usage import UsageGroup, UsageReport
from innkeeper.gateway.api.responses import answer, errors
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.usage.report import MAX_GROUPS, filter_of

router = APIRouter(prefix="/api", tags=["system"], default_response_class=Response)

MAX_CURSOR = 1_000_000
MAX_NAME = 500


def _only(what: str) -> str | None:
    found: str | None = Query(None, max_length=MAX_NAME, description=f"Only requests of this {what}.")
    return found


@router.get(
    "/usage",
    summary="What requests to models took and cost",
    responses=answer("A page of groups, and the sums over all of them.", UsageReport) | errors({400: "bad_request"}),
)
async def get_usage(
    request: Request,
    *,
    groupBy: UsageGroup = Query("day", description="What is summed up together."),
    begin: str | None = Query(
        None, alias="from", max_length=40, description="Requests that began then or later: a day, or a moment (UTC)."
    ),
    to: str | None = Query(None, max_length=40, description="Requests that began before; of a day, with that day."),
    run: str | None = _only("run"),
    node: str | None = _only("node, by its path"),
    workflow: str | None = _only("stored workflow"),
    project: str | None = _only("project"),
    channel: str | None = _only("channel"),
    model: str | None = _only("model, as it was asked for"),
    user: str | None = _only("user"),
    limit: int = Query(100, ge=1, le=MAX_GROUPS, description="At most so many groups."),
    cursor: int = Query(0, ge=0, le=MAX_CURSOR, description="`nextCursor` of the page before."),
) -> Response:
    which = filter_of(
        begin,
        to,
        run=run,
        node=node,
        workflow=workflow,
        project=project,
        channel=channel,
        model=model,
        user=user,
    )
    return json_response(await container_of(request).usage.page(which, groupBy, offset=cursor, limit=limit))
