"""Random faults, from a fixed seed, under streaming runs: afterwards every viewer has seen the undisturbed text.

`CHAOS_SECONDS` and `CHAOS_RUNS` make it longer, `CHAOS_SEED` another one.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.temporal_server import free_port
from tests.crash.chaos import NODES, Faults, Story, StreamViewer, story, watch
from tests.crash.chaos_proxy import proxy_to
from tests.crash.slow_model import SlowModel, slow_model
from tests.effort import LONG

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60" if LONG else "10"))
RUNS = int(os.environ.get("CHAOS_RUNS", "20" if LONG else "4"))
SEED = int(os.environ.get("CHAOS_SEED", "20250607"))
SETTLE_S = 75.0
"""After the last fault: restarts, heartbeat timeouts, and the longest stream once more from its beginning."""

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(SECONDS + SETTLE_S + 60)]
PLUGINS = Path(__file__).parents[1] / "plugins"


class Told:
    """A run and who watched it."""

    def __init__(self, told: Story) -> None:
        self.story, self.run, self.viewers = told, "", list[StreamViewer]()


async def test_viewers_of_streams_notice_no_fault(tmp_path: Path) -> None:
    chance, port = random.Random(SEED), free_port()
    async with slow_model(delay_s=SECONDS / 160) as model, proxy_to(port) as proxy:
        options = StackOptions(
            tmp_path / "data", port=port, workers=2, plugins=(PLUGINS,), env={"INNKEEPER_GATEWAY_URL": proxy.url}
        )
        async with LocalStack(options) as stack, GatewayClient(proxy.url, patience_s=60) as client:
            faults = Faults(stack, proxy, random.Random(f"{SEED} faults"))
            try:
                await _storm(client, model, chance, faults)
            except BaseException as error:
                error.add_note(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g} CHAOS_RUNS={RUNS}; the faults were:")
                error.add_note("\n".join(faults.done))
                raise


async def _storm(client: GatewayClient, model: SlowModel, chance: random.Random, faults: Faults) -> None:
    """Tell all stories while faults happen, then look at what was seen."""
    told = [Told(story(chance, model, number, SECONDS / 3)) for number in range(RUNS)]
    delays = [0.0, *sorted(chance.uniform(0, SECONDS * 0.6) for _ in told[1:])]
    async with asyncio.TaskGroup() as group:
        group.create_task(_rage(faults, told[0]))
        for number, (each, delay) in enumerate(zip(told, delays, strict=True)):
            group.create_task(_tell(client, each, delay, number))
    for each in told:
        await _check(client, each)
    again = [each.viewers[0].executing.total() > len(NODES) for each in told]
    assert any(again), "no fault met a node, so that nothing was tried"


async def _rage(faults: Faults, first: Told) -> None:
    """Do damage from the moment on at which there is something to damage."""
    async with asyncio.timeout(SETTLE_S):
        while not any(viewer.chunks.get("all") or viewer.chunks.get("second") for viewer in first.viewers):
            await asyncio.sleep(0.02)
    await faults.rage(SECONDS)


async def _tell(client: GatewayClient, each: Told, delay: float, number: int) -> None:
    chance = random.Random(f"{SEED} viewers of {number}")
    await asyncio.sleep(delay)
    each.run = await client.submit(each.story.document)
    each.viewers = [StreamViewer() for _ in range(chance.randint(2, 3))]
    try:
        async with asyncio.timeout(SECONDS + SETTLE_S - delay):
            await asyncio.gather(*(watch(client, each.run, viewer, chance) for viewer in each.viewers))
    except TimeoutError:
        status = await client.status(each.run)
        nodes = {node: entry["status"] for node, entry in status["nodeStatus"].items()}
        raise AssertionError(f"run {each.run} has not ended: {status['status']}, {nodes}") from None


async def _check(client: GatewayClient, each: Told) -> None:
    texts = each.story.texts
    status = await client.status(each.run)
    assert status["status"] == "complete", status
    assert status["outputs"]["text"] == texts["second"]
    for viewer in each.viewers:
        assert {node: viewer.text(node) for node in texts} == texts
        assert viewer.outputs == {"live": texts["second"]}
        assert viewer.ended_outputs == ["live"]
        assert {node: viewer.terminal[node] for node in NODES} == dict.fromkeys(NODES, 1)
        assert viewer.types == each.viewers[0].types
