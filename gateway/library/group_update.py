"""A workflow after the interface of a group that it runs has changed: what does not fit any more goes, and is told.

Only slots that the group had before and that differ now count: whatever else is wrong with a draft stays. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from innkeeper.gateway.library.documents import JsonObject
from innkeeper.nodes.definition import Input, Output, conversion
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.resolve import REFERENCE, Catalogue, ResolvedNode, resolve_node, split_handle
from innkeeper.workflows.document.model import DocumentNode, InterfaceSlot, WorkflowDocument, parse_document
from innkeeper.workflows.document.slot_values import literal_complaint, value_complaint

Interface = WorkflowDocument
"""Of a workflow that groups run: a document with nothing but its interface."""
_NOTHING = WorkflowDocument(nodes=())
_NUMBERED = re.compile(r"(.+)__(0|[1-9][0-9]{0,8})")
_SCALARS = (str, bool, int, float)


@dataclass(frozen=True)
class InterfaceChange:
    """The interface of a group as a workflow knows it, and as it is."""

    before: Interface
    after: Interface


@dataclass(frozen=True)
class Loss:
    """What did not fit any more. `name`: the edge's id, or the slot whose value it was."""

    what: Literal["edge", "value", "output", "preview"]
    name: str
    node: str
    slot: str

    def told(self) -> str:
        """In words, without any value."""
        where = f"slot {self.slot!r} of node {self.node!r}"
        return f"the value of {where}" if self.what == "value" else f"{self.what} {self.name!r} at {where}"


@dataclass(frozen=True)
class Followed:
    """The document as it is now; the same object when nothing had to change."""

    document: JsonObject
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class _Instance:
    """A node that runs a group, with its slots before and after."""

    id: str
    before: ResolvedNode
    after: ResolvedNode

    def keeps_input(self, key: str) -> bool:
        """Does what fitted this input before fit it now? True for what is no slot of the group."""
        old, new = self.before.inputs.get(key), self.after.inputs.get(key)
        return old is None or (new is not None and conversion(_as_output(old), new) is not None)

    def keeps_output(self, key: str) -> bool:
        """Does what this output gives now fit where its values went before?"""
        old, new = self.before.outputs.get(key), self.after.outputs.get(key)
        return old is None or (new is not None and conversion(new, _as_input(old)) is not None)

    def keeps_value(self, key: str, value: Any) -> bool:
        old, new = self.before.inputs.get(key), self.after.inputs.get(key)
        if old is None or old == new:
            return True
        if new is None or literal_complaint(value, new) or (isinstance(value, list) and old.multi and not new.multi):
            return False
        return conversion(_as_output(old), new) is not None or not value_complaint(value, new)


def follow_groups(
    document: JsonObject,
    changes: Mapping[str, InterfaceChange],
    catalogue: Catalogue,
    interfaces: Mapping[str, Interface | None] | None = None,
) -> Followed:
    """The document without edges and values that have no place at its groups any more. Doing it again changes nothing.

    An edge or a value stays when its slot is there and takes the type that it had; or when it fits the new type by
    itself. Slots that take several edges instead of one, or the other way round, get the handles for that.

    Args:
        changes: By the id of the group's workflow.
        interfaces: Of every workflow that its nodes run: what an edge's other end may be of.
    """
    instances = _instances(document, changes, catalogue)
    if not instances:
        return Followed(document, ())
    ends = _OtherEnds(document, catalogue, interfaces or {})
    edges = _Edges(document, instances, ends)
    nodes, losses = _nodes(document, instances, edges.gone)
    nodes = _with_snapshots(nodes, instances, changes)
    outputs, lost_outputs = _outputs(document, instances)
    found = {**document, **_replaced(document, "nodes", nodes), **_replaced(document, "edges", edges.kept), **outputs}
    return Followed(document if found == document else found, (*edges.losses, *losses, *lost_outputs))


def _replaced(document: JsonObject, key: str, items: list[Any]) -> JsonObject:
    return {key: items} if isinstance(document.get(key), list) else {}


def _instances(
    document: JsonObject, changes: Mapping[str, InterfaceChange], catalogue: Catalogue
) -> dict[str, _Instance]:
    found: dict[str, _Instance] = {}
    for node in _objects(document.get("nodes")):
        name, kind, config = node.get("id"), node.get("fullType", node.get("type")), _scalars(node.get("configValues"))
        change = changes.get(str(config.get(REFERENCE, "")))
        definition = catalogue.get_node(kind) if isinstance(kind, str) and change is not None else None
        if not isinstance(name, str) or change is None or definition is None or not definition.runs_workflow:
            continue
        bare = DocumentNode(name, definition.full_type, config=config)
        before, after = (resolve_node(bare, definition, _NOTHING, runs=runs) for runs in (change.before, change.after))
        found.setdefault(name, _Instance(name, before, after))
    return found


