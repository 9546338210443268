"""What a run knows at one moment, as data that survives continue-as-new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine.scheduler import End, Progress, resumed
from innkeeper.workflows.plan import NodeId, RunPlan

PIECE_BYTES = 800_000
"""Largest piece of the node table that travels as one activity argument."""


class NodeStatus(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETE = "complete"
    BYPASSED = "bypassed"
    ERROR = "error"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


FINAL = frozenset(NodeStatus) - {NodeStatus.RUNNING, NodeStatus.WAITING}
_ENDS = frozenset({NodeStatus.COMPLETE, NodeStatus.ERROR, NodeStatus.INTERRUPTED})
_MOVES: Mapping[NodeStatus | None, frozenset[NodeStatus]] = {
    None: frozenset(NodeStatus) - {NodeStatus.COMPLETE},
    # A node that waits may turn out not to be needed, also before its wait has begun.
    NodeStatus.RUNNING: _ENDS | {NodeStatus.WAITING, NodeStatus.SKIPPED},
    # Waiting is state, not work: after continue-as-new the node takes its wait up again.
    NodeStatus.WAITING: _ENDS | {NodeStatus.RUNNING, NodeStatus.SKIPPED},
}


class IllegalMove(Exception):
    """A node was moved to a status it cannot take: a bug of the interpreter."""


@dataclass
class RunState:
    """The node table: id to `{status, output?, error?, reason?, cause?, attempts?, startedAt?, endedAt?}`.

    Finished nodes' outputs are read from here; nodes that have not begun are absent. Beside these an entry may hold
    `warnings` (what the node told its user), `dead` (outputs that will never come), `wait` (what a waiting node waits
    for) and `below` (the tables of the graphs that the node ran: `{path: entry}` or references of such).
    """

    table: dict[NodeId, dict[str, Any]] = field(default_factory=dict)

    def move(self, node: NodeId, status: NodeStatus, **entry: Any) -> None:
        """Set a node's status and merge `entry`. Raises IllegalMove naming expected and got."""
        current = self.table.get(node)
        before = NodeStatus(current["status"]) if current else None
        allowed = _MOVES.get(before, frozenset())
        if status not in allowed:
            raise IllegalMove(f"node {node!r} is {before}; expected one of {sorted(allowed)}, got {status}")
        self.table[node] = {**(current or {}), **entry, "status": status.value}

    @property
    def outputs(self) -> Mapping[NodeId, Mapping[str, Any]]:
        return _OutputsView(self.table)

    def counts(self) -> dict[str, int]:
        return dict(Counter(entry["status"] for entry in self.table.values()))

    def progress(self, plan: RunPlan) -> tuple[Progress, tuple[NodeId, ...]]:
        """Rebuild the scheduler's state from the table: what is over, and what is ready now, in order."""
        return resumed(plan, {node: end_of(entry) for node, entry in self.table.items() if entry["status"] in FINAL})

    def pieces(self) -> Iterator[dict[str, Any]]:
        """The table in parts of at most PIECE_BYTES of JSON (one entry is always smaller)."""
        piece: dict[str, Any] = {}
        size = 0
        for node, entry in self.table.items():
            entry_size = json_size(entry) + len(node) + 8
            if piece and size + entry_size > PIECE_BYTES:
                yield piece
                piece, size = {}, 0
            piece[node] = entry
            size += entry_size
        if piece:
            yield piece


def end_of(entry: Mapping[str, Any], reason: str = "") -> End:
    """How a node of the table ended."""
    return End(entry["status"], tuple(entry.get("dead") or ()), reason, tuple(entry.get("output") or ()))


class _OutputsView(Mapping[NodeId, Mapping[str, Any]]):
    """Outputs of the nodes that gave some, without copying the table."""

    def __init__(self, table: dict[NodeId, dict[str, Any]]) -> None:
        self._table = table

    def __getitem__(self, node: NodeId) -> Mapping[str, Any]:
        output = self._table[node].get("output")
        if output is None:
            raise KeyError(node)
        return output  # type: ignore[no-any-return]  # the table holds JSON

    def __iter__(self) -> Iterator[NodeId]:
        return (node for node, entry in self._table.items() if entry.get("output") is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
