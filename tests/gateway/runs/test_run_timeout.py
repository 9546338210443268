"""Runs that may take only so long: nothing waits beyond that without being told, and the end is clear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.gateway.api.test_control import graph, node, save, submit, until
from tests.gateway.conftest import Stack
from tests.gateway.runs.test_recovery import events_of

LIMIT_S = 3.0
TERMINAL = {"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_INTERRUPTED", "NODE_BYPASSED"}


@pytest.fixture
async def limited(temporal: Client, tmp_path: Path) -> AsyncIterator[Stack]:
    stack = Stack(temporal, tmp_path, {"run_timeout_s": LIMIT_S})
    yield stack
    stack.close()


async def test_a_run_over_its_limit_ends_with_one_end_for_each_node_and_one_for_itself(limited: Stack) -> None:
    inner = [node("in", "core:GroupInput"), node("deep", "core:WaitForEvent", {"name": "never"})]
    save(limited, "inner", graph(inner))
    nodes = [
        node("said", "Say", text="x"),
        node("held", "Hold", seconds=60),
        node("asked", "core:Approval", {}, data=1),
        node("behind", "Say"),
        node("group", "core:NodeGroup", {"referencedWorkflowId": "inner"}),
    ]
    async with limited.up() as http:
        run = await submit(http, graph(nodes, "asked.approved > behind.text"))
        result = await until(http, run, "error")
        events = await events_of(http, run)
    assert result["errorInfo"]["code"] == "run_timeout"
    assert "INNKEEPER_RUN_TIMEOUT_S" in result["errorInfo"]["message"]
    ends = [(e["payload"]["nodeId"], e["type"]) for e in events if e["type"] in TERMINAL]
    own = [end for end in ends if not end[0].startswith("__")]
    assert sorted(path for path, _ in own) == sorted({path for path, _ in own})
    told = dict(own)
    assert told["said"] == "NODE_COMPLETE"
    assert {told[path] for path in ("held", "asked", "group", "group/deep")} == {"NODE_INTERRUPTED"}
    final = [e for e in events if e["type"] == "EXECUTION_STATUS_UPDATE" and e["payload"]["status"] == "error"]
    assert final == [events[-1]]


async def test_waits_beyond_the_limit_are_told_at_submit(limited: Stack) -> None:
    save(limited, "later", graph([node("d", "core:Delay", seconds=100)]))
    nodes = [
        node("long", "core:Delay", seconds=LIMIT_S + 1),
        node("short", "core:Delay", seconds=1),
        node("asked", "core:Approval", {"timeoutSeconds": 400 * 86_400}, data=1),
        node("again", "core:NodeGroup", {"referencedWorkflowId": "later"}),
    ]
    async with limited.up() as http:
        checked = (await http.post("/api/validate", json=graph(nodes))).json()
        refused = await http.post("/api/prompt", json=graph(nodes))
        submitted = (await http.post("/api/prompt", json=graph([nodes[2]]))).json()
    assert (refused.status_code, checked["valid"]) == (422, False)
    for told in (checked, refused.json()):
        found = [(item["level"], item["node"]) for item in told["problems"] if item["code"] == "wait_beyond_run_limit"]
        assert found == [("error", "long"), ("warning", "asked"), ("error", "d")]
    assert [item["code"] for item in submitted["warnings"]] == ["wait_beyond_run_limit"]


async def test_without_a_setting_a_run_has_no_limit(stack: Stack) -> None:
    async with stack.up() as http:
        run = await submit(http, graph([node("long", "core:Delay", seconds=5 * 366 * 86_400)]))
        await until(http, run, "waiting")
        handle = stack.temporal.get_workflow_handle(run)
        started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
        await handle.terminate()
        await until(http, run, "error")
    assert started.workflow_execution_timeout.ToSeconds() == started.workflow_run_timeout.ToSeconds() == 0
