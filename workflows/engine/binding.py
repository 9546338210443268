"""A group's plan, once for all its instances, joined to the streams that one instance gets from outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from innkeeper.workflows.plan import Feed, InterfaceOutput, NodeId, PlannedInput, PlannedNode, RunPlan, SlotKey

Streams = Mapping[str, list[str | None]]
_OF_STREAM = frozenset({"stream", "collect_text", "collect_chunks"})
_COLLECTS = _OF_STREAM - {"stream"}
_OF_VALUE = {"stream": "one_chunk", "collect_text": "text", "collect_chunks": ""}


def bound(plan: RunPlan, streams: Streams, given: Collection[str] = ()) -> RunPlan:
    """The plan with every feed from a stream input of the group led to where that stream comes from.

    What wants a stream collected gets it from core:GroupInput, which then reads it to its end.

    Args:
        streams: Interface key to sources: a producer's path in the run, `""` (no chunks) or None (a whole value).
        given: Interface inputs that have a whole value.
    """
    gates = {link.id for link in plan.links if link.is_gate}
    binding = _Binding(gates, streams, frozenset(given))
    if not binding.concerns(plan):
        return plan
    nodes = tuple(binding.node(node) for node in plan.nodes)
    outputs = {key: binding.output(output) for key, output in plan.interface_outputs.items()}
    collected = binding.collected(nodes, outputs.values())
    return replace(
        plan,
        nodes=tuple(_collecting(node, collected.get(node.id, set()), streams) for node in nodes),
        interface_outputs=outputs,
    )


@dataclass(frozen=True)
class _Binding:
    gates: AbstractSet[NodeId]
    streams: Streams
    given: Collection[str]

    def concerns(self, plan: RunPlan) -> bool:
        outputs = plan.interface_outputs.values()
        behind = (link.id for link in plan.links if not self.gates.isdisjoint((*link.after, *link.beside)))
        return any(self._reads(plan.by_id[node]) for node in behind) or any(map(self._gives, outputs))

    def _reads(self, node: PlannedNode) -> bool:
        return any(feed.node in self.gates and feed.convert in _OF_STREAM for feed in _feeds(node))

    def _gives(self, output: InterfaceOutput) -> bool:
        return output.node in self.gates and output.convert in _COLLECTS

    def node(self, node: PlannedNode) -> PlannedNode:
        if not self._reads(node):
            return node
        inputs = {key: self._slot(slot) for key, slot in node.inputs.items()}
        # What was to begin beside core:GroupInput and now takes a value from it waits for its end.
        late = {feed.node for slot in inputs.values() for feed in slot.feeds if feed.node in self.gates}
        return replace(
            node,
            inputs=inputs,
            after=tuple(dict.fromkeys((*node.after, *sorted(late)))),
            beside=tuple(source for source in node.beside if source not in late),
        )

    def _slot(self, slot: PlannedInput) -> PlannedInput:
        feeds: list[Feed] = []
        for feed in slot.feeds:
            is_ours = feed.node in self.gates and feed.convert in _OF_STREAM
            feeds += self._feed(feed, slot) if is_ours else [feed]
        return replace(slot, feeds=tuple(feeds))

    def _feed(self, feed: Feed, slot: PlannedInput) -> list[Feed]:
        if self._is_value(feed.slot):
            is_empty = feed.slot not in self.given and slot.required and not slot.has_value
            # A stream that nobody gives, where there must be one, has no chunks.
            convert = "no_stream" if feed.convert == "stream" and is_empty else _OF_VALUE[feed.convert]
            return [replace(feed, convert=convert)]
        return [feed] if feed.convert in _COLLECTS else _outside(feed, self.streams[feed.slot])

    def output(self, output: InterfaceOutput) -> InterfaceOutput:
        """A whole value that goes straight through needs no collecting."""
        is_plain = not self._gives(output) or not self._is_value(output.slot)
        return output if is_plain else replace(output, convert=_OF_VALUE[output.convert])

    def _is_value(self, key: str) -> bool:
        return all(source is None for source in self.streams.get(key, [None]))

    def collected(
        self, nodes: Collection[PlannedNode], outputs: Collection[InterfaceOutput]
    ) -> Mapping[NodeId, set[SlotKey]]:
        """The streams that somebody wants whole, by the core:GroupInput that is asked for them."""
        wanted = [feed for node in nodes for feed in _feeds(node)]
        wanted += [Feed(output.node, output.slot, output.convert) for output in outputs]
        found: dict[NodeId, set[SlotKey]] = {}
        for feed in wanted:
            if feed.node in self.gates and feed.convert in _COLLECTS and not self._is_value(feed.slot):
                found.setdefault(feed.node, set()).add(feed.slot)
        return found


def _feeds(node: PlannedNode) -> list[Feed]:
    return [feed for slot in node.inputs.values() for feed in slot.feeds]


def _outside(feed: Feed, sources: list[str | None]) -> list[Feed]:
    return [
        replace(feed, convert="one_chunk")
        if source is None
        else Feed(NodeId(f"/{source}"), feed.slot, "stream" if source else "no_stream")
        for source in sources
    ]


def _collecting(node: PlannedNode, keys: set[SlotKey], streams: Streams) -> PlannedNode:
    """core:GroupInput as a node of its own that follows the streams which somebody inside wants whole."""
    if not keys:
        return node
    inputs = {
        key: PlannedInput(tuple(_outside(Feed(node.id, key, "stream"), streams[key])), multi=len(streams[key]) > 1)
        for key in sorted(keys)
    }
    # It gives no stream itself: nobody may wait for chunks of it.
    outputs = {key: replace(slot, stream=False) for key, slot in node.outputs.items()}
    return replace(node, inputs=inputs, outputs=outputs, placement="activity")
