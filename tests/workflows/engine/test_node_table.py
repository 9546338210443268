"""What a node table answers about a graph that was taken over from an earlier history: no server, no clock."""

from __future__ import annotations

from typing import Any

from innkeeper.workflows.engine.node_table import MAX_FAILED_NODES, NodeTable
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import NodeId, RunPlan
from tests.workflows.toys import node

FAILED = {"status": "error", "error": {"code": "no_luck", "message": "no luck"}}


def table(plan: RunPlan, entries: dict[str, dict[str, Any]], path: str = "") -> tuple[NodeTable, tuple[NodeId, ...]]:
    found = NodeTable(WorkflowContext("run", "user"), GraphLocation(path), plan)
    return found, found.resume({NodeId(id): entry for id, entry in entries.items()})


def test_resume_returns_what_is_ready_in_plan_order() -> None:
    plan = RunPlan((node("a"), node("b"), node("c", "echo", "a"), node("d", "echo", "a", "b"), node("e", "echo", "a")))
    nodes, ready = table(plan, {"a": {"status": "complete", "output": {"out": 1}}})
    assert ready == ("b", "c", "e")
    assert nodes.has_ended(NodeId("a"))
    assert nodes.waiting[NodeId("d")] == 1


def test_flat_table_holds_paths_in_the_run_and_what_ran_below() -> None:
    inner = {"group/g/x": {"status": "complete"}}
    below = [{"nodes": inner, "refs": [{"$blob": "1"}], "counts": {"complete": 1}}]
    nodes, _ = table(RunPlan((node("g"), node("h"))), {"g": {"status": "complete", "below": below}}, "group")
    assert nodes.flat_table() == ({"group/g": {"status": "complete"}, **inner}, [{"$blob": "1"}])
    assert nodes.counts() == {"complete": 2}


def test_failure_names_the_first_node_that_nothing_forgives_and_all_that_failed() -> None:
    plan = RunPlan((node("spared", continue_on_error=True), node("fatal")))
    nodes, _ = table(plan, {"spared": FAILED, "fatal": FAILED}, "group")
    assert nodes.status == "error"
    assert nodes.failure["message"] == "node 'group/fatal': no luck"
    assert [item["nodeId"] for item in nodes.failure["nodes"]] == ["group/spared", "group/fatal"]


def test_failure_names_a_limited_number_of_nodes() -> None:
    ids = [f"n{number}" for number in range(MAX_FAILED_NODES + 5)]
    nodes, _ = table(RunPlan(tuple(map(node, ids))), dict.fromkeys(ids, FAILED))
    assert [item["nodeId"] for item in nodes.failure["nodes"]] == ids[:MAX_FAILED_NODES]
