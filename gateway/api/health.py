"""Is the gateway alive, is it ready, and what does it do: for machines that look after it."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from innkeeper.gateway.api.models.health import Alive, Collected, Readiness, SystemStats
from innkeeper.gateway.api.responses import TEXT, answer, contents, errors, text
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import json_response

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
        "log": "ok" if container.writer.healthy else container.writer.reason or "the event log does not write",
        "temporal": "ok" if container.temporal.reachable else "Temporal does not answer",
        "workers": "ok" if workers else "no worker is connected",
    }
    ready = set(checks.values()) == {"ok"}
    body = {"ready": ready, "checks": checks, "workers": workers}
    return json_response(body, 200 if ready else 503)


@router.get(
    "/api/system_stats",
    summary="How many runs run and wait",
    responses=answer("The counts.", SystemStats) | errors(),
)
async def get_system_stats(request: Request) -> Response:
    container = container_of(request)
    counts = await container.runs.queue_counts()
    return json_response({"maxConcurrentWorkflows": container.settings.max_concurrent_runs, **counts})


@router.post(
    "/api/gc",
    summary="Delete stored values that nothing refers to any more",
    responses=answer("What was done.", Collected) | errors({400: "bad_request", 503: "event_log_unavailable"}),
)
async def collect_garbage(
    request: Request, dry_run: bool = Query(False, alias="dryRun", description="Only count them.")
) -> Response:
    return json_response((await container_of(request).garbage_collector.collect(dry_run=dry_run)).to_json())


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses=contents("Prometheus text format 0.0.4.", {TEXT: text("The metrics.")}) | errors(),
)
async def metrics(request: Request) -> Response:
    container = container_of(request)
    counts = await container.runs.queue_counts()
    lines = [*_gauges(container, counts), *_counters(container)]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _gauges(container: Container, counts: dict[str, int]) -> Iterator[str]:
    values = {
        "runs_running": counts["runningExecutions"],
        "runs_queued": counts["pendingExecutions"],
        "runs_followed": container.finisher.following,
        "clients_connected": container.clients.count,
        "workers_connected": len(container.workers.workers()),
        "temporal_reachable": int(container.temporal.reachable),
        "event_log_healthy": int(container.writer.healthy),
        # As the last collection found them.
        "blobs_kept": container.garbage_collector.last.kept,
        "blob_bytes_kept": container.garbage_collector.last.kept_bytes,
    }
    for name, value in values.items():
        yield f"# TYPE innkeeper_{name} gauge"
        yield f"innkeeper_{name} {value}"


def _counters(container: Container) -> Iterator[str]:
    yield "# TYPE innkeeper_runs_closed_total counter"
    for status, count in container.finisher.closed.items():
        yield f'innkeeper_runs_closed_total{{status="{status}"}} {count}'
    yield "# TYPE innkeeper_frames_sent_total counter"
    yield f"innkeeper_frames_sent_total {container.reader.frames_sent}"
    for name, count in container.garbage_collector.counters.items():
        yield f"# TYPE innkeeper_collection_{name}_total counter"
        yield f"innkeeper_collection_{name}_total {count}"
    for name, count in sorted(container.writer.counters.items()):
        yield f"# TYPE innkeeper_log_{name}_total counter"
        yield f"innkeeper_log_{name}_total {count}"
