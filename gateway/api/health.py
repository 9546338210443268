"""Is the gateway alive, is it ready, and what does it do: for machines that look after it."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from innkeeper.gateway.container import Container, container_of
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


@router.get("/metrics", summary="Prometheus text")
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
