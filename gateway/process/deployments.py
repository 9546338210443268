"""Versions of a worker deployment: which there are, which one gets new runs, and what is still open on the others."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType, WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.nodes.errors import InnkeeperError

TASK_QUEUE = "innkeeper"
CALL_TIMEOUT = timedelta(seconds=10)
LOOK_S = 2.0
SETTLED_LOOKS = 2
"""Looks in a row that find nothing open: what is listed lags behind what runs by a second or so."""
POLL_AGE_S = 75.0
"""A long poll lasts 60 s: a worker that was not seen for longer is gone."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_OPEN = "WorkflowType = 'GraphWorkflow' AND ExecutionStatus = 'Running'"


class DeploymentError(InnkeeperError):
    """A deployment, or a version of one, is not there, or not ready for what was asked."""

    code = "deployment"


@dataclass(frozen=True)
class Version:
    """One build of a deployment.

    Attributes:
        status: `current`, `ramping`, `draining`, `drained` or `inactive`, as the server says: it looks every few
            minutes, so `open` is newer.
        open: Workflows that are open on it: runs, groups and repetitions.
        workers: Processes that ask for work of it.
    """

    build_id: str
    status: str
    open: int
    workers: int

    @property
    def is_current(self) -> bool:
        return self.status == "current"

    def to_json(self) -> dict[str, Any]:
        return {"buildId": self.build_id, "status": self.status, "open": self.open, "workers": self.workers}


@dataclass(frozen=True)
class Deployment:
    """A deployment with its versions, newest first; `unversioned`: workflows that are open and on no version."""

    name: str
    versions: tuple[Version, ...]
    unversioned: int

    @property
    def current(self) -> str | None:
        return next((version.build_id for version in self.versions if version.is_current), None)

    def to_json(self) -> dict[str, Any]:
        versions = [version.to_json() for version in self.versions]
        return {"deployment": self.name, "current": self.current, "versions": versions, "unversioned": self.unversioned}


async def deployment(client: Client, name: str) -> Deployment:
    """What the server knows of a deployment.

    Raises:
        DeploymentError: There is none of this name: no versioned worker has ever asked for work.
        RPCError: The server does not answer.
    """
    described = await _described(client, name)
    workers = workers_of(await _pollers(client), name, time.time())
    summaries = sorted(
        described.worker_deployment_info.version_summaries, key=lambda found: -found.create_time.ToMilliseconds()
    )
    versions = []
    for summary in summaries:
        build = summary.deployment_version.build_id
        status = WorkerDeploymentVersionStatus.Name(summary.status).rpartition("_")[2].lower()
        versions.append(Version(build, status, await open_on(client, name, build), workers[build]))
    return Deployment(name, tuple(versions), await _count(client, "TemporalWorkerDeploymentVersion IS NULL"))


async def set_current(client: Client, name: str, build: str) -> str | None:
    """Give new runs to a build; gives the build that had them before.

    Raises:
        DeploymentError: There is no such build, no worker of it, or it does not serve all queues.
        RPCError: The server does not answer.
    """
    described = await _described(client, name)
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=name,
        build_id=build,
        # Of two who do this at once, the second is told.
        conflict_token=described.conflict_token,
        identity=client.identity,
    )
    try:
        answer = await client.workflow_service.set_worker_deployment_current_version(request, timeout=CALL_TIMEOUT)
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT):
            message = f"build {build!r} of deployment {name!r} cannot get new runs: {error.message}"
            raise DeploymentError(f"{message}; 'innkeeper deploy current' shows which builds have workers") from error
        raise
    return answer.previous_deployment_version.build_id or None


async def drain(
    client: Client, name: str, builds: Iterable[str], *, timeout_s: float | None, tell: Callable[[dict[str, int]], None]
) -> bool:
    """Wait until nothing is open on these builds; gives whether that came within the time.

    Args:
        tell: Called whenever the numbers of open workflows change, by build.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    wanted, calm = tuple(builds), 0
    told: dict[str, int] = {}
    while True:
        left = {build: await open_on(client, name, build) for build in wanted}
        calm = calm + 1 if not any(left.values()) else 0
        if left != told:
            tell(left)
            told = left
        if calm >= SETTLED_LOOKS or not wanted:
            return True
        if deadline is not None and time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)


async def open_on(client: Client, name: str, build: str) -> int:
    """How many workflows are open on a build."""
    # Names and builds hold no quotes: NAME, which the settings of workers ask for, too.
    return await _count(client, f"TemporalWorkerDeploymentVersion = '{name}:{build}'")


def checked_name(name: str) -> str:
    """Raises DeploymentError for what can be no name of a deployment or build."""
    if not NAME.fullmatch(name):
        raise DeploymentError(f"{name!r} is no name: letters, digits, '.', '_' and '-'", code="usage")
    return name


def workers_of(pollers: Iterable[PollerInfo], name: str, now: float) -> Counter[str]:
    """Processes that lately asked for work, by build."""
    seen = {
        (poller.deployment_options.build_id, poller.identity)
        for poller in pollers
        if poller.deployment_options.deployment_name == name and now - poller.last_access_time.ToSeconds() < POLL_AGE_S
    }
    return Counter(build for build, _ in seen)


async def _count(client: Client, which: str) -> int:
    return (await client.count_workflows(f"{_OPEN} AND {which}", rpc_timeout=CALL_TIMEOUT)).count


async def _described(client: Client, name: str) -> DescribeWorkerDeploymentResponse:
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name)
    try:
        return await client.workflow_service.describe_worker_deployment(request, timeout=CALL_TIMEOUT)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        raise DeploymentError(
            f"Temporal knows no deployment {name!r}: start workers with INNKEEPER_DEPLOYMENT={name} and "
            "INNKEEPER_BUILD_ID first"
        ) from error


async def _pollers(client: Client) -> Iterable[PollerInfo]:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    return (await client.workflow_service.describe_task_queue(request, timeout=CALL_TIMEOUT)).pollers
