"""Which inline nodes run together, in one activity: pure questions about a plan and its progress."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from innkeeper.nodes.call import is_blob
from innkeeper.nodes.feeds import LIVE, Feed, Outputs
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

FUSED_SINCE = 2
"""The first plan version whose inline nodes are fused; a run of an older plan goes on as it began."""
MAX_NODES = 50
MAX_BYTES = 256_000
"""What the nodes of one segment may have to be given or to load, together."""
MAX_IN_A_ROW = 20
"""Local segments before a regular one (`engine.activation` explains why)."""
LOCAL_MS = 250
LOCAL_BYTES = 512_000
"""How long one workflow task may be kept open by segments, and how much they may give in it."""


def may_be_fused(node: PlannedNode) -> bool:
    """Can it be part of a segment at all? A node with limits or a queue of its own was planned as an activity."""
    if node.placement != "inline" or node.bypass is not None or node.cached or node.joins or node.beside:
        return False
    return not any(feed.convert in LIVE or feed.convert == "one_chunk" for feed in _feeds(node))


def choose(
    plan: RunPlan,
    waiting: Mapping[NodeId, int],
    ready: Sequence[NodeId],
    *,
    may_join: Callable[[PlannedNode], bool],
    weight: Callable[[PlannedNode], int],
) -> list[PlannedNode]:
    """The nodes of the next segment, in plan order: ready ones, and those that only they hold back.

    What depends on a node whose failure is handled (`continueOnError`, `$error`) is left out: only the interpreter
    decides whether it runs.

    Args:
        waiting: Node to the number of sources it still waits for.
        ready: Nodes without any, in plan order; each may join and is light enough.
        weight: Bytes that a node must be given or load, as far as they are known.
    """
    queue = [(plan.order[node], node) for node in ready[:MAX_NODES]]
    left: dict[NodeId, int] = {}
    chosen: list[PlannedNode] = []
    spent = 0
    while queue and len(chosen) < MAX_NODES:
        node = plan.by_id[heapq.heappop(queue)[1]]
        spent += weight(node)
        if chosen and spent > MAX_BYTES:
            break
        chosen.append(node)
        if node.catches or node.continue_on_error:
            continue
        for behind in plan.successors[node.id]:
            left[behind] = left.get(behind, waiting.get(behind, 0)) - 1
            follower = plan.by_id[behind]
            if left[behind] == 0 and not follower.gates and may_join(follower):
                heapq.heappush(queue, (plan.order[behind], behind))
    return chosen


def given_from_outside(nodes: Iterable[PlannedNode], outputs: Outputs) -> dict[str, dict[str, Any]]:
    """What these nodes read of others that have ended: source to slot to value."""
    nodes = tuple(nodes)
    inside = {node.id for node in nodes}
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        for feed in _feeds(node):
            if feed.node not in inside and feed.slot in outputs.get(feed.node, {}):
                found.setdefault(feed.node, {})[feed.slot] = outputs[feed.node][feed.slot]
    return found


def weight_of(node: PlannedNode, outputs: Outputs) -> int:
    """Bytes that a node must be given or load, as far as its sources have ended."""
    literals = sum(_weight(slot.value) for slot in node.inputs.values() if slot.has_value)
    fed = (outputs.get(feed.node, {}).get(feed.slot) for feed in _feeds(node))
    return literals + sum(map(_weight, fed)) + (_weight(node.config) if node.config else 0)


def _weight(value: Any) -> int:
    if value is None:
        return 0
    if is_blob(value):
        return int(value.get("size", 0))
    if isinstance(value, list) and any(map(is_blob, value)):
        return sum(map(_weight, value))
    return len(value) if isinstance(value, str) else json_size(value)


def _feeds(node: PlannedNode) -> Iterable[Feed]:
    return (feed for slot in node.inputs.values() for feed in (slot.feeds if slot.multi else slot.feeds[-1:]))
