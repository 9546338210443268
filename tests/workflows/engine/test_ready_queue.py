"""The order in which ready nodes begin."""

from __future__ import annotations

from innkeeper.workflows.engine.ready_queue import ReadyQueue
from innkeeper.workflows.plan import NodeId, RunPlan
from tests.workflows.toys import node


def test_nodes_leave_in_plan_order_whatever_order_they_came_in() -> None:
    queue = ReadyQueue(RunPlan((node("z"), node("b"), node("a"), node("c"))))
    queue.push(map(NodeId, ("a", "z")))
    queue.push(map(NodeId, ("c", "b")))
    assert [queue.pop() for _ in range(len(queue))] == ["z", "b", "a", "c"]
