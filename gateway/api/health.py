"""Is the gateway alive, is it ready, how much does it run: for machines that look after it."""

from __future__ import annotations

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import json_response

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Alive")
async def healthz() -> Response:
    return json_response({"status": "ok"})


@router.get("/readyz", summary="Ready to run workflows; 503 with the reasons when not")
async def readyz(request: Request) -> Response:
    container = container_of(request)
    workers = len(container.workers.workers())
    checks = {
        "log": "ok" if container.writer.healthy else container.writer.reason or "the event log does not write",
        "temporal": "ok" if container.temporal.reachable else "Temporal does not answer",
        "workers": "ok" if workers else "no worker is connected",
    }
    ready = set(checks.values()) == {"ok"}
    body = {"ready": ready, "checks": checks, "workers": workers}
    return json_response(body, 200 if ready else 503)


@router.get("/api/system_stats", summary="How many runs run and wait")
async def system_stats(request: Request) -> Response:
    container = container_of(request)
    counts = await container.runs.queue_counts()
    return json_response({"maxConcurrentWorkflows": container.settings.max_concurrent_runs, **counts})


@router.post("/api/gc", summary="Delete stored values that nothing refers to any more; dryRun only counts them")
async def collect(request: Request, dry_run: bool = Query(False, alias="dryRun")) -> Response:
    return json_response((await container_of(request).garbage_collector.collect(dry_run=dry_run)).to_json())
