"""What another user of the machine tries, as a program of its own: prints what came of it as JSON.

Reads from stdin what a thief may know: the server's address, paths, a plan, and an activity's message and headers from
a history.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

NOBODY = 65_534
HEADERS: dict[str, Payload] = {}


class Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        return super().start_activity(replace(input, headers=HEADERS))


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))


class WithHeaders(Interceptor):
    def workflow_interceptor_class(self, input: Any) -> type[WorkflowInboundInterceptor]:
        return Inbound


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class Thief:
    """Schedules an activity on a queue that is not its own."""

    @workflow.run
    async def run(self, queue: str, activity: str, arg: Any) -> Any:
        return await workflow.execute_activity(
            activity,
            arg,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=2),
        )


async def outcome(handle: Any) -> str:
    """The code that a workflow failed with, or `ran`."""
    try:
        await handle.result()
    except WorkflowFailureError as error:
        cause: Any = error.cause
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return str(cause.type)
    return "ran"


async def started(client: Client, plan: bytes, run: str) -> str:
    args = [plan, {"user_id": "default_user"}]
    handle = await client.start_workflow("GraphWorkflow", args=args, id=run, task_queue="innkeeper")
    return await outcome(handle)


async def scheduled(client: Client, known: dict[str, Any], run: str) -> str:
    """`run`: the id of the thief's own workflow; that of a run of ours has ended and is free."""
    queue = f"thief-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Thief],
        interceptors=[WithHeaders()],
        workflow_runner=UnsandboxedWorkflowRunner(),
        # Named, so that it is imported before: Python's own files may be closed to another user.
        workflow_task_executor=ThreadPoolExecutor(2),
    ):
        handle = await client.start_workflow(
            "GraphWorkflow", args=["innkeeper", known["activity"], known["arg"]], id=run, task_queue=queue
        )
        return await outcome(handle)


def readable(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            Path(path).read_bytes()
        except PermissionError:
            continue
        found.append(path)
    return found


async def main() -> None:
    known = json.loads(sys.stdin.read())
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    client = await Client.connect(known["address"], namespace="innkeeper")
    HEADERS.update({name: Payload.FromString(base64.b64decode(raw)) for name, raw in known["headers"].items()})
    history = await client.get_workflow_handle(known["run"]).fetch_history()
    answer = {
        "user": os.getuid(),
        "readable": readable(known["paths"]),
        "events": len(history.events),
        "start": await started(client, base64.b64decode(known["plan"]), known["forged"]),
        "activity": await scheduled(client, known, f"x-{uuid.uuid4()}"),
        "activity_again": await scheduled(client, known, known["run"]),
    }
    print(json.dumps(answer), flush=True)
    # Threads of the native client may call into Python while that is torn down, which aborts the process.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