# --- edges ------------------------------------------------------------------------------------------------------------


class _OtherEnds:
    """What is at the other end of an edge, as far as it is known: a draft need not be readable."""

    def __init__(self, document: JsonObject, catalogue: Catalogue, interfaces: Mapping[str, Interface | None]) -> None:
        self._raw = document
        self._catalogue = catalogue
        self._interfaces = interfaces

    @cached_property
    def _document(self) -> WorkflowDocument:
        try:
            return parse_document(self._raw)
        except InvalidWorkflow:
            return _NOTHING

    @cached_property
    def _nodes(self) -> Mapping[str, DocumentNode]:
        return {node.id: node for node in reversed(self._document.nodes)}

    def _node(self, name: str) -> ResolvedNode | None:
        node = self._nodes.get(name)
        definition = self._catalogue.get_node(node.type) if node is not None else None
        if node is None or definition is None:
            return None
        reference = node.config.get(REFERENCE)
        runs = self._interfaces.get(reference) if isinstance(reference, str) else None
        return resolve_node(node, definition, self._document, runs=runs, live=True)

    def output(self, node: str, handle: str) -> Output | None:
        found = self._node(node)
        return found.outputs.get(handle) if found is not None else None

    def input(self, node: str, handle: str) -> Input | None:
        found = self._node(node)
        return found.inputs.get(split_handle(handle, found.inputs)[0]) if found is not None else None


@dataclass(frozen=True)
class _Ends:
    """Where an edge leads from and to, in either spelling of an edge; "" for what is missing."""

    source: str
    source_handle: str
    target: str
    target_handle: str


