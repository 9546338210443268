"""What a gateway measures as it works. Every gateway has a registry of its own: several may run in one process.

Everything here is called on the gateway's event loop. `/metrics` (`api/metrics.py`) adds what the gateway's parts count
themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, PlatformCollector, ProcessCollector, disable_created_metrics

MAX_NODE_TYPES = 100
"""Each node type is a time series per bucket, and a plugin may bring any number of types."""
OTHER_TYPE = "other"
UNKNOWN_TYPE = "unknown"

COMMIT_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
CHUNK_LAG_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
NODE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
RUN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 3600)


class NodeTypeLabels:
    """Label values for node types: of the catalogue, and of no more than `limit` types in the life of a gateway."""

    def __init__(self, is_known: Callable[[str], bool], limit: int = MAX_NODE_TYPES) -> None:
        self._is_known, self._limit = is_known, limit
        self._used: set[str] = set()

    def label(self, node_type: str | None) -> str:
        """The type itself, `other` when too many types have a label already, `unknown` outside the catalogue."""
        if node_type in self._used:
            return node_type
        if node_type is None or not self._is_known(node_type):
            return UNKNOWN_TYPE
        if len(self._used) >= self._limit:
            return OTHER_TYPE
        self._used.add(node_type)
        return node_type


@dataclass
class _OpenRun:
    """`began`: its submission, by the clock that nobody can set (`time.monotonic`)."""

    began: float
    is_started: bool = False
    has_event: bool = False


class RunLatency:
    """How long runs wait: each run counts once in each histogram, however often its start is tried.

    Runs that an earlier process of this gateway started do not count.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open: dict[str, _OpenRun] = {}
        self._queue = Histogram(
            "innkeeper_run_queue_seconds",
            "Time from the submission of a run, once it is compiled and stored, until Temporal has accepted its start. "
            "Waiting for a free place, for Temporal and while paused is included.",
            unit="seconds",
            buckets=RUN_BUCKETS,
            registry=registry,
        )
        self._first_event = Histogram(
            "innkeeper_run_first_event_seconds",
            "Time from the submission of a run, once it is compiled and stored, until the first NODE_EXECUTING is "
            "committed to its event log. Runs in which no node starts are left out.",
            unit="seconds",
            buckets=RUN_BUCKETS,
            registry=registry,
        )

    def starting(self, run: str, submitted_ms: int) -> None:
        """A run is about to be handed to Temporal. `submitted_ms`: milliseconds since 1970."""
        waited_s = max(0.0, time.time() - submitted_ms / 1000)  # the clock may have been set back since then
        self._open.setdefault(run, _OpenRun(time.monotonic() - waited_s))

    def started(self, run: str) -> None:
        """Temporal has the run."""
        found = self._open.get(run)
        if found is not None and not found.is_started:
            found.is_started = True
            self._queue.observe(time.monotonic() - found.began)

    def node_began(self, run: str) -> None:
        """A NODE_EXECUTING of the run was committed."""
        found = self._open.get(run)
        if found is not None and not found.has_event:
            found.has_event = True
            self._first_event.observe(time.monotonic() - found.began)

    def closed(self, run: str) -> None:
        """The final status of the run was committed."""
        self._open.pop(run, None)


class Metrics:
    """The registry of one gateway and the histograms in it.

    Args:
        is_known_type: Whether the catalogue has a node type of this full name.

    Attributes:
        runs: How long runs wait.
        commit: Seconds one commit of the event log takes.
        chunk_lag: Seconds the oldest chunk of a commit was here before it was committed.
    """

    def __init__(self, is_known_type: Callable[[str], bool] = lambda node_type: False) -> None:
        # When a series began is a time series more for each; Prometheus does not ask for it by default.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the package has no types for it
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.runs = RunLatency(self.registry)
        self.commit = Histogram(
            "innkeeper_log_commit_seconds",
            "Time one commit to the event log takes, waiting for the log's thread included. Failed commits are left "
            "out: innkeeper_log_commit_failures_total counts them.",
            unit="seconds",
            buckets=COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.chunk_lag = Histogram(
            "innkeeper_chunk_lag_seconds",
            "Time from when the gateway has read a stream chunk from a worker's socket until the chunk is committed. "
            "Only the oldest chunk of each commit is measured, so this is an upper bound for the others.",
            unit="seconds",
            buckets=CHUNK_LAG_BUCKETS,
            registry=self.registry,
        )
        self._types = NodeTypeLabels(is_known_type)
        self._node_duration = Histogram(
            "innkeeper_node_duration_seconds",
            "Time from the first NODE_EXECUTING of a node that a worker runs to its terminal event, in whatever way it "
            "ends, by the timestamps of the event log (the gateway's clock, whole milliseconds). Retries and the "
            "pauses between them are included. A quick node, whose start and end arrive together, counts as 0. "
            f"type: the node type; {OTHER_TYPE!r} beyond {MAX_NODE_TYPES} types; {UNKNOWN_TYPE!r} when the catalogue "
            "has no such type, or the gateway was restarted or its log failed while the node ran.",
            ["type"],
            unit="seconds",
            buckets=NODE_BUCKETS,
            registry=self.registry,
        )

    def node_ended(self, node_type: str | None, seconds: float) -> None:
        """A terminal event was committed. `node_type`: as the worker told it, None when that is not known any more."""
        self._node_duration.labels(self._types.label(node_type)).observe(seconds)
