"""A schedule whose gateway, worker and Temporal server are killed: each time is one run, and none runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.triggers.reading import read_trigger
from innkeeper.workflows.engine.trigger_launcher import schedule_id
from tests.gateway.conftest import PLUGINS, Stack
from tests.gateway.deliveries.test_schedules import add_workflows, definition

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(180)]
KILLS = 6
SCHEDULE = {"interval": {"everySeconds": 1}, "overlap": "allow_all"}


async def prepare(temporal: Client, data: Path) -> None:
    """A data directory with a workflow and a schedule."""
    stack = Stack(temporal, data)
    async with stack.gateway(), stack.http() as http:
        await add_workflows(http)
        trigger, _ = await stack.container.triggers.create(stack.settings.user, read_trigger(definition(SCHEDULE)))
        handle = temporal.get_schedule_handle(schedule_id(trigger.id))
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(RPCError):
                    await handle.delete()  # of this server, which nobody serves
                    break
                await asyncio.sleep(0.05)
    stack.close()


async def kill_some(stack: LocalStack, rng: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(0.5, 2.5))
        pids = stack.pids()
        victims = rng.sample(sorted(pids), rng.choice((1, 1, 2)))
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[victim], signal.SIGKILL)


async def ended_runs(client: GatewayClient) -> int:
    return len(await client.history(limit=100))


async def test_each_time_is_one_run_whatever_is_killed(temporal: Client, tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    data = tmp_path / "data"
    await prepare(temporal, data)
    async with LocalStack(StackOptions(data, plugins=(PLUGINS,))) as stack, asyncio.timeout(120):
        await kill_some(stack, random.Random(seed))
        await asyncio.sleep(5)
        async with GatewayClient(stack.url) as client:
            before = await ended_runs(client)
            while await ended_runs(client) < before + 3:  # it goes on as if nothing had been
                await asyncio.sleep(0.2)
    with contextlib.closing(sqlite3.connect(data / "gateway.db")) as store:
        fired = store.execute("select replay_key, run_id from deliveries where status = 'fired'").fetchall()
        runs = dict(store.execute("select id, status from runs").fetchall())
        failed = store.execute("select reason from deliveries where status = 'failed'").fetchall()
    assert failed == []
    assert len({time for time, _ in fired}) == len({run for _, run in fired}) == len(fired)
    assert {run for _, run in fired} <= runs.keys()
    assert len(runs) <= len(fired) + 1  # the last one may have been taken in the moment when all was stopped
    assert set(runs.values()) <= {"complete", "running", "queued"}
    # While the server itself is down nothing fires; what falls due then is caught up.
    moments = sorted(int(time[11:13]) * 3600 + int(time[14:16]) * 60 + int(time[17:19]) for time, _ in fired)
    assert len(moments) >= (moments[-1] - moments[0]) * 0.9