class _Edges:
    """The edges of a document, sorted into those that stay and those that have no place any more.

    Attributes:
        gone: Ids of edges that went, by the node that they entered.
    """

    def __init__(self, document: JsonObject, instances: Mapping[str, _Instance], ends: _OtherEnds) -> None:
        self._instances = instances
        self._other = ends
        self.kept: list[Any] = []
        self.losses: list[Loss] = []
        self.gone: dict[str, set[str]] = {}
        self._loosened: set[tuple[str, str]] = set()  # slots with numbered handles that lost an edge
        self._orders = _orders(document)
        edges = document.get("edges")
        for edge in edges if isinstance(edges, list) else ():
            self._sort(edge)
        self._rename()

    def _sort(self, edge: Any) -> None:
        found = _ends(edge)
        lost = found is not None and (self._lost_target(found) or self._lost_source(found))
        if found is None or not lost:
            self.kept.append(edge)
        else:
            node, slot = lost
            self._drop(edge, found, Loss("edge", _name(edge), node, slot))

    def _drop(self, edge: Any, ends: _Ends, loss: Loss) -> None:
        self.losses.append(loss)
        if isinstance(edge.get("id"), str):
            self.gone.setdefault(ends.target, set()).add(edge["id"])
        numbered = _NUMBERED.fullmatch(ends.target_handle)
        if numbered is not None:
            self._loosened.add((ends.target, numbered[1]))

    def _lost_target(self, ends: _Ends) -> tuple[str, str] | None:
        instance = self._instances.get(ends.target)
        if instance is None:
            return None
        slot = split_handle(ends.target_handle, instance.before.inputs)[0]
        if instance.keeps_input(slot):
            return None
        new, other = instance.after.inputs.get(slot), self._other.output(ends.source, ends.source_handle)
        fits = new is not None and other is not None and conversion(other, new) is not None
        return None if fits else (ends.target, slot)

    def _lost_source(self, ends: _Ends) -> tuple[str, str] | None:
        instance = self._instances.get(ends.source)
        if instance is None or instance.keeps_output(ends.source_handle):
            return None
        new, other = (
            instance.after.outputs.get(ends.source_handle),
            self._other.input(ends.target, ends.target_handle),
        )
        fits = new is not None and other is not None and conversion(new, other) is not None
        return None if fits else (ends.source, ends.source_handle)

    def _rename(self) -> None:
        """Handles follow slots that take several edges by now, or one, or fewer than before."""
        into = self._edges_into()
        surplus: set[int] = set()
        for instance in self._instances.values():
            for key, new in instance.after.inputs.items():
                old = instance.before.inputs.get(key)
                if old is not None and old.multi != new.multi:
                    self._loosened.discard((instance.id, key))
                    places = into.get((instance.id, key), [])
                    if new.multi:
                        self._number(key, places)
                    else:
                        surplus.update(self._leave_one(instance.id, key, places))
        for node, key in self._loosened:
            self._number(key, into.get((node, key), []))
        self.kept = [edge for place, edge in enumerate(self.kept) if place not in surplus]

    def _edges_into(self) -> dict[tuple[str, str], list[int]]:
        """Where the edges into each slot stand, in the order of their handles."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for place, edge in enumerate(self.kept):
            ends = _ends(edge)
            numbered = _NUMBERED.fullmatch(ends.target_handle) if ends is not None else None
            if ends is not None and numbered is not None:
                found.setdefault((ends.target, numbered[1]), []).append((int(numbered[2]), place))
            elif ends is not None:
                found.setdefault((ends.target, ends.target_handle), []).append((0, place))
        return {slot: [place for _, place in sorted(places)] for slot, places in found.items()}

    def _number(self, key: str, places: list[int]) -> None:
        for number, place in enumerate(places):
            self._turn(place, f"{key}__{number}")

    def _leave_one(self, node: str, key: str, places: list[int]) -> list[int]:
        """Of several edges into a slot that takes one by now, the first of their order stays; gives the others."""
        order = {name: number for number, name in reversed([*enumerate(self._orders.get((node, key), []))])}
        ordered = sorted(places, key=lambda place: order.get(_name(self.kept[place]), len(order)))
        for place in ordered[:1]:
            self._turn(place, key)
        for place in ordered[1:]:
            self._drop(self.kept[place], _Ends("", "", node, key), Loss("edge", _name(self.kept[place]), node, key))
        return ordered[1:]

    def _turn(self, place: int, handle: str) -> None:
        if self.kept[place].get("targetHandle") != handle:
            self.kept[place] = {**self.kept[place], "targetHandle": handle}


def _ends(edge: Any) -> _Ends | None:
    if not isinstance(edge, dict):
        return None
    source, target = (edge.get(key + "NodeId", edge.get(key)) for key in ("source", "target"))
    handles = (edge.get(key) if isinstance(edge.get(key), str) else "" for key in ("sourceHandle", "targetHandle"))
    if not isinstance(source, str) or not isinstance(target, str):
        return None
    source_handle, target_handle = handles
    return _Ends(source, source_handle or "", target, target_handle or "")


def _name(edge: Any) -> str:
    found = edge.get("id")
    return found if isinstance(found, str) else ""


def _orders(document: JsonObject) -> dict[tuple[str, str], list[str]]:
    """By node and slot; of ids that are texts."""
    found: dict[tuple[str, str], list[str]] = {}
    for node in _objects(document.get("nodes")):
        orders = node.get("inputConnectionOrders")
        for key, order in orders.items() if isinstance(orders, dict) and isinstance(node.get("id"), str) else ():
            if isinstance(order, list):
                found.setdefault((node["id"], key), [name for name in order if isinstance(name, str)])
    return found


# --- nodes ------------------------------------------------------------------------------------------------------------


def _nodes(
    document: JsonObject, instances: Mapping[str, _Instance], gone: Mapping[str, set[str]]
) -> tuple[list[Any], list[Loss]]:
    losses: list[Loss] = []
    nodes = document.get("nodes")
    found = []
    seen: set[str] = set()
    for node in nodes if isinstance(nodes, list) else ():
        name = node.get("id") if isinstance(node, dict) else None
        # Of several nodes with one id the first counts.
        if isinstance(name, str) and name not in seen:
            seen.add(name)
            instance = instances.get(name)
            node = _with_values(node, instance, losses) if instance is not None else node
            node = _with_orders(node, instance, gone.get(name, set()))
        found.append(node)
    return found, losses


def _with_values(node: JsonObject, instance: _Instance, losses: list[Loss]) -> JsonObject:
    changed = node
    for field in ("inputValues", "inputs"):
        values = node.get(field)
        if not isinstance(values, dict):
            continue
        lost = {key: None for key, value in values.items() if not instance.keeps_value(key, value)}
        losses += [Loss("value", key, instance.id, key) for key in lost]
        if lost:
            changed = {**changed, field: {key: value for key, value in values.items() if key not in lost}}
    return changed


def _with_orders(node: JsonObject, instance: _Instance | None, gone: set[str]) -> JsonObject:
    """Without edges that are gone, and without slots that take one edge by now or are gone."""
    orders = node.get("inputConnectionOrders")
    if not isinstance(orders, dict):
        return node
    kept = {}
    for key, order in orders.items():
        old = instance.before.inputs.get(key) if instance is not None else None
        new = instance.after.inputs.get(key) if instance is not None else None
        if old is not None and (new is None or (old.multi and not new.multi)):
            continue
        rest = [item for item in order if not _is_in(item, gone)] if isinstance(order, list) else order
        if rest or rest == order:
            kept[key] = rest
    return node if kept == orders else {**node, "inputConnectionOrders": kept}


def _is_in(item: Any, names: set[str]) -> bool:
    return isinstance(item, str) and item in names


def _with_snapshots(
    nodes: list[Any], instances: Mapping[str, _Instance], changes: Mapping[str, InterfaceChange]
) -> list[Any]:
    """With the interface that editors keep in a node (`data.groupInterface`) as it is now."""
    return [_with_snapshot(node, changes) if _is_one_of(node, instances) else node for node in nodes]


def _is_one_of(node: Any, instances: Mapping[str, _Instance]) -> bool:
    return isinstance(node, dict) and isinstance(node.get("id"), str) and node["id"] in instances


def _with_snapshot(node: JsonObject, changes: Mapping[str, InterfaceChange]) -> JsonObject:
    data = node.get("data")
    change = changes.get(str(_scalars(node.get("configValues")).get(REFERENCE, "")))
    if not isinstance(data, dict) or not isinstance(data.get("groupInterface"), dict) or change is None:
        return node
    snapshot = {
        **data["groupInterface"],
        "inputs": _shown(change.after.interface_inputs),
        "outputs": _shown(change.after.interface_outputs),
    }
    return {**node, "data": {**data, "groupInterface": snapshot}}


def _shown(slots: Mapping[str, InterfaceSlot]) -> JsonObject:
    return {key: slot_to_json(slot) for key, slot in slots.items() if not slot.is_hollow}


def slot_to_json(slot: InterfaceSlot) -> JsonObject:
    """As a workflow document writes it."""
    found: JsonObject = {
        "key": slot.key,
        "dataFlowType": slot.data_flow_type,
        "displayName": slot.display_name,
        "required": slot.required or None,
        "multi": slot.multi or None,
        "isStream": slot.is_stream or None,
        "matchCategories": list(slot.match_categories) or None,
        "config": dict(slot.config) or None,
        "min": slot.min,
        "max": slot.max,
    }
    return {key: value for key, value in found.items() if value is not None}


# --- outputs ----------------------------------------------------------------------------------------------------------


def _outputs(document: JsonObject, instances: Mapping[str, _Instance]) -> tuple[JsonObject, list[Loss]]:
    """Outputs of the workflow, and the previewed slot, that name an output of a group which is gone."""
    found: JsonObject = {}
    losses: list[Loss] = []
    mappings = document.get("outputInterfaceMappings")
    if isinstance(mappings, dict):
        lost = {key: place for key, item in mappings.items() if (place := _lost(item, "sourceNodeId", instances))}
        losses += [Loss("output", key, *place) for key, place in lost.items()]
        found["outputInterfaceMappings"] = {key: item for key, item in mappings.items() if key not in lost}
    previewed = _lost(document.get("previewTarget"), "nodeId", instances)
    if previewed is not None:
        losses.append(Loss("preview", "previewTarget", *previewed))
        found["previewTarget"] = None
    return found, losses


def _lost(place: Any, node_key: str, instances: Mapping[str, _Instance]) -> tuple[str, str] | None:
    if not isinstance(place, dict):
        return None
    node, slot = place.get(node_key), place.get("sourceSlotKey", place.get("slotKey"))
    instance = instances.get(node) if isinstance(node, str) else None
    if instance is None or not isinstance(slot, str):
        return None
    is_gone = slot in instance.before.outputs and slot not in instance.after.outputs
    return (instance.id, slot) if is_gone else None


# --- the rest ---------------------------------------------------------------------------------------------------------


def _as_output(slot: Input) -> Output:
    return Output(slot.data_flow_type, is_stream=slot.is_stream, match_categories=slot.match_categories)


def _as_input(slot: Output) -> Input:
    return Input(slot.data_flow_type, is_stream=slot.is_stream, match_categories=slot.match_categories)


def _objects(items: Any) -> Iterable[JsonObject]:
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()


def _scalars(config: Any) -> JsonObject:
    """The settings that may name something; a draft has any value there."""
    if not isinstance(config, dict):
        return {}
    return {key: value for key, value in config.items() if isinstance(value, _SCALARS)}
