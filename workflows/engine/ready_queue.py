"""Nodes that wait for nothing, in plan order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from innkeeper.workflows.plan import NodeId, RunPlan


class ReadyQueue:
    """Gives nodes in plan order, in whatever order they became ready: replays depend on it."""

    def __init__(self, plan: RunPlan) -> None:
        self._order = plan.order
        self._heap: list[tuple[int, NodeId]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, nodes: Iterable[NodeId]) -> None:
        for node in nodes:
            heapq.heappush(self._heap, (self._order[node], node))

    def pop(self) -> NodeId:
        """Take the first node. Raises IndexError when there is none."""
        return heapq.heappop(self._heap)[1]

    def clear(self) -> None:
        self._heap.clear()
