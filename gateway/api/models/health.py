"""Health, load and garbage collection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count


@with_config(CLOSED)
class Alive(TypedDict):
    status: Literal["ok"]


@with_config(CLOSED)
class ReadinessChecks(TypedDict):
    """`ok`, or a reason."""

    log: str
    temporal: str
    workers: str


@with_config(CLOSED)
class Readiness(TypedDict):
    ready: bool
    checks: ReadinessChecks
    workers: Count
    """How many workers are connected."""


@with_config(CLOSED)
class SystemStats(TypedDict):
    version: str
    """Of the gateway."""
    maxConcurrentWorkflows: Annotated[int, Field(ge=1)] | None
    """Null: no limit."""
    runningExecutions: Count
    """Runs that Temporal has, those that wait or are paused included."""
    pendingExecutions: Count


@with_config(CLOSED)
class Collected(TypedDict):
    """What a garbage collection did, or would do."""

    dryRun: bool
    deleted: Count
    """Stored values that nothing refers to."""
    deletedBytes: Count
    kept: Count
    keptBytes: Count
    marked: Count
    """Of the kept values those that something refers to; the others are too young to be deleted."""
    temporaries: Count
    """Files that killed writers left."""
