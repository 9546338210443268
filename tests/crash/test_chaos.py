"""Random faults under runs of all kinds: afterwards every run has ended as if nothing had happened, for everyone.

The seed is printed first. `CHAOS_SEED` repeats the runs and the order of faults, `CHAOS_SECONDS` makes it longer,
`CHAOS_AT_ONCE` sets how many runs are under way, `CHAOS_CACHED_WORKFLOWS` how many of them a worker keeps in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process import temporal_server
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.temporal_server import NAMESPACE, free_port
from tests.crash.chaos.checks import Evidence, complaints, gather_evidence, read_executions
from tests.crash.chaos.faults import Faults, block_environment
from tests.crash.chaos.kinds import KINDS, Maker, store_workflows
from tests.crash.chaos.proxy import Proxy, proxy_to
from tests.crash.chaos.report import report
from tests.crash.chaos.storm import Storm
from tests.crash.slow_model import slow_model
from tests.e2e.test_groups import Library

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
AT_ONCE = int(os.environ.get("CHAOS_AT_ONCE", "12"))
SEED = os.environ.get("CHAOS_SEED") or str(secrets.randbelow(10**8))
CACHED = os.environ.get("CHAOS_CACHED_WORKFLOWS", "2")
SETTLE_S = float(os.environ.get("CHAOS_SETTLE_S", "300"))
"""After the last fault, on a machine that does other things too: restarts, heartbeat timeouts, streams once more."""
CALM_S = 60.0
"""Until Temporal has closed the children of runs that have ended."""
SUGGESTED_EVENTS = "40"
"""Events of a Temporal history after which a run goes on in a new one, so that many do."""
FLUSH_TIMEOUT_S = "90"
"""Longer than the gateway is ever away, as its supervisor kills it after a third of this: later, nodes may run again
although they are logged, by design. Much shorter than SETTLE_S: so long the gateway waits for what a dead worker was
about to tell."""

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(SECONDS + SETTLE_S + 240)]
PLUGINS = (Path(__file__).parents[1] / "plugins",)


@dataclass(frozen=True)
class Place:
    """Files of one chaos."""

    data: Path
    trace: Path
    blocks: Path


async def test_runs_of_all_kinds_notice_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _say(capsys, f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g} CHAOS_AT_ONCE={AT_ONCE} CHAOS_CACHED_WORKFLOWS={CACHED}")
    config = {**temporal_server.DYNAMIC_CONFIG, "limit.historyCount.suggestContinueAsNew": SUGGESTED_EVENTS}
    monkeypatch.setattr(temporal_server, "DYNAMIC_CONFIG", config)
    place, port = Place(tmp_path / "data", tmp_path / "trace.txt", tmp_path / "blocks"), free_port()
    env = {
        **block_environment(place.blocks),
        "INNKEEPER_MAX_CACHED_WORKFLOWS": CACHED,
        "INNKEEPER_FLUSH_TIMEOUT_S": FLUSH_TIMEOUT_S,
    }
    async with proxy_to(port) as proxy:
        env["INNKEEPER_GATEWAY_URL"] = proxy.url
        options = StackOptions(place.data, port=port, workers=2, plugins=PLUGINS, env=env)
        async with LocalStack(options) as stack:
            table, failures = await _chaos(stack, proxy, place, partial(_say, capsys))
    _say(capsys, table)
    assert not failures, "\n\n".join([f"{len(failures)} failures", *failures])


async def _chaos(stack: LocalStack, proxy: Proxy, place: Place, say: Callable[[str], None]) -> tuple[str, list[str]]:
    """Gives the table and everything that is wrong, the faults behind it."""
    hold_s = (1.0, min(40.0, SECONDS / 4))
    pause_s = (2.0, 8.0) if SECONDS > 120 else (1.0, 3.0)
    faults = Faults(stack, proxy, random.Random(f"{SEED} faults"), place.blocks, pause_s=pause_s, hold_s=hold_s)
    async with GatewayClient(proxy.url, patience_s=SETTLE_S) as client:
        storm = Storm(client, SEED, time.monotonic() + SECONDS + SETTLE_S, say)
        await _rage(storm, faults, place)
        temporal = await _temporal(stack)
        evidence = await _evidence(storm, temporal, place)
        full = (await temporal.count_workflows("ExecutionStatus='ContinuedAsNew'")).count
        failures = [*storm.failures, *_complaints(evidence), *await _left_open(temporal, client)]
    if faults.counts and not any(seen.log.was_disturbed for seen in evidence):
        failures.append("no fault met a node, so that nothing was tried")
    notes = ["the faults were:", *faults.done] if failures else []
    table = report(SEED, SECONDS, evidence, faults)
    return f"{table}\n\nTemporal histories that were left for a new one: {full}", failures + notes


async def _rage(storm: Storm, faults: Faults, place: Place) -> None:
    """Keep so many runs under way while faults happen, from the moment on at which the first has begun, to their end.

    A run begins when another has ended: on a slow machine there are fewer, not more of them at once.
    """
    store_workflows(Library(faults.stack, place.data), place.trace)
    async with slow_model(delay_s=min(SECONDS, 60.0) / 160) as model, asyncio.TaskGroup() as group:
        maker = Maker(random.Random(SEED), place.trace, model, min(SECONDS, 60.0) / 3)
        plans = (KINDS[number % len(KINDS)](maker, number) for number in itertools.count())
        users = [group.create_task(storm.tell(plans)) for _ in range(AT_ONCE)]
        while not place.trace.exists() and not all(user.done() for user in users):
            await asyncio.sleep(0.02)
        await faults.rage(SECONDS)
        storm.is_over = True


async def _temporal(stack: LocalStack) -> Client:
    """A client of the server, which may just be starting again."""
    async with asyncio.timeout(CALM_S):
        while True:
            try:
                return await Client.connect(stack.temporal_address, namespace=NAMESPACE)
            except RuntimeError:
                await asyncio.sleep(0.2)


async def _evidence(storm: Storm, temporal: Client, place: Place) -> list[Evidence]:
    """Of all runs that have ended; what is wrong with reading it is a failure of that run."""
    executions, found = read_executions(place.trace), list[Evidence]()
    for told in storm.told:
        if not told.viewers or not all(viewer.is_done for viewer in told.viewers):
            continue
        try:
            async with asyncio.timeout(CALM_S):
                seen = await gather_evidence(told, storm.client, temporal, place.data / "blobs")
        except Exception as error:  # of the other runs all is still to be told
            storm.failures.append(f"{told.plan.kind} run {told.run} cannot be read: {error!r}")
            continue
        seen.executions = executions[told.run]
        found.append(seen)
    return found


def _complaints(evidence: list[Evidence]) -> list[str]:
    return [
        f"{seen.told.plan.kind} run {seen.told.run}: {complaint}" for seen in evidence for complaint in complaints(seen)
    ]


async def _left_open(temporal: Client, client: GatewayClient) -> list[str]:
    """Workflows, children among them, that still run although every run has ended."""
    deadline = time.monotonic() + CALM_S
    while True:
        running = [item.id async for item in temporal.list_workflows("ExecutionStatus='Running'")]
        active = [item["promptId"] for item in await client.active()]
        if not running and not active:
            return []
        if time.monotonic() > deadline:
            return [f"still running: {running} by Temporal, {active} by the gateway"]
        await asyncio.sleep(1)


def _say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n{text}", flush=True)
