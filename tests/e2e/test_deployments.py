"""Versioned workers: open runs end on the build that they began on, new ones begin on the current one, then the old
one is drained. Build B has another interpreter, which could not go on with a run of build A."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.deployments import DeploymentError, deployment, set_current
from innkeeper.gateway.process.temporal_setup import set_up
from tests.e2e.own_temporal import bare_server
from tests.e2e.test_control import edge, node, until
from tests.e2e.test_up import INNKEEPER, TIMEOUT_S, Up, environment
from tests.effort import LONG

NAMESPACE = "builds"
NAME = "inn"
RUNS = 20
NEW_RUNS = 20 if LONG else 3
DOCUMENT: dict[str, Any] = {
    "nodes": [node("ask", "Approval", None, data="x"), node("join", "TextMerge")],
    "edges": [edge("ask.approved", "join.text_inputs__0")],
}
CHANGED_WORKER = """
import sys
from temporalio import workflow
from innkeeper.workflows.engine.interpreter import Interpreter
run = Interpreter.run
async def changed(self):
    await workflow.sleep(0.01)  # a timer that no history of build A knows
    await run(self)
Interpreter.run = changed
from innkeeper.activities.worker import main
sys.exit(main())
"""

pytestmark = pytest.mark.slow


def environment_of(server: str, build: str) -> dict[str, str]:
    return {
        **{name: value for name, value in environment().items() if not name.startswith("TEMPORAL_")},
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "INNKEEPER_TEMPORAL_ADDRESS": server,
        "INNKEEPER_NAMESPACE": NAMESPACE,
        "INNKEEPER_DEPLOYMENT": NAME,
        "INNKEEPER_BUILD_ID": build,
    }


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A server that has been set up."""
    with bare_server(tmp_path_factory.mktemp("builds")) as address:
        async with asyncio.timeout(60):
            await set_up(await Client.connect(address, namespace=NAMESPACE))
            yield address


async def command(server: str, data: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*INNKEEPER, *words, "--data-dir", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment_of(server, "any"),
    )


async def set_when_it_polls(temporal: Client, build: str) -> str | None:
    """As `innkeeper deploy set` does, as soon as workers of the build are known."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await set_current(temporal, NAME, build)
            except DeploymentError:
                await asyncio.sleep(0.1)


async def asking(client: GatewayClient, count: int) -> list[str]:
    """Runs that wait for an answer."""
    runs = [await client.submit(DOCUMENT) for _ in range(count)]
    for run in runs:
        await until(client, run, "waiting")
    return runs


async def builds_of(temporal: Client, run: str) -> tuple[set[str], bool]:
    """The builds that worked on a run, and whether the changed interpreter did."""
    history = await temporal.get_workflow_handle(run).fetch_history()
    completed = [
        event.workflow_task_completed_event_attributes
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    timers = [
        event.timer_started_event_attributes
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    is_changed = any(timer.start_to_fire_timeout.ToMilliseconds() == 10 for timer in timers)
    return {found.deployment_version.build_id for found in completed}, is_changed


async def test_open_runs_end_on_their_build_and_new_ones_begin_on_the_current(server: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    temporal = await Client.connect(server, namespace=NAMESPACE)
    up = await asyncio.to_thread(Up, data, env=environment_of(server, "a"))
    try:
        with pytest.raises(DeploymentError, match="no deployment 'other'"):
            await deployment(temporal, "other")
        assert await set_when_it_polls(temporal, "a") is None
        async with GatewayClient(up.url) as client:
            old = await asking(client, RUNS)
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CHANGED_WORKER),
                env={**environment_of(server, "b"), "INNKEEPER_DATA_DIR": str(data), "INNKEEPER_GATEWAY_URL": up.url},
            )
            try:
                assert await set_when_it_polls(temporal, "b") == "a"
                new = await asking(client, NEW_RUNS)
                await the_numbers(temporal, {"a": (RUNS, 1, False), "b": (NEW_RUNS, 1, True)})
                draining = await command(server, data, "deploy", "drain", "--timeout", "2m", "--json")
                for run in [*old, *new]:
                    await client.approvals.answer(run, "ask", True)
                for run in [*old, *new]:
                    await until(client, run, "complete")
                out, err = await asyncio.wait_for(draining.communicate(), TIMEOUT_S)
            finally:
                worker.terminate()
                await worker.wait()
        assert (draining.returncode, json.loads(out)) == (0, {"drained": True, "open": {"a": 0}}), err
        found = Counter([str(await builds_of(temporal, run)) for run in (*old, *new)])
        assert found == {"({'a'}, False)": RUNS, "({'b'}, True)": NEW_RUNS}
    finally:
        await asyncio.to_thread(up.end, signal.SIGTERM)


async def the_numbers(temporal: Client, wanted: dict[str, tuple[int, int, bool]]) -> None:
    """Wait until the server lists so many open workflows and workers, and which build is current."""
    async with asyncio.timeout(30):
        while True:
            found = {
                each.build_id: (each.open, each.workers, each.is_current)
                for each in (await deployment(temporal, NAME)).versions
            }
            if found == wanted:
                return
            await asyncio.sleep(0.2)


async def test_build_that_has_no_worker_gets_no_runs(server: str) -> None:
    temporal = await Client.connect(server, namespace=NAMESPACE)
    with pytest.raises(DeploymentError, match="'nowhere' of deployment 'inn' cannot get new runs"):
        await set_current(temporal, NAME, "nowhere")


async def test_commands_show_and_set_builds_and_wait_for_no_current_one(server: str, tmp_path: Path) -> None:
    commands = [("current",), ("drain", "b"), ("set", "it's")]
    asked = [await command(server, tmp_path, "deploy", *words) for words in commands]
    said = [await asyncio.wait_for(each.communicate(), TIMEOUT_S) for each in asked]
    assert [each.returncode for each in asked] == [0, 1, 2], said
    lines = said[0][0].decode().splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["b", "current", "0"], ["a", "draining", "0"]]
    assert "'b' gets new runs, so it never drains" in said[1][1].decode()
    assert "is no name" in said[2][1].decode()
