"""A gateway that is killed while it tells many runs of an event: the next one tells the others, and none twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.client import GatewayAway, GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.dying import dying_plugin
from tests.e2e.test_streams import graph, node

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

RUNS = 20
TOLD_BEFORE_DEATH = 10
DYING = """
import os, signal, sys
from pathlib import Path

events = sys.modules.get("innkeeper.gateway.runs.external_events")
armed = Path({armed!r})
told = 0


def dies_in_between(signalled):
    async def tell(self, *args):
        global told
        found = await signalled(self, *args)
        told += armed.exists()
        if told == {count}:
            armed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return tell


if events is not None:  # in a gateway, not in a worker
    events.ExternalEvents._signal = dies_in_between(events.ExternalEvents._signal)
definitions = []
"""
"""A plugin is loaded by the gateway, so it can kill it at the worst moment, once for each time that it is armed."""


@dataclass(frozen=True)
class Bench:
    """A stack, and the file that arms its plugin."""

    stack: LocalStack
    armed: Path


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("broadcast")
    armed = folder / "armed"
    code = DYING.format(armed=str(armed), count=TOLD_BEFORE_DEATH)
    options = StackOptions(folder / "data", plugins=(dying_plugin(folder / "plugins", code),))
    async with LocalStack(options) as stack:
        yield Bench(stack, armed)


async def waiting_nodes(client: GatewayClient, runs: list[str], path: str) -> int:
    found = await asyncio.gather(*(client.status(run) for run in runs))
    return sum(status["nodeStatus"].get(path, {}).get("status") == "waiting" for status in found)


async def until_all_wait(client: GatewayClient, runs: list[str], path: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(GatewayAway):  # it is starting again
                if await waiting_nodes(client, runs, path) == len(runs):
                    return
            await asyncio.sleep(0.2)


async def answer_of(http: httpx.AsyncClient, event: dict[str, Any], key: dict[str, str]) -> dict[str, Any]:
    """What a client is told that repeats its request until somebody answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await http.post("/api/events", json=event, headers=key)
                return dict(answer.raise_for_status().json())
            except (httpx.TransportError, httpx.HTTPStatusError):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({}, id="nobody asks again", marks=pytest.mark.slow),
        pytest.param({"Idempotency-Key": "bell-1"}, id="repeated with its key", marks=pytest.mark.slow),
    ],
)
async def test_broadcast_goes_on_after_the_death_of_the_gateway_and_reaches_every_run_once(
    bench: Bench, key: dict[str, str]
) -> None:
    name = "bell with a key" if key else "bell"
    waits = [node(id, "core:WaitForEvent") | {"configValues": {"name": name}} for id in ("first", "second")]
    twice = graph(waits, "first.data > second.filter")
    event: dict[str, Any] = {"name": name, "data": {"n": 1}}
    async with GatewayClient(bench.stack.url) as client:
        runs = [await client.submit(twice) for _ in range(RUNS)]
        await until_all_wait(client, runs, "first")
    bench.armed.touch()
    async with httpx.AsyncClient(base_url=bench.stack.url, timeout=30, trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            await http.post("/api/events", json=event, headers=key)
        assert not bench.armed.exists()
        answer = await answer_of(http, event, key) if key else None
    async with GatewayClient(bench.stack.url) as client:
        await until_all_wait(client, runs, "second")
        # A second delivery would end the second wait within moments.
        await asyncio.sleep(2)
        assert await waiting_nodes(client, runs, "second") == RUNS
        outputs = [(await client.status(run))["nodeStatus"]["first"]["output"] for run in runs]
    assert outputs == [{"data": {"n": 1}}] * RUNS
    if answer is not None:
        assert (answer["runs"], sorted(answer["promptIds"])) == (RUNS, sorted(runs))
