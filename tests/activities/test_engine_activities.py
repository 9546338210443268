"""The engine's own small activities."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.engine_activities import EngineActivities, workflows_around
from tests.workflows.toys import Toys, toy_worker


def test_a_look_at_a_node_goes_to_every_workflow_around_it() -> None:
    paths = ["plain", "g/inner", "g/h/deep", "g/other", "each/3/node"]
    assert workflows_around("run", paths) == ["run", "run/g", "run/g/h", "run/each", "run/each/3"]


@pytest.mark.parametrize("skew_s", [0, 86_400, -86_400, 31_536_000])
async def test_whether_a_queue_has_workers_does_not_hang_on_the_clock_of_this_machine(
    temporal: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew_s: float
) -> None:
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + skew_s)
    async with toy_worker(temporal, Toys(), tmp_path) as worker, asyncio.timeout(30):
        engine = EngineActivities(worker.values, temporal)
        env = ActivityEnvironment(temporal)
        # What the server says when it hands out the task.
        env.info = replace(env.info, started_time=datetime.now(UTC))
        while not await env.run(engine.queue_has_workers, worker.queue):
            await asyncio.sleep(0.1)
        assert not await env.run(engine.queue_has_workers, "nobody-polls-this")
        env.info = replace(env.info, started_time=datetime.now(UTC) + timedelta(seconds=80))
        assert not await env.run(engine.queue_has_workers, worker.queue)
