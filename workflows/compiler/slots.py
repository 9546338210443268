"""Where each input slot of a node gets its value: its edges in order, else a literal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from innkeeper.workflows.compiler.resolve import ResolvedNode, Wire, default_of
from innkeeper.workflows.compiler.secret_names import without_strays
from innkeeper.workflows.plan import UNDEFINED, Feed, NodeId, PlannedInput, SlotKey

PlannedInputs = dict[SlotKey, PlannedInput]


def plan_inputs(node: ResolvedNode, wires: Iterable[Wire]) -> PlannedInputs:
    """The node's slots in declaration order, then undeclared ones that edges enter. Literals are still the author's.

    What was typed where there is no slot is left out: it would stay readable in plans, and may be a misspelt key.
    """
    by_slot: dict[str, list[Wire]] = {}
    for item in wires:
        if not item.only_orders:
            by_slot.setdefault(item.slot, []).append(item)
    keys = dict.fromkeys((*node.inputs, *by_slot, *(key for key in node.node.inputs if node.takes(key))))
    planned = {SlotKey(key): _plan_input(node, key, by_slot.get(key, [])) for key in keys}
    return {key: slot for key, slot in planned.items() if slot.feeds or slot.has_value or slot.required}


def _plan_input(node: ResolvedNode, key: str, wires: list[Wire]) -> PlannedInput:
    slot = node.inputs.get(key)
    multi = slot is not None and slot.multi
    chosen = in_order(wires, node.node.orders.get(key, ())) if multi else wires[-1:]
    # A list of values that each travel by themselves stays one, also where the slot takes one value.
    multi = multi or any(_is_list(item) for item in chosen)
    value = UNDEFINED if multi and chosen else literal(node, key)
    has_value = value is not UNDEFINED
    return PlannedInput(
        feeds=tuple(_feed(item) for item in chosen),
        value=_listed(value, multi) if has_value else None,
        has_value=has_value,
        multi=multi,
        required=slot is not None and slot.is_required(node.config),
    )


def _listed(value: Any, multi: bool) -> Any:
    return [value] if multi and not isinstance(value, list | tuple) else value


def _feed(item: Wire) -> Feed:
    convert: str = item.conversion or ""
    both_stream = item.output is not None and item.input is not None and item.output.is_stream and item.input.is_stream
    # A bypassed node reads nothing: it waits for the collected stream and hands that on.
    if both_stream and not item.target.node.bypassed:
        convert = "stream"
    elif _is_list(item):
        convert = "spread"
    return Feed(NodeId(item.edge.source), SlotKey(item.edge.source_handle), convert)


def _is_list(item: Wire) -> bool:
    return item.edge.source_handle in item.source.lists and not (item.output is not None and item.output.is_stream)


def literal(node: ResolvedNode, key: str) -> Any:
    """The value typed into a slot, else its default, else UNDEFINED."""
    slot = node.inputs.get(key)
    if key in node.node.inputs and node.takes(key):
        return without_strays(node.node.inputs[key], slot)
    return UNDEFINED if slot is None else default_of(slot, node.definition.full_type)


def in_order(wires: Sequence[Wire], listed: Sequence[str]) -> list[Wire]:
    """The edges of a multi slot: listed ids first, then by sub-handle number, then as they stand in the document."""
    by_id: Mapping[str, Wire] = {item.edge.id: item for item in wires}
    first = [by_id[edge_id] for edge_id in dict.fromkeys(listed) if edge_id in by_id]
    taken = {item.edge.id for item in first}
    rest = [item for item in wires if item.edge.id not in taken]
    return first + sorted(rest, key=lambda item: (item.index is None, item.index or 0))
