"""Is the gateway alive, is it ready, how much does it run: for machines that look after it."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models.health import Alive, Collected, Readiness, SystemStats
from innkeeper.gateway.api.responses import answer, errors
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import json_response
from innkeeper.gateway.events.log import LogUnavailable

LOG_ANSWERS_S = 2
"""Whoever asks whether a gateway is ready gives up after some seconds."""

router = APIRouter(tags=["health"], default_response_class=Response)


@router.get(
    "/healthz",
    summary="Is the gateway alive? Needs no token",
    responses=answer("It is.", Alive) | errors(needs_token=False),
    openapi_extra={"security": []},
)
async def healthz() -> Response:
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it run workflows now?",
    responses={
        **answer("It can.", Readiness),
        **errors(),
        **answer("It cannot; the reasons are in `checks`.", Readiness, status=503),
    },
)
async def readyz(request: Request) -> Response:
    container = container_of(request)
    workers = len(container.workers.workers())
    checks = {
        "log": await _log_state(container),
        "temporal": container.temporal.state,
        "workers": "ok" if workers else "no worker is connected",
    }
    ready = set(checks.values()) == {"ok"}
    body = {"ready": ready, "checks": checks, "workers": workers}
    return json_response(body, 200 if ready else 503)


async def _log_state(container: Container) -> str:
    """What keeps the event log from being used. The writer knows it once a commit has failed: nobody may have tried."""
    if not container.writer.healthy:
        return container.writer.reason or "the event log does not write"
    try:
        async with asyncio.timeout(LOG_ANSWERS_S):
            await container.log.last_seq("")
    except LogUnavailable as error:
        return error.message
    except TimeoutError:
        return f"the event log has not answered for {LOG_ANSWERS_S} s"
    return "ok"


@router.get(
    "/api/system_stats",
    summary="Which version this is, and how many runs run and wait",
    responses=answer("The version and the counts.", SystemStats) | errors(),
)
async def get_system_stats(request: Request) -> Response:
    container = container_of(request)
    counts = await container.runs.queue_counts()
    limit, version = container.settings.max_concurrent_runs, request.app.version
    return json_response({"version": version, "maxConcurrentWorkflows": limit, **counts})


@router.post(
    "/api/gc",
    summary="Delete stored values that nothing refers to any more",
    responses=answer("What was done.", Collected) | errors({400: "bad_request", 503: "event_log_unavailable"}),
)
async def collect_garbage(
    request: Request, dry_run: bool = Query(False, alias="dryRun", description="Only count them.")
) -> Response:
    return json_response((await container_of(request).garbage_collector.collect(dry_run=dry_run)).to_json())
