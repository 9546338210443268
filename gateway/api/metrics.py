"""`/metrics`: everything a gateway counts and measures, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from innkeeper.gateway.api.responses import TEXT, contents, errors, text
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.runs.view import FINAL

router = APIRouter(tags=["health"], default_response_class=Response)
OPENMETRICS = "application/openmetrics-text"

# Name without `innkeeper_`: help text and where the value is read.
_GAUGES: Mapping[str, tuple[str, Callable[[Container], float]]] = {
    "runs_idle": (
        "Of the running runs those that hold no place: they only wait, or are paused.",
        lambda container: container.open_runs.idle,
    ),
    "runs_followed": (
        "Runs whose end the gateway waits for or is writing down.",
        lambda container: container.finisher.following,
    ),
    "clients_connected": (
        "Client WebSocket connections.",
        lambda container: container.clients.count,
    ),
    "workers_connected": (
        "Worker processes connected to this gateway.",
        lambda container: len(container.workers.workers()),
    ),
    "model_calls_waiting": (
        "Nodes that wait for a limit on requests to models.",
        lambda container: container.model_calls.waiting,
    ),
    "model_calls_under_way": (
        "Requests to models that workers make now.",
        lambda container: container.model_calls.under_way,
    ),
    "temporal_reachable": (
        "1 when Temporal answers, else 0.",
        lambda container: container.temporal.reachable,
    ),
    "event_log_healthy": (
        "1 when the event log can be written, else 0.",
        lambda container: container.writer.healthy,
    ),
    "blobs_kept": (
        "Stored values that the last collection kept.",
        lambda container: container.garbage_collector.last.kept,
    ),
    "blob_bytes_kept": (
        "Bytes of the stored values that the last collection kept.",
        lambda container: container.garbage_collector.last.kept_bytes,
    ),
}
# Attributes of CallCounts.
_CALL_COUNTERS = {
    "begun": "Requests to models that limits and budgets let go.",
    "waits": "Requests to models that were told to wait for a limit; each time counts.",
    "refused": "Requests to models that a budget refused.",
    "lost": "Requests to models whose worker fell silent.",
}
# Keys of LogWriter.counters.
_LOG_COUNTERS = {
    "events": "Events committed to the event log.",
    "commits": "Commits to the event log.",
    "commit_failures": "Commits to the event log that failed and were tried again.",
    "logged": "Messages that became events.",
    "resend": "Messages dropped because the event log has them already.",
    "fenced": "Messages dropped because their attempt of the node no longer counts.",
    "late": "Messages dropped because their run has its final status.",
    "unknown_run": "Messages dropped because their run has no event log.",
    "protocol_errors": "Messages refused because they do not follow from what the event log holds.",
}
# Keys of GarbageCollector.counters.
_COLLECTION_COUNTERS = {
    "runs": "Collections of stored values, dry runs included.",
    "blobs_deleted": "Stored values deleted by collections.",
    "bytes_deleted": "Bytes of the stored values deleted by collections.",
}
_SCHEDULE_COUNTERS = {
    "overlapped": "Starts of schedules that Temporal left out because an earlier run was open.",
    "missed": "Starts of schedules that Temporal left out because their time was over, or too many waited.",
    "late": "Starts of schedules that came to nothing because the gateway or all workers were away for too long.",
}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses=contents(
        "Text or OpenMetrics, by the Accept header.", {TEXT: text("The metrics."), OPENMETRICS: text("The same.")}
    )
    | errors(),
)
async def metrics(request: Request) -> Response:
    container = container_of(request)
    counted = list(_counted(container, await container.runs.queue_counts()))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    # In a thread: with 100 node types it takes 35 to 60 ms.
    body = await asyncio.to_thread(encode, _Snapshot(counted, container.metrics.registry))
    # Not `media_type`, to which a charset would be added.
    return Response(body, headers={"content-type": content_type})


class _Snapshot:
    """A collector of what was counted before, and of what a registry measures."""

    def __init__(self, counted: Sequence[Metric], registry: CollectorRegistry) -> None:
        self._counted, self._registry = counted, registry

    def collect(self) -> Iterator[Metric]:
        yield from self._counted
        yield from self._registry.collect()


def _counted(container: Container, queue: Mapping[str, int]) -> Iterator[Metric]:
    """What the parts of a container count. They are read on the event loop: none of them has a lock."""
    yield _gauge("runs_running", "Runs that run, those that only wait included.", queue["runningExecutions"])
    yield _gauge("runs_queued", "Runs that wait in the queue for a free place.", queue["pendingExecutions"])
    for name, (told, read) in _GAUGES.items():
        yield _gauge(name, told, read(container))
    yield _closed_runs(container.finisher.closed)
    yield _counter("frames_sent", "Events sent to clients, by WebSocket and SSE.", container.reader.frames_sent)
    yield from _counters("schedule_starts_", _SCHEDULE_COUNTERS, _left_out(container))
    yield from _counters("model_calls_", _CALL_COUNTERS, vars(container.model_calls.counts))
    yield from _counters("log_", _LOG_COUNTERS, container.writer.counters)
    yield from _counters("collection_", _COLLECTION_COUNTERS, container.garbage_collector.counters)


def _left_out(container: Container) -> Mapping[str, int]:
    counts = container.schedules.left_out
    return {"overlapped": counts["overlapSkipped"], "missed": counts["missed"], "late": container.launches.late}


def _closed_runs(closed: Mapping[str, int]) -> Metric:
    text = "Runs this gateway process has closed. status: complete, error or interrupted."
    family = CounterMetricFamily("innkeeper_runs_closed", text, labels=["status"])
    for status in FINAL:
        family.add_metric([status], closed.get(status, 0))
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"innkeeper_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"innkeeper_{name}", text, value=value)


def _counters(prefix: str, texts: Mapping[str, str], values: Mapping[str, int]) -> Iterator[Metric]:
    """A counter for each text, from 0: a series that appears with its first event hides that event from `rate()`."""
    return (_counter(prefix + name, text, values.get(name, 0)) for name, text in texts.items())
