"""Which nodes may be left out once a join has its value: all that reads them leads to nothing but joins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from innkeeper.workflows.plan import NodeId, PlannedNode


def with_spare(
    nodes: Sequence[PlannedNode], *, needed: Collection[NodeId], has_effects: Callable[[PlannedNode], bool]
) -> tuple[PlannedNode, ...]:
    """The nodes, in plan order, with those marked that may be left out.

    Args:
        needed: Nodes whose values are outputs of the workflow.
        has_effects: Is it seen outside that a node runs, or unknown what it does?
    """
    if not any(node.joins for node in nodes):
        return tuple(nodes)
    readers: dict[NodeId, list[PlannedNode]] = {}
    spare: set[NodeId] = set()
    for node in reversed(nodes):  # who reads a node stands behind it
        behind = readers.get(node.id, [])
        leads_to_joins = bool(behind) and all(
            node.id not in reader.beside and (reader.joins or reader.id in spare) for reader in behind
        )
        if leads_to_joins and node.id not in needed and not has_effects(node):
            spare.add(node.id)
        for source in dict.fromkeys((*node.after, *node.beside)):
            readers.setdefault(source, []).append(node)
    return tuple(replace(node, spare=True) if node.id in spare else node for node in nodes)
