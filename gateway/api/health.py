"""Is the gateway alive, is it ready, and what does it do: for machines that look after it."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from innkeeper.gateway.container import Gateway, gateway_of
from innkeeper.gateway.errors import json_response

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Alive")
async def healthz() -> Response:
    return json_response({"status": "ok"})


@router.get("/readyz", summary="Ready to run workflows; 503 with the reasons when not")
async def readyz(request: Request) -> Response:
    gateway = gateway_of(request)
    workers = len(gateway.workers.workers())
    checks = {
        "log": "ok" if gateway.writer.healthy else gateway.writer.reason or "the event log does not write",
        "temporal": "ok" if gateway.temporal.reachable else "Temporal does not answer",
        "workers": "ok" if workers else "no worker is connected",
    }
    ready = set(checks.values()) == {"ok"}
    body = {"ready": ready, "checks": checks, "workers": workers}
    return json_response(body, 200 if ready else 503)


@router.get("/api/system_stats", summary="How many runs run and wait")
async def system_stats(request: Request) -> Response:
    gateway = gateway_of(request)
    counts = await gateway.runs.queue_counts()
    return json_response({"maxConcurrentWorkflows": gateway.settings.max_concurrent_runs, **counts})


@router.post("/api/gc", summary="Delete stored values that nothing refers to any more; dryRun only counts them")
async def collect(request: Request, dry_run: bool = Query(False, alias="dryRun")) -> Response:
    return json_response((await gateway_of(request).collector.collect(dry_run=dry_run)).to_json())


@router.get("/metrics", summary="Prometheus text")
async def metrics(request: Request) -> Response:
    gateway = gateway_of(request)
    counts = await gateway.runs.queue_counts()
    lines = [*_gauges(gateway, counts), *_counters(gateway)]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _gauges(gateway: Gateway, counts: dict[str, int]) -> Iterator[str]:
    values = {
        "runs_running": counts["runningExecutions"],
        "runs_queued": counts["pendingExecutions"],
        "runs_followed": gateway.closer.following,
        "clients_connected": gateway.clients.count,
        "workers_connected": len(gateway.workers.workers()),
        "temporal_reachable": int(gateway.temporal.reachable),
        "event_log_healthy": int(gateway.writer.healthy),
        # As the last collection found them.
        "blobs_kept": gateway.collector.last.kept,
        "blob_bytes_kept": gateway.collector.last.kept_bytes,
    }
    for name, value in values.items():
        yield f"# TYPE innkeeper_{name} gauge"
        yield f"innkeeper_{name} {value}"


def _counters(gateway: Gateway) -> Iterator[str]:
    yield "# TYPE innkeeper_runs_closed_total counter"
    for status, count in gateway.closer.closed.items():
        yield f'innkeeper_runs_closed_total{{status="{status}"}} {count}'
    yield "# TYPE innkeeper_frames_sent_total counter"
    yield f"innkeeper_frames_sent_total {gateway.feed.frames_sent}"
    for name, count in gateway.collector.counters.items():
        yield f"# TYPE innkeeper_collection_{name}_total counter"
        yield f"innkeeper_collection_{name}_total {count}"
    for name, count in sorted(gateway.writer.counters.items()):
        yield f"# TYPE innkeeper_log_{name}_total counter"
        yield f"innkeeper_log_{name}_total {count}"
