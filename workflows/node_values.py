"""What one node gets and gives: pure questions about a plan and the outputs so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nodes.number_text import number_text
from workflows.plan import (
    LIVE,
    STREAMED,
    UNDEFINED,
    BypassSource,
    Feed,
    NodeId,
    PlannedInput,
    PlannedNode,
    RunPlan,
    SlotKey,
)


@dataclass(frozen=True)
class Missing:
    """Required slots that got no value at run time."""

    slots: tuple[SlotKey, ...]


Outputs = Mapping[NodeId, Mapping[str, Any]]


def inputs_for(node: PlannedNode, outputs: Outputs) -> dict[str, Any] | Missing:
    """The values of a node whose sources have all ended. A slot that got nothing is absent.

    A bypassed node has no required slots.
    """
    values: dict[str, Any] = {}
    missing: list[SlotKey] = []
    for key, planned in node.inputs.items():
        value = _slot_value(planned, outputs)
        if value is STREAMED:
            continue
        if value is not UNDEFINED:
            values[key] = value
        elif planned.required and node.bypass is None:
            missing.append(key)
    return Missing(tuple(missing)) if missing else values


def _slot_value(planned: PlannedInput, outputs: Outputs) -> Any:
    if planned.feeds and planned.multi:
        gathered: list[Any] = []
        for feed in planned.feeds:
            value = feed_value(feed, outputs)
            if feed.convert == "spread" and isinstance(value, list):
                gathered += value
            else:
                gathered.append(None if value is UNDEFINED or value is STREAMED else value)
        return gathered
    if planned.feeds:
        value = feed_value(planned.feeds[-1], outputs)
        if value is not UNDEFINED:
            return value
    return planned.value if planned.has_value else UNDEFINED


def feed_value(feed: Feed, outputs: Outputs) -> Any:
    """What an edge brings: STREAMED for a live stream, UNDEFINED when the source gave nothing there."""
    if feed.convert in LIVE:
        return STREAMED
    value = outputs.get(feed.node, {}).get(feed.slot, UNDEFINED)
    return value if value is UNDEFINED else convert(value, feed.convert)


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


def convert(value: Any, conversion: str) -> Any:
    """Apply an edge's conversion. Text of numbers is JavaScript's (`1.0` is "1"), as the editor's users expect."""
    if conversion == "collect_text":
        return value.get("text", "") if isinstance(value, Mapping) else value
    if conversion == "collect_chunks":
        return value.get("items", []) if isinstance(value, Mapping) else value
    if isinstance(value, bool):
        return ("true" if value else "false") if conversion == "text" else value
    if conversion == "text" and isinstance(value, int | float):
        return number_text(value)
    if conversion == "float" and isinstance(value, int):
        return float(value)
    return value


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
