"""Record the histories of shapes anew: `python -m tests.histories.record [SHAPE ...]`; by default those that have none.

An old history is recorded anew only when it can no longer be met (never for a change of scheduling: that goes behind
workflow.patched).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from innkeeper.activities.execution import attempt
from innkeeper.activities.execution.values import JSON_MIME
from innkeeper.workflows.engine.graph_workflow import RunStart
from innkeeper.workflows.plan import RunPlan
from tests.conftest import start_server
from tests.histories.shapes import DRAINED, INTERFACE, PLANS, SHAPES
from tests.workflows.engine.test_control_runs import until_waiting
from tests.workflows.toys import Toys, ToyWorker, toy_worker, until_called

FOLDER = Path(__file__).parent
SUGGEST = "limit.historyCount.suggestContinueAsNew"


def plan_of(name: str) -> RunPlan:
    if name in PLANS:
        return PLANS[name]
    return RunPlan(SHAPES[name], interface_outputs=INTERFACE if name == "chain" else {})


async def record(worker: ToyWorker, toys: Toys, name: str) -> None:
    """Run a shape; keep the history of the run, of its children, and of every part of a chain of histories."""
    plan = plan_of(name)
    begun = None
    if name == "seeded":
        table = {"a": {"status": "complete", "output": {"out": "a"}, "reused": True}}
        begun = RunStart(state_refs=[await worker.values.store(orjson.dumps(table), JSON_MIME, "")])
    handle = await worker.start(*plan.nodes, begun=begun, interface_outputs=plan.interface_outputs, groups=plan.groups)
    if name == "interrupted":
        await until_called(toys, "long")
        await handle.cancel()
    if name in ("approval", "approval_with_form"):
        await until_waiting(handle)
        await handle.execute_update("answer", args=["ask", {"approved": True}])
    if name == "wait_for_event":
        await until_waiting(handle)
        await handle.signal("event", args=["paid", {"amount": 1}])
    if name == "budget":
        await until_waiting(handle, 2)
        below = worker.client.get_workflow_handle(f"{handle.id}/g")
        await until_waiting(below)
        for owner, path in ((handle, "a"), (below, "g/s")):
            await owner.execute_update("answer", args=[path, {"approved": True, "values": {"tokens": 500}}])
    if name == "budget_stopped":
        await until_waiting(handle)
        await handle.execute_update("answer", args=["a", {"approved": False}])
    result = await handle.result()
    wanted = {
        "budget_stopped": "error",
        "caught": "complete",
        "error_skips": "error",
        "segments_beside": "error",
        "interrupted": "interrupted",
    }
    assert result["status"] == wanted.get(name, "complete"), (name, result)
    found = await histories(worker.client, handle)
    for number, history in enumerate(found):
        file = FOLDER / (f"{name}.{number}.json" if number else f"{name}.json")
        file.write_text(json.dumps(json.loads(history, object_hook=anonymous), indent=1) + "\n")


async def histories(client: Client, handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Those of a run and then of all it started, oldest first."""
    query = f"WorkflowId = '{handle.id}' OR WorkflowId STARTS_WITH '{handle.id}/'"
    await asyncio.sleep(1)  # until the list knows all
    parts = [part async for part in client.list_workflows(query)]
    parts.sort(key=lambda part: (part.id != handle.id, part.id, part.start_time))
    found = []
    for part in parts:
        history = await client.get_workflow_handle(part.id, run_id=part.run_id).fetch_history()
        found.append(history.to_json().replace(f"@{socket.gethostname()}", "@host"))
    return found


def anonymous(item: dict[str, Any]) -> dict[str, Any]:
    """Names of machines, processes and folders are nobody's business and nothing replays them."""
    hidden = {"identity": "anyone", "stackTrace": ""}
    return {key: hidden.get(key, value) for key, value in item.items()}


async def main(names: list[str]) -> None:
    known = [*SHAPES, *PLANS]
    chosen = names or [name for name in known if not (FOLDER / f"{name}.json").exists()]
    for names, events in (([n for n in chosen if n not in DRAINED], 4_096), ([n for n in chosen if n in DRAINED], 60)):
        await record_all(names, events)


async def record_all(names: list[str], events: int) -> None:
    """Args: `events` is where the server suggests a new history."""
    attempt.PARK_AFTER_S = 0.1
    toys = Toys()
    env: WorkflowEnvironment
    with tempfile.TemporaryDirectory() as folder:
        async with await start_server(**{SUGGEST: events}) as env, toy_worker(env.client, toys, Path(folder)) as worker:
            for name in names:
                await record(worker, toys, name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
