"""Where streams really come from: a consumer behind bypassed nodes follows the producer in front of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from workflows.bypass_plan import Bypass
from workflows.plan import Feed, NodeId, PlannedInput, SlotKey
from workflows.slots import PlannedInputs

_OF_STREAMS = frozenset({"stream", "collect_text", "collect_chunks"})
_OF_ONE_CHUNK = {"stream": "one_chunk", "collect_text": "text", "collect_chunks": ""}


class StreamOrigins:
    """Follows streams back through bypassed nodes.

    Args:
        inputs: The planned inputs of every node.
        bypasses: What each bypassed node gives.
    """

    def __init__(self, inputs: Mapping[str, PlannedInputs], bypasses: Mapping[str, Bypass]) -> None:
        self._inputs = inputs
        self._bypasses = bypasses
        self._passing = {node: dict(_assigned(bypass, inputs[node])) for node, bypass in bypasses.items()}

    def rewired(self, planned: PlannedInput) -> PlannedInput:
        """The same input with each stream feed from a bypassed node led back to where it comes from."""
        return replace(planned, feeds=tuple(self._rewire(feed) for feed in planned.feeds))

    def origin(self, node: NodeId, slot: SlotKey) -> Feed | None:
        """The producer whose stream an output gives: `stream`, or `one_chunk` of a batch value; None for no stream."""
        while node in self._bypasses:
            taken = self._passing[node].get(slot)
            if taken is None:
                return None
            feed = self._inputs[node][taken].feeds[-1]
            if feed.convert == "one_chunk":
                return feed
            node, slot = feed.node, feed.slot
        return Feed(node, slot, "stream")

    def _rewire(self, feed: Feed) -> Feed:
        if feed.convert not in _OF_STREAMS or feed.node not in self._bypasses:
            return feed
        origin = self.origin(feed.node, feed.slot)
        if origin is None:
            # The bypassed node itself gives an empty value, which does for everything but a live stream.
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
