"""Where streams really come from: a consumer behind bypassed nodes follows the producer in front of them, and one
behind a group the producer inside, or in front, of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from innkeeper.workflows.compiler.bypass_plan import Bypass
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.plan import Feed, NodeId, PlannedInput, SlotKey

_OF_STREAMS = frozenset({"stream", "collect_text", "collect_chunks"})
_OF_ONE_CHUNK = {"stream": "one_chunk", "collect_text": "text", "collect_chunks": ""}


@dataclass(frozen=True)
class Origin:
    """Where an output of a group gets its stream: from a producer inside (`name` is its path), from an input of the
    group (`name` is its key), from a whole value, or from nowhere."""

    kind: Literal["node", "input", "value", "none"]
    name: str = ""


class StreamOrigins:
    """Follows streams back through bypassed nodes and groups.

    Args:
        inputs: The planned inputs of every node.
        bypasses: What each bypassed node gives.
        groups: Of each group node: output slot to where its stream comes from.
    """

    def __init__(
        self,
        inputs: Mapping[str, PlannedInputs],
        bypasses: Mapping[str, Bypass],
        groups: Mapping[str, Callable[[str], Origin]],
    ) -> None:
        self._inputs = inputs
        self._bypasses = bypasses
        self._groups = groups
        self._passing = {node: dict(_assigned(bypass, inputs[node])) for node, bypass in bypasses.items()}

    def rewired(self, planned: PlannedInput) -> PlannedInput:
        """The same input with each stream feed from a bypassed node led back to where it comes from."""
        return replace(planned, feeds=tuple(self._rewire(feed) for feed in planned.feeds))

    def origin(self, node: NodeId, slot: SlotKey) -> Feed | None:
        """The producer whose stream an output gives: `stream`, or `one_chunk` of a batch value; None for no stream."""
        while node in self._bypasses or node in self._groups:
            taken, found = self._behind(node, slot)
            if taken is None:
                return found
            feeds = self._inputs[node][taken].feeds if taken in self._inputs[node] else ()
            if not feeds:
                return Feed(node, slot, "one_chunk")
            if feeds[-1].convert == "one_chunk":
                return Feed(node, slot, "one_chunk") if node in self._groups else feeds[-1]
            node, slot = feeds[-1].node, feeds[-1].slot
        return Feed(node, slot, "stream")

    def _behind(self, node: NodeId, slot: SlotKey) -> tuple[SlotKey | None, Feed | None]:
        """The input whose stream passes through to an output; without one, what the output gives instead."""
        if node in self._bypasses:
            return self._passing[node].get(slot), None
        origin = self._groups[node](slot)
        if origin.kind == "input":
            return SlotKey(origin.name), None
        convert = {"node": "stream", "value": "one_chunk"}.get(origin.kind)
        return None, Feed(node, slot, convert) if convert else None

    def _rewire(self, feed: Feed) -> Feed:
        if feed.convert not in _OF_STREAMS or (feed.node not in self._bypasses and feed.node not in self._groups):
            return feed
        origin = self.origin(feed.node, feed.slot)
        if origin is None:
            # The node itself gives an empty value, which does for everything but a live stream.
            return replace(feed, convert="no_stream") if feed.convert == "stream" else feed
        convert = feed.convert if origin.convert == "stream" else _OF_ONE_CHUNK[feed.convert]
        return replace(origin, convert=convert)


def _assigned(bypass: Bypass, inputs: PlannedInputs) -> Iterator[tuple[SlotKey, SlotKey]]:
    """Which connected input passes through to which output; as `plan.bypass_outputs` will choose at run time."""
    used: set[SlotKey] = set()
    for output, source in bypass.items():
        present = (key for key in source.inputs if key in inputs and (source.shared or key not in used))
        chosen = next(present, None)
        if chosen is not None:
            used.add(chosen)
            if inputs[chosen].feeds:
                yield output, chosen
