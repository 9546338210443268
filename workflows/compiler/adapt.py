"""Workflows that were drawn with hollow slots: each takes its type and its name from the slot it was connected to.

core:GroupInput and core:GroupOutput show one hollow slot (`output_0`, `input_0`, or one of type CONVERTIBLE_ANY in the
interface). An edge on it becomes a slot of the workflow's interface; the hollow one stays, free for the next edge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from innkeeper.nodes.definition import Input, Output
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.groups import MAX_DEPTH, LoadWorkflow
from innkeeper.workflows.compiler.resolve import Catalogue, ResolvedNode, Wire, default_of, resolve_node, wire
from innkeeper.workflows.document.model import Edge, InterfaceMapping, InterfaceSlot, WorkflowDocument
from innkeeper.workflows.plan import UNDEFINED

HOLLOW_TYPE = "CONVERTIBLE_ANY"
_HOLLOW = re.compile(r"(?:in|out)put_(?:0|[1-9][0-9]*)")
_SUB_HANDLE_END = re.compile(r"_+([0-9]+)$")
_SLOT_CONFIG = frozenset({"min", "max", "default", "hidden", "display_only", "showReceivedValue"})
"""Settings of an input that its interface slot has elsewhere, or that are about one box on the screen only."""


def adapt_slots(
    document: WorkflowDocument, catalogue: Catalogue, load_workflow: LoadWorkflow | None = None
) -> tuple[WorkflowDocument, list[Problem]]:
    """The document with an interface slot for every edge on a hollow slot, and warnings for edges without a type.

    An edge on a hollow slot gets a slot of its own, also when several leave the same one: that is how an editor draws
    them, one after the other. A handle that the interface lacks but that is a name (`who`) keeps it, and all its edges
    share one slot. Adapting again changes nothing.

    Args:
        load_workflow: Finds the workflows that groups refer to.
    """
    load = load_workflow or (lambda workflow_id: None)
    while _has_open_edges(document, catalogue):
        inner, inner_problems = _adapted(document, catalogue, load, _Inputs)
        outer, outer_problems = _adapted(inner, catalogue, load, _Outputs)
        if outer == document:
            return outer, inner_problems + outer_problems
        # A slot that has just got its type may give it to the other end of another edge.
        document = outer
    return document, []


def _has_open_edges(document: WorkflowDocument, catalogue: Catalogue) -> bool:
    """Most workflows have none: resolving thousands of nodes for nothing would cost every run."""
    types = {node.id: catalogue.get_node(node.type) for node in document.nodes}
    gates = {node_id for node_id, found in types.items() if found is not None and found.interface_values}
    sinks = {node_id for node_id, found in types.items() if found is not None and found.interface_sink}
    return any(
        (edge.source in gates and not _has(document.interface_inputs, edge.source_handle))
        or (edge.target in sinks and not _has_output(document, edge.target_handle))
        for edge in document.edges
    )


def _has(slots: Mapping[str, InterfaceSlot], handle: str) -> bool:
    return handle in slots and not slots[handle].is_hollow


def _has_output(document: WorkflowDocument, handle: str) -> bool:
    """An execution payload may name its outputs in the mappings alone."""
    slots = document.interface_outputs
    return _has(slots, handle) or (handle not in slots and handle in document.output_interface_mappings)


def _adapted(
    document: WorkflowDocument, catalogue: Catalogue, load: LoadWorkflow, side: type[_Inputs] | type[_Outputs]
) -> tuple[WorkflowDocument, list[Problem]]:
    nodes = _resolved(document, catalogue, load)
    work = side(document)
    joined = (wire(edge, nodes) for edge in document.edges)
    wires = {item.edge.id: item for item in joined if item is not None and work.concerns(item)}
    typed = {name: work.adapt(item) for name, item in wires.items() if work.has_type(item)}
    # Edges without a type may share a slot that another edge has given one.
    rest = {name: work.follow(item) for name, item in wires.items() if name not in typed}
    found = {**typed, **rest}
    return work.result(tuple(found.get(edge.id, edge) for edge in document.edges)), work.problems


def _resolved(document: WorkflowDocument, catalogue: Catalogue, load: LoadWorkflow) -> dict[str, ResolvedNode]:
    found: dict[str, ResolvedNode] = {}
    for node in document.nodes:
        definition = catalogue.get_node(node.type)
        if definition is None:
            continue
        reference = node.config.get("referencedWorkflowId") if definition.runs_workflow else None
        runs = _loaded(load, reference) if isinstance(reference, str) and reference else None
        found.setdefault(node.id, resolve_node(node, definition, document, runs=runs, live=True))
    return found


def _loaded(load: LoadWorkflow, workflow_id: str) -> WorkflowDocument | None:
    """None also for a workflow that cannot be read: its compilation reports that."""
    try:
        return load(workflow_id)
    except InvalidWorkflow:
        return None


class _Side:
    """One side of the interface, as it grows."""

    def __init__(self, document: WorkflowDocument) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._slots = dict(self._declared())
        self._mappings = dict(document.output_interface_mappings)
        self._named: dict[str, str] = {}

    def concerns(self, item: Wire) -> bool:
        """Is this an edge on a slot of this side that the interface does not have?"""
        raise NotImplementedError

    def has_type(self, item: Wire) -> bool:
        other = self._other(item)
        return other is not None and other.data_flow_type != HOLLOW_TYPE

    def follow(self, item: Wire) -> Edge:
        """An edge whose other end has no type."""
        handle = self._handle(item.edge)
        if handle in self._named:
            return self._renamed(item.edge, self._named[handle])
        # An end that does not exist is reported by the compilation, two hollow ends by the outputs' side.
        if self._other(item) is not None and self._has_type(item):
            self.problems.append(_hollow(item, self._node(item), handle))
        return item.edge

    def _key(self, handle: str, other: str) -> str:
        """The key of the slot that an edge on `handle` becomes; `other` is the key at its other end."""
        if handle in self._named:
            return self._named[handle]
        if _HOLLOW.fullmatch(handle) or handle in self._slots:
            return self._free(other)
        self._named[handle] = self._free(handle)
        return self._named[handle]

    def _free(self, wanted: str) -> str:
        base = _SUB_HANDLE_END.sub(r"_\1", wanted.lstrip("$")) or "value"
        key, number = base, 1
        while self._is_taken(key) or _HOLLOW.fullmatch(key):
            number += 1
            key = f"{base.rstrip('_') or 'value'}_{number}"
        return key

    def _is_taken(self, key: str) -> bool:
        return key in self._slots

    def _has_type(self, item: Wire) -> bool:
        return True

    def _declared(self) -> Mapping[str, InterfaceSlot]:
        raise NotImplementedError

    def _handle(self, edge: Edge) -> str:
        raise NotImplementedError

    def _renamed(self, edge: Edge, key: str) -> Edge:
        raise NotImplementedError

    def _node(self, item: Wire) -> ResolvedNode:
        raise NotImplementedError

    def _other(self, item: Wire) -> Input | Output | None:
        raise NotImplementedError


class _Inputs(_Side):
    def concerns(self, item: Wire) -> bool:
        handle = item.edge.source_handle
        is_gate = item.source.definition.interface_values
        return is_gate and bool(handle) and not _has(self._document.interface_inputs, handle)

    def adapt(self, item: Wire) -> Edge:
        key = self._key(item.edge.source_handle, item.slot)
        other = self._other(item)
        if key not in self._slots and other is not None:
            self._slots[key] = _input_like(key, other, item.target)
        return self._renamed(item.edge, key)

    def result(self, edges: tuple[Edge, ...]) -> WorkflowDocument:
        return replace(self._document, edges=edges, interface_inputs=self._slots)

    def _has_type(self, item: Wire) -> bool:
        return not item.target.definition.interface_sink

    def _declared(self) -> Mapping[str, InterfaceSlot]:
        return self._document.interface_inputs

    def _handle(self, edge: Edge) -> str:
        return edge.source_handle

    def _renamed(self, edge: Edge, key: str) -> Edge:
        return replace(edge, source_handle=key)

    def _node(self, item: Wire) -> ResolvedNode:
        return item.source

    def _other(self, item: Wire) -> Input | None:
        return Input("WILDCARD") if item.input is None and item.target.takes_any_slot else item.input


class _Outputs(_Side):
    def concerns(self, item: Wire) -> bool:
        handle = item.edge.target_handle
        return item.target.definition.interface_sink and bool(handle) and not _has_output(self._document, handle)

    def adapt(self, item: Wire) -> Edge:
        slot, other = item.edge.source_handle, self._other(item)
        key = self._key(item.edge.target_handle, slot)
        self._mappings.pop(item.edge.target_handle, None)
        self._mappings[key] = InterfaceMapping(item.source.id, slot)
        if other is not None:
            self._slots[key] = _output_like(key, other)
        return self._renamed(item.edge, key)

    def result(self, edges: tuple[Edge, ...]) -> WorkflowDocument:
        return replace(
            self._document, edges=edges, interface_outputs=self._slots, output_interface_mappings=self._mappings
        )

    def _is_taken(self, key: str) -> bool:
        return key in self._slots or key in self._mappings

    def _declared(self) -> Mapping[str, InterfaceSlot]:
        return self._document.interface_outputs

    def _handle(self, edge: Edge) -> str:
        return edge.target_handle

    def _renamed(self, edge: Edge, key: str) -> Edge:
        return replace(edge, target_handle=key)

    def _node(self, item: Wire) -> ResolvedNode:
        return item.target

    def _other(self, item: Wire) -> Output | None:
        if not item.edge.source_handle:
            return None
        return Output("WILDCARD") if item.output is None and item.source.takes_any_slot else item.output


def _hollow(item: Wire, node: ResolvedNode, handle: str) -> Problem:
    found = f"edge {item.edge.id!r}: the empty slot {handle!r} of node {node.id!r}"
    message = f"{found} is connected to a slot without a type of its own; connect it to one that has a type"
    return Problem("hollow_slot", message, level="warning", node=node.id, slot=handle, edge=item.edge.id)


def _input_like(key: str, slot: Input, node: ResolvedNode) -> InterfaceSlot:
    """A multi slot takes this edge among others: its default is a whole list and no default of one item."""
    config: dict[str, Any] = {name: value for name, value in slot.config.items() if name not in _SLOT_CONFIG}
    default = UNDEFINED if slot.multi or slot.secret else default_of(slot, node.definition.full_type)
    if default is not UNDEFINED:
        config["default"] = default
    return InterfaceSlot(
        key,
        slot.data_flow_type,
        slot.display_name,
        required=slot.is_required(node.config),
        is_stream=slot.is_stream,
        match_categories=slot.match_categories,
        config=config,
        min=_number(slot.config.get("min")),
        max=_number(slot.config.get("max")),
    )


def _output_like(key: str, slot: Output) -> InterfaceSlot:
    return InterfaceSlot(
        key,
        slot.data_flow_type,
        slot.display_name,
        is_stream=slot.is_stream,
        match_categories=slot.match_categories,
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


class AdaptedWorkflows:
    """A `LoadWorkflow` that adapts what it finds, each workflow once: groups show the slots that were drawn in them."""

    def __init__(self, catalogue: Catalogue, load: LoadWorkflow) -> None:
        self._catalogue = catalogue
        self._load = load
        self._found: dict[str, WorkflowDocument | None] = {}
        self._open: set[str] = set()

    def __call__(self, workflow_id: str) -> WorkflowDocument | None:
        """Raises: InvalidWorkflow when it is none."""
        if workflow_id in self._found:
            return self._found[workflow_id]
        document = self._load(workflow_id)
        # Inside itself, or deeper than groups may be: the compiler refuses it.
        if document is None or workflow_id in self._open or len(self._open) >= MAX_DEPTH:
            return document
        self._open.add(workflow_id)
        try:
            self._found[workflow_id], _ = adapt_slots(document, self._catalogue, self)
        finally:
            self._open.discard(workflow_id)
        return self._found[workflow_id]
