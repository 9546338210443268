"""Where secrets flow: which inputs and outputs of a plan may carry a value only as a reference."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from innkeeper.nodes.definition import Input
from innkeeper.workflows.compiler.bypass_plan import Bypass
from innkeeper.workflows.compiler.literals import WHOLE
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.document.model import InterfaceMapping
from innkeeper.workflows.plan import SlotKey

Place = tuple[str, str]
"""Node id and slot key."""
Keys = tuple[str, ...]
_CARRIED = frozenset({"value", "values", "data"})
"""Inputs of control nodes that come out again as they are."""
PARTS = {"each": "items", "loop": "state"}
"""How a node repeats a workflow, to its slot whose parts become inputs of that workflow."""


class SecretFlow:
    """The secret keys of each input and output (`""`: the whole value), gathered from consumers to sources.

    A bypassed node hands on what it is asked for: its inputs become as secret as the outputs they may serve.
    """

    def __init__(self) -> None:
        self._inputs: dict[Place, Keys] = {}
        self._outputs: dict[str, dict[str, Keys]] = {}

    def of_input(self, node: str, slot: str) -> Keys:
        return self._inputs.get((node, slot), ())

    def of_outputs(self, node: str) -> Mapping[str, Keys]:
        return self._outputs.get(node, {})

    def ask(self, node: str, slot: str, keys: Keys) -> bool:
        """Somebody takes this output for a secret. Is that new?"""
        if not keys:
            return False
        asked = self._outputs.setdefault(node, {})
        before = asked.get(slot, ())
        asked[slot] = tuple(dict.fromkeys((*before, *keys)))
        return asked[slot] != before

    def need(self, node: str, slot: str, keys: Keys) -> None:
        """This input takes secrets."""
        if keys:
            self._inputs[node, slot] = tuple(dict.fromkeys(keys))


def secret_flow(
    order: Sequence[str],
    nodes: Mapping[str, ResolvedNode],
    *,
    inputs: Mapping[str, PlannedInputs],
    bypasses: Mapping[str, Bypass],
    asked: Mapping[Place, Keys],
    below: Callable[[ResolvedNode, Mapping[str, Keys]], Mapping[str, Keys]],
) -> SecretFlow:
    """Walk from the last node to the first, so that every consumer is visited before its sources.

    Nodes of a cycle, which a draft may have, are visited again when more is asked of them.

    Args:
        asked: What is asked of this graph from outside, by output slot of a node.
        below: Of a node that runs a workflow: from what is asked of its outputs to the secret keys of its inputs.
    """
    flow = SecretFlow()
    for (node_id, key), keys in asked.items():
        flow.ask(node_id, key, keys)
    waiting = deque(reversed(order))
    is_waiting = set(waiting)
    while waiting:
        node_id = waiting.popleft()
        is_waiting.discard(node_id)
        node = nodes[node_id]
        inner = below(node, flow.of_outputs(node_id))
        for key, output in node.outputs.items():
            flow.ask(node_id, key, output.secret_keys)
        for slot, planned in inputs[node_id].items():
            handed = _handed_on(flow, node_id, slot, bypasses.get(node_id, {})) + _carried(flow, node, slot)
            keys = secret_keys(node.inputs.get(slot)) + tuple(inner.get(slot, ())) + handed
            flow.need(node_id, slot, keys)
            for feed in planned.feeds:
                if flow.ask(feed.node, feed.slot, keys) and feed.node not in is_waiting:
                    is_waiting.add(feed.node)
                    waiting.append(feed.node)
    return flow


def asked_places(mappings: Mapping[str, InterfaceMapping], asked: Mapping[str, Keys]) -> dict[Place, Keys]:
    """What is asked of a graph's interface outputs, by the output slots that give them."""
    places: dict[Place, Keys] = {}
    for key, keys in asked.items():
        if key in mappings:
            place = mappings[key].node, mappings[key].slot
            places[place] = (*places.get(place, ()), *keys)
    return places


def secret_inputs(nodes: Iterable[ResolvedNode], flow: SecretFlow) -> dict[str, Keys]:
    """Interface input of a graph to its secret keys."""
    keys: dict[str, Keys] = {}
    for node in nodes:
        if node.definition.interface_values:
            for slot, asked in flow.of_outputs(node.id).items():
                keys[slot] = keys.get(slot, ()) + asked
    return keys


def secret_parts(node: ResolvedNode, inner: Mapping[str, Keys]) -> Mapping[str, Keys]:
    """Of a node that repeats a workflow: input of that workflow to its secret keys, where a part of a list or an
    object goes in.

    Args:
        inner: The secret keys of all inputs of that workflow.
    """
    repeats = node.definition.runs_workflow
    if repeats == "loop":
        return {key: keys for key, keys in inner.items() if keys}
    item = str(node.config.get("itemKey") or "item")
    return {item: keys} if repeats == "each" and (keys := inner.get(item, ())) else {}


def secret_keys(slot: Input | None) -> Keys:
    if slot is None:
        return ()
    return (WHOLE,) if slot.secret else slot.secret_keys


def _handed_on(flow: SecretFlow, node_id: str, slot: SlotKey, bypass: Bypass) -> Keys:
    asked = flow.of_outputs(node_id) if bypass else {}
    served = (output for output, source in bypass.items() if slot in source.inputs)
    return tuple(key for output in served for key in asked.get(output, ()))


def _carried(flow: SecretFlow, node: ResolvedNode, slot: SlotKey) -> Keys:
    """Nodes that decide or wait give on what they got: no activity sees it in between, so it comes in sealed."""
    definition = node.definition
    if slot not in _CARRIED or definition.placement != "workflow" or definition.runs_workflow or node.node.bypassed:
        return ()
    return tuple(key for keys in flow.of_outputs(node.id).values() for key in keys)
