"""Random graphs of inline nodes and activities, disturbed by what users say: every history replays.

A segment that lasts is continued in a further workflow task, which a replay does not see: short tasks make that common.
`REPLAY_RUNS` makes it longer, `REPLAY_SEED` another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.engine.graph_workflow import RunStart
from innkeeper.workflows.plan import BypassSource, PlannedNode, RunPlan
from tests.workflows.replaying import replay
from tests.workflows.toys import Toys, ToyWorker, node, toy_worker

RUNS = int(os.environ.get("REPLAY_RUNS", "12"))
SEED = int(os.environ.get("REPLAY_SEED", "20261128"))
AT_ONCE = 6
TASK_TIMEOUT = timedelta(seconds=1.5)

pytestmark = pytest.mark.timeout(60 + 10 * RUNS)
Json = dict[str, Any]


class Moody(Toys):
    """Nodes that take their time, and one that fails when it is tried first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.add("slow", self._slow)
        self.add("flaky", self._flaky)

    async def _slow(self, inputs: Json, context: NodeContext) -> Json:
        await asyncio.sleep(context.random.choice([0.0, 0.05, 0.3, 1.3]))
        return {"out": context.node_id}

    async def _flaky(self, inputs: Json, context: NodeContext) -> Json:
        if context.attempt == 1:
            raise OSError("not yet")
        return {"out": 1}


def graph(chance: random.Random) -> list[PlannedNode]:
    nodes = []
    for number in range(chance.randint(2, 25)):
        sources = [f"n{source}" for source in range(max(0, number - 6), number) if chance.random() < 0.3]
        kind = chance.choice(["echo"] * 6 + ["slow", "slow", "fail", "flaky"])
        placement = chance.choice(["inline"] * 3 + ["activity"])
        more: Json = {"continue_on_error": True} if chance.random() < 0.1 else {}
        if chance.random() < 0.05:
            more["bypass"] = {"out": BypassSource(("in",))}  # type: ignore[arg-type]
        nodes.append(node(f"n{number}", kind, *sources, placement=placement, initial_s=0.1, **more))
    return nodes


@asynccontextmanager
async def disturbed(handle: WorkflowHandle[Any, Json], chance: random.Random) -> AsyncIterator[None]:
    """Pauses, events that nobody waits for, and now and then an interruption, until it is left."""

    async def disturb() -> None:
        for _ in range(100):
            await asyncio.sleep(chance.random() * 0.5)
            what = chance.choice(["pause", "event", "cancel", "nothing", "nothing"])
            if what == "pause":
                await handle.signal("pause", True)
                await asyncio.sleep(chance.random() * 0.3)
                await handle.signal("pause", False)
            elif what == "event":
                await handle.signal("event", args=["any", {"a": 1}])
            elif what == "cancel" and chance.random() < 0.1:
                await handle.cancel()

    task = asyncio.create_task(disturb())
    try:
        yield
    finally:
        task.cancel()
        with suppress(BaseException):
            await task


async def run(worker: ToyWorker, seed: str) -> None:
    chance = random.Random(seed)
    handle = await worker.client.start_workflow(
        "GraphWorkflow",
        args=[RunPlan(tuple(graph(chance))).encode(), RunStart()],
        id=f"r-{uuid.uuid4()}",
        task_queue=worker.queue,
        task_timeout=TASK_TIMEOUT,
        execution_timeout=timedelta(seconds=120),
        result_type=dict,
    )
    try:
        async with disturbed(handle, chance):
            result: Json = await handle.result()
        assert result["status"] in ("complete", "error", "interrupted")
        await replay(await handle.fetch_history())
    except BaseException as error:
        error.add_note(f"REPLAY_SEED={SEED}: {seed}")
        raise


async def test_every_history_replays(temporal: Client, tmp_path: Path) -> None:
    async with toy_worker(temporal, Moody(), tmp_path) as worker:
        for first in range(0, RUNS, AT_ONCE):
            batch = range(first, min(first + AT_ONCE, RUNS))
            await asyncio.gather(*(run(worker, f"{SEED} {number}") for number in batch))
