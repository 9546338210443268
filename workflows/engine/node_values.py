"""What one node gets and gives: pure questions about a plan and the outputs so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.feeds import LIVE, UNDEFINED, Feed, Missing, Outputs, SlotKey, convert, values_of
from innkeeper.workflows.plan import BypassSource, PlannedNode, RunPlan


def inputs_for(node: PlannedNode, outputs: Outputs) -> dict[str, Any] | Missing:
    """The values of a node whose sources have all ended; a bypassed one has no required slots."""
    return values_of(node.inputs, outputs, required=node.bypass is None)


def stream_inputs(plan: RunPlan, node: PlannedNode) -> dict[str, list[str | None]]:
    """Where each stream input comes from, feed by feed: a producer's path, `""` (no chunks), None (the batch value).

    Paths are relative to this graph; one that begins with `/` is relative to the run.
    """
    found: dict[str, list[str | None]] = {}
    for key, planned in node.inputs.items():
        feeds = planned.feeds if planned.multi else planned.feeds[-1:]
        if any(feed.convert in LIVE or feed.convert == "one_chunk" for feed in feeds):
            found[key] = [_source_of(plan, feed) for feed in feeds]
    return found


def _source_of(plan: RunPlan, feed: Feed) -> str | None:
    if feed.convert != "stream":
        return "" if feed.convert == "no_stream" else None
    producer = plan.by_id.get(feed.node)
    if producer is None or not producer.group:
        return feed.node
    inner = producer.origins.get(feed.slot)
    return f"{feed.node}/{inner}" if inner else ""


def bypass_outputs(bypass: Mapping[SlotKey, BypassSource], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a bypassed node gives instead of running; each input serves one output, unless it is shared."""
    used: set[str] = set()
    given: dict[str, Any] = {}
    for key, source in bypass.items():
        free = (slot for slot in source.inputs if slot in inputs and (source.shared or slot not in used))
        chosen = next(free, None)
        if chosen is not None:
            used.add(chosen)
            given[key] = inputs[chosen]
        elif source.has_empty:
            given[key] = source.empty
    return given


def interface_values(plan: RunPlan, outputs: Outputs) -> dict[str, Any]:
    """The workflow's outputs; a key whose node gave nothing is absent."""
    found: dict[str, Any] = {}
    for key, source in plan.interface_outputs.items():
        value = outputs.get(source.node, {}).get(source.slot, UNDEFINED)
        if value is not UNDEFINED:
            found[key] = convert(value, source.convert)
    return found
