"""Where the inputs of a node come from, and what they are once the sources have ended: pure data and questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NewType

from innkeeper.nodes.number_text import number_text

NodeId = NewType("NodeId", str)
SlotKey = NewType("SlotKey", str)


class _Undefined:
    """A slot that got nothing; unlike None, which is a value."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = _Undefined()
STREAMED: Final = object()
"""A slot whose value comes as a stream, while the node runs."""
LIVE: Final = frozenset({"stream", "no_stream"})


@dataclass(frozen=True)
class Feed:
    """One edge into a slot.

    `convert` is a `nodes.definition.Conversion`, `stream` (the consumer follows the producer's stream while it comes),
    `no_stream` (a stream that never has a chunk) or `spread` (the items of a list, each an item of a multi slot).
    A `node` that begins with `/` is a path in the run: a producer outside this group.
    """

    node: NodeId
    slot: SlotKey
    convert: str = ""


@dataclass(frozen=True)
class PlannedInput:
    """Where one input slot gets its value: the feeds first, then `value`, if there is one (`has_value`).

    A single slot listens to its last feed only; a multi slot gathers all of them in this order.
    `value` is JSON, a `{"$blob": ...}` reference, or holds `{"$secret": id}`.
    """

    feeds: tuple[Feed, ...] = ()
    value: Any = None
    has_value: bool = False
    multi: bool = False
    required: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As plain JSON, default values left out."""
        wire: dict[str, Any] = {"feeds": [[f.node, f.slot, f.convert] for f in self.feeds]} if self.feeds else {}
        if self.has_value:
            wire["has_value"] = True
        if self.value is not None:
            wire["value"] = self.value
        if self.multi:
            wire["multi"] = True
        if self.required:
            wire["required"] = True
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> PlannedInput:
        feeds = tuple(Feed(NodeId(f[0]), SlotKey(f[1]), f[2]) for f in wire.get("feeds", ()))
        return cls(**{**wire, "feeds": feeds})


@dataclass(frozen=True)
class Missing:
    """Required slots that got no value at run time, each with the edge that brought none, if there is one."""

    slots: tuple[tuple[SlotKey, Feed | None], ...]

    def of(self, node: str) -> str:
        """What users read about it."""
        slots = ", ".join(repr(slot) + _from(feed) for slot, feed in self.slots)
        return f"node {node!r} got no value for required input {slots}; give it one, or connect it to what has one"


def _from(feed: Feed | None) -> str:
    return f" (output {feed.slot!r} of node {feed.node!r} gave none)" if feed else ""


Outputs = Mapping[NodeId, Mapping[str, Any]]


def values_of(
    slots: Mapping[SlotKey, PlannedInput], outputs: Outputs, *, required: bool = True
) -> dict[str, Any] | Missing:
    """The values of a node's slots when its sources have all ended. A slot that got nothing is absent.

    Args:
        required: False for a node that will not run: nothing is missing then.
    """
    values: dict[str, Any] = {}
    missing: list[tuple[SlotKey, Feed | None]] = []
    for key, planned in slots.items():
        value = _slot_value(planned, outputs)
        if value is STREAMED:
            continue
        if value is not UNDEFINED:
            values[key] = value
        elif planned.required and required:
            missing.append((key, planned.feeds[-1] if planned.feeds else None))
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
