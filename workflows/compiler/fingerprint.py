"""What a node's outputs depend on, as one hash: equal hashes, equal question asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from innkeeper.workflows.plan import Feed, NodeId, PlannedInput, PlannedNode, RunPlan


def fingerprints(plan: RunPlan) -> dict[NodeId, str]:
    """Node to fingerprint: its type, version, mode, config and values, and the fingerprints of all before it.

    What only says how a node is run (retries, limits, queue, title, its id) is left out. What takes an interface input
    depends on that input's value, not on core:GroupInput as a whole.
    """
    found: dict[NodeId, str] = {}
    for node in plan.nodes:
        described = _described(plan, node, found)
        found[node.id] = sha256(orjson.dumps(described, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return found


def _described(plan: RunPlan, node: PlannedNode, known: Mapping[NodeId, str]) -> dict[str, Any]:
    sources = (*node.after, *node.beside)
    return {
        "type": [node.type, node.version, node.mode],
        "config": node.config,
        "inputs": {key: _input(plan, node, slot, known) for key, slot in node.inputs.items()},
        "outputs": {key: [slot.stream, slot.seal] for key, slot in node.outputs.items()},
        "bypass": _bypass(node),
        "group": node.group,
        "interface": plan.interface_inputs if node.interface_values else None,
        "sources": sorted({known[source] for source in sources if not plan.by_id[source].interface_values}),
    }


def _input(plan: RunPlan, node: PlannedNode, slot: PlannedInput, known: Mapping[NodeId, str]) -> list[Any]:
    feeds = slot.feeds if slot.multi or node.joins else slot.feeds[-1:]
    return [[_feed(plan, feed, known) for feed in feeds], slot.multi, slot.has_value, slot.value]


def _feed(plan: RunPlan, feed: Feed, known: Mapping[NodeId, str]) -> list[Any]:
    if plan.by_id[feed.node].interface_values:
        has_value = feed.slot in plan.interface_inputs
        return ["interface", feed.slot, feed.convert, has_value, plan.interface_inputs.get(feed.slot)]
    return [known[feed.node], feed.slot, feed.convert]


def _bypass(node: PlannedNode) -> Any:
    if node.bypass is None:
        return None
    return {key: [source.inputs, source.has_empty, source.empty, source.shared] for key, source in node.bypass.items()}
