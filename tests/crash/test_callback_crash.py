"""Processes are killed while others are told of runs: each message arrives, and none under two ids."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from innkeeper.gateway.client import GatewayAway, GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.nodes.services.webhook_signing import new_secret
from tests.e2e.test_streams import Json, graph, node
from tests.gateway.deliveries.receiver import answer, receiving

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.timeout(180)]

RUNS = 12
NAMES = ("gateway", "worker-1", "temporal")


async def kill(stack: LocalStack, name: str) -> None:
    """Kill a process; one that is just being started again, as soon as it is there."""
    async with asyncio.timeout(60):
        while (pid := stack.pids().get(name)) is None:
            await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


async def submitted(stack: LocalStack, document: Json, key: str) -> str:
    """The run of a submission that is repeated with its key until somebody answers."""
    async with GatewayClient(stack.url) as client:
        while True:
            with contextlib.suppress(GatewayAway):
                return await client.submit(document, idempotency_key=key)
            await asyncio.sleep(0.2)


async def deliveries_of(stack: LocalStack, run: str) -> list[Json]:
    async with GatewayClient(stack.url) as client:
        with contextlib.suppress(GatewayAway):
            found: list[Json] = (await client.status(run))["callbacks"][0]["deliveries"]
            return found
    return []


async def test_every_end_is_told_whoever_is_killed(tmp_path: Path) -> None:
    secret, chance = new_secret(), random.Random(7)
    async with receiving() as receiver:
        receiver.otherwise = answer(503, "Retry-After: 1\r\n")
        options = StackOptions(tmp_path / "data", env={"INNKEEPER_NODE_ALLOWED_HOSTS": "127.0.0.1"})
        async with LocalStack(options) as stack:
            document = graph([node("a", "core:TextMerge", text_inputs=["x"])])
            document["callback"] = {"url": receiver.url, "secret": secret}
            runs = []
            for number in range(RUNS):
                if number % 4 == 2:
                    await kill(stack, chance.choice(NAMES))
                runs.append(await submitted(stack, document, f"callback-{number}"))
            for name in ("gateway", "worker-1"):
                await kill(stack, name)
            receiver.otherwise = answer(204)
            async with asyncio.timeout(120):
                for run in runs:
                    while [found["status"] for found in await deliveries_of(stack, run)] != ["delivered"]:
                        await asyncio.sleep(0.3)
    ids: dict[str, set[str]] = {}
    for message in receiver.got:
        Webhook(secret).verify(message.body, message.headers)
        ids.setdefault(message.json["data"]["runId"], set()).add(message.id)
    assert ids.keys() == set(runs)
    assert all(len(found) == 1 for found in ids.values())
