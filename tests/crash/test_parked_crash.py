"""Nodes that wait in their run for long: everything dies meanwhile, and each goes on at its moment with one request."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.test_whole_stack import LATE_S, _kill_whole
from tests.e2e.limited_provider import LimitedProvider, provider

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
Json = dict[str, Any]
CLOSED_S = 25.0
PARKS_SOON = {
    "plugin.yaml": "{name: parks-soon, displayName: Parks soon, version: 1.0.0, nodes: {entry: nodes}}",
    "nodes/soon.py": "from innkeeper.activities.execution import attempt\nattempt.PARK_AFTER_S = 2\ndefinitions = []\n",
}
"""A plugin that makes a short pause of the workers a long one: nobody waits five minutes for a test."""


def options(folder: Path, url: str) -> StackOptions:
    data, plugin = folder / "data", folder / "plugins/parks-soon"
    for path, text in PARKS_SOON.items():
        (plugin / path).parent.mkdir(parents=True, exist_ok=True)
        (plugin / path).write_text(text)
    data.mkdir()
    (data / "channels.yaml").write_text(f"channels:\n- {{id: c, baseUrl: '{url}', supportedModels: [m]}}\n")
    return StackOptions(data, workers=2, plugins=(plugin.parent,), env={"INNKEEPER_ALLOW_LOOPBACK": "1"})


def question() -> Json:
    ask = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
    return {"nodes": [{"id": "n", "fullType": "core:GenericLlmRequest", "inputs": ask}]}


async def parked(client: GatewayClient, run: str) -> Json:
    """What the status says of the node of a run once the run waits in its place."""
    while True:
        status = await client.status(run)
        node: Json = status["nodeStatus"].get("n", {})
        if status["status"] == node.get("status") == "waiting":
            return node
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_parked_nodes_outlive_everything_and_ask_once_at_their_moment(tmp_path: Path) -> None:
    """The provider refuses the first run, and the limit that it has taught the workers holds back the second."""
    opens = 0.0

    def ask(now: float) -> tuple[bool, float]:
        nonlocal opens
        opens = opens or now + CLOSED_S
        return now >= opens, max(opens - now, 0.0)

    async with provider(LimitedProvider(ask)) as found:
        start = options(tmp_path, found.url)
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(20):
            runs = [await client.submit(question())]
            before = [await parked(client, runs[0])]
            runs.append(await client.submit(question()))
            before.append(await parked(client, runs[1]))
            await asyncio.sleep(2)  # a gateway that is killed forgets what the last second has taught it
            _kill_whole(stack)
        assert len(found.sent) == 1
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(90):
            back = time.monotonic()
            after = [await parked(client, run) for run in runs]
            assert [node["nextAttemptAt"] for node in after] == [node["nextAttemptAt"] for node in before]
            done = [await client.wait(run) for run in runs]
    print("opened after", opens - found.sent[0][0], "back", back - opens, "asked", [at - opens for at in found.taken])
    assert [status["status"] for status in done] == ["complete", "complete"]
    assert len(found.sent) == 3
    # One asks first; how soon the other one may is learned from that.
    assert 0 <= min(found.taken) - opens < max(0.0, back - opens) + LATE_S
    for status, node in zip(done, before, strict=True):
        ended = datetime.fromisoformat(status["nodeStatus"]["n"]["endedAt"])
        assert datetime.fromisoformat(node["nextAttemptAt"]) <= ended < datetime.now(UTC)
