"""What the inputs of a node were: its plan, and what the nodes before it gave. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from innkeeper.gateway.runs.view import JsonObject, is_stream_value
from innkeeper.nodes.call import is_blob, secret_reference
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.feeds import Feed, NodeId, PlannedInput, convert
from innkeeper.workflows.plan import PlannedNode, RunPlan

HIDDEN = "***"
NO_DEFINITION: tuple[bool, tuple[str, ...]] = (False, ())
_ENDED = frozenset({"complete", "error", "skipped", "interrupted"})


@dataclass(frozen=True)
class PlacedNode:
    """A node of a run, with the graph that it belongs to.

    Attributes:
        parent: Path of the group, or of the item of a repetition, around it; `""` for the run's own graph.
    """

    plan: RunPlan
    node: PlannedNode
    parent: str

    def path_of(self, node: str) -> str:
        """The path of another node of the same graph."""
        return f"{self.parent}/{node}" if self.parent else node


def placed_node(plan: RunPlan, path: str, is_repeated: Callable[[str], bool]) -> PlacedNode | None:
    """The node at a path; None when the plan has none there."""
    left, parent = path.split("/"), ""
    while True:
        node = plan.by_id.get(NodeId(left[0]))
        if node is None or len(left) == 1:
            return None if node is None else PlacedNode(plan, node, parent)
        if not node.group:
            return None
        steps = 2 if is_repeated(node.type) and left[1].isdecimal() else 1
        parent = "/".join([*([parent] if parent else []), *left[:steps]])
        plan, left = RunPlan.decode(plan.group_bytes(node.group)), left[steps:]
        if not left:
            return None


@dataclass(frozen=True)
class InputReader:
    """Tells inputs of the nodes of one run.

    Attributes:
        states: Node path to state, as clients see it (`nodeStatus`).
        definition: The node type, for what it declares as secret.
    """

    run: str
    states: Mapping[str, JsonObject]
    definition: Callable[[str], NodeDefinition | None]

    def inputs(self, placed: PlacedNode, typed: Collection[str] | None) -> dict[str, JsonObject]:
        """Slot to what it got.

        Args:
            typed: Slots for which the document has a value; None: it is not kept.
        """
        if placed.node.interface_values:
            return self._interface_inputs(placed)
        return {str(slot): self._input(placed, str(slot), planned, typed) for slot, planned in self._slots(placed)}

    def _slots(self, placed: PlacedNode) -> list[tuple[str, PlannedInput]]:
        planned = {str(slot): found for slot, found in placed.node.inputs.items()}
        definition = self.definition(placed.node.type)
        known = () if definition is None or placed.node.mode is not None else definition.inputs
        return [*planned.items(), *((slot, PlannedInput()) for slot in known if slot not in planned)]

    def _input(self, placed: PlacedNode, slot: str, planned: PlannedInput, typed: Collection[str] | None) -> JsonObject:
        if planned.feeds:
            found = self._of_edges(placed, planned)
            if found is not None:
                return self._shown(placed, slot, found)
        if planned.has_value:
            is_default = typed is not None and slot not in typed
            told = {"from": "default" if is_default else "value", "value": self._linked(placed, slot, planned.value)}
            return self._shown(placed, slot, told)
        return {"from": "none", **({"missing": True} if planned.required else {})}

    def _of_edges(self, placed: PlacedNode, planned: PlannedInput) -> JsonObject | None:
        """None: nothing came, and the node ran with the slot's own value."""
        feeds = planned.feeds if planned.multi else planned.feeds[-1:]
        sources = [{"nodeId": _source(placed, feed), "slot": str(feed.slot)} for feed in feeds]
        values = [self._brought(placed, feed) for feed in feeds]
        told: JsonObject = {"from": "edge", "source": sources[-1]}
        if planned.multi:
            gathered = [item for feed, found in zip(feeds, values, strict=True) for item in _items(feed, found)]
            return {**told, "sources": sources, **({"value": gathered} if any(values) else {})}
        if values[0]:
            return {**told, "value": values[0][0]}
        if planned.has_value and self._status(placed.path_of(placed.node.id)) not in (None, "skipped"):
            return None
        is_missing = planned.required and self._status(sources[0]["nodeId"]) in _ENDED
        return {**told, **({"missing": True} if is_missing else {})}

    def _status(self, path: str) -> Any:
        return self.states.get(path, {}).get("status")

    def _brought(self, placed: PlacedNode, feed: Feed) -> tuple[Any, ...]:
        """What an edge brought: one value, or nothing (yet)."""
        output = self.states.get(_source(placed, feed), {}).get("output") or {}
        if feed.slot not in output:
            return ()
        value = output[feed.slot]
        # Lists of chunks are not kept with results: the stream is shown as it is.
        return (value if feed.convert == "collect_chunks" and is_stream_value(value) else convert(value, feed.convert),)

    def _interface_inputs(self, placed: PlacedNode) -> dict[str, JsonObject]:
        """The inputs of the graph itself, at the node that gives them to the others."""
        given = self.states.get(placed.path_of(placed.node.id), {}).get("output") or {}
        keys = dict.fromkeys((*placed.plan.interface_keys, *placed.plan.interface_inputs, *given))
        return {key: self._interface_input(placed, key, given) for key in keys}

    def _interface_input(self, placed: PlacedNode, key: str, given: JsonObject) -> JsonObject:
        outside: JsonObject = {"from": "value"}
        if placed.parent:
            outside = {"from": "edge", "source": {"nodeId": placed.parent, "slot": key}}
        for values in (given, placed.plan.interface_inputs):
            if key in values:
                return self._shown(placed, key, {**outside, "value": self._linked(placed, key, values[key])})
        return {"from": "none"}

    def _linked(self, placed: PlacedNode, slot: str, value: Any) -> Any:
        """Values that are stored apart, with an address. Those of outputs have theirs."""
        if is_blob(value) and "url" not in value:
            path = quote(placed.path_of(placed.node.id))
            run = quote(self.run, safe="")
            return {**value, "url": f"/api/prompt/{run}/input-values/{path}?slot={quote(slot, safe='')}"}
        return value

    def _shown(self, placed: PlacedNode, slot: str, told: JsonObject) -> JsonObject:
        """Without secrets."""
        if "value" not in told:
            return told
        value, is_secret = without_secrets(told["value"], *self._secrets_of(placed, slot))
        if not is_secret:
            return {**told, "value": value}
        rest = {key: item for key, item in told.items() if key != "value"}
        return {**rest, "secret": True, **({"value": value} if value != HIDDEN else {})}

    def _secrets_of(self, placed: PlacedNode, slot: str) -> tuple[bool, tuple[str, ...]]:
        definition = self.definition(placed.node.type)
        if definition is None:
            return NO_DEFINITION
        slots = [definition.inputs.get(slot), *(mode.inputs.get(slot) for mode in definition.modes.values())]
        known = [found for found in slots if found is not None]
        return any(found.secret for found in known), tuple(key for found in known for key in found.secret_keys)


def without_secrets(value: Any, is_whole: bool = False, keys: Collection[str] = ()) -> tuple[Any, bool]:
    """A value with `***` for every secret, and whether there was one.

    Args:
        is_whole: All of it is one.
        keys: Inner keys of an object, or of the objects of a list, that are.
    """
    if is_whole or secret_reference(value) is not None:
        return HIDDEN, True
    if isinstance(value, list):
        found = [without_secrets(item, keys=keys) for item in value]
        return [item for item, _ in found], any(is_secret for _, is_secret in found)
    if isinstance(value, Mapping):
        inner = {key: without_secrets(item, key in keys) for key, item in value.items()}
        return {key: item for key, (item, _) in inner.items()}, any(is_secret for _, is_secret in inner.values())
    return value, False


def _source(placed: PlacedNode, feed: Feed) -> str:
    return feed.node[1:] if feed.node.startswith("/") else placed.path_of(feed.node)


def _items(feed: Feed, found: tuple[Any, ...]) -> list[Any]:
    if feed.convert == "spread" and found and isinstance(found[0], list):
        return list(found[0])
    return [found[0] if found else None]
