"""A document with everything that is known about it before it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from innkeeper.nodes.definition import TYPED_EMPTY, NodeDefinition
from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler import validate
from innkeeper.workflows.compiler.bypass_plan import Bypass, bypass_problems, plan_bypass
from innkeeper.workflows.compiler.cache_plan import cache_warnings
from innkeeper.workflows.compiler.control_checks import control_problems
from innkeeper.workflows.compiler.groups import Groups, Style, reference_of
from innkeeper.workflows.compiler.repeat_checks import repeat_problems
from innkeeper.workflows.compiler.resolve import Catalogue, ResolvedNode, Wire, resolve_node, wire
from innkeeper.workflows.compiler.secret_checks import misplaced_secrets, readable_secrets
from innkeeper.workflows.compiler.serverless_checks import serverless_problems
from innkeeper.workflows.compiler.slots import PlannedInputs, plan_inputs
from innkeeper.workflows.compiler.streams_plan import Origin, StreamOrigins
from innkeeper.workflows.document.model import DocumentNode, WorkflowDocument, without_nodes
from innkeeper.workflows.plan import NodeId, PlannedInput, SlotKey


class Graph:
    """A document with everything that is known about its nodes and edges. Problems are found, not raised.

    Args:
        style: How a node runs it; None for a document that is run by itself.
    """

    def __init__(
        self, document: WorkflowDocument, catalogue: Catalogue, groups: Groups[Graph], style: Style | None = None
    ) -> None:
        known = {kind: catalogue.get_node(kind) for kind in {node.type for node in document.nodes}}
        hidden = {node.id for node in document.nodes if (found := known[node.type]) and found.is_ui_node}
        self.document = without_nodes(document, hidden) if hidden else document
        self.groups = groups
        self.style = style
        self._catalogue = catalogue
        self.nodes: dict[str, ResolvedNode] = {}
        self.unknown: list[DocumentNode] = []
        for node in self.document.nodes:
            self._add(node, known[node.type])
        ids = {node.id for node in self.document.nodes}
        self.edges = [edge for edge in self.document.edges if edge.source in ids and edge.target in ids]
        self.into: dict[str, list[Wire]] = {node_id: [] for node_id in self.nodes}
        for edge in self.edges:
            if (joined := wire(edge, self.nodes)) is not None:
                self.into[edge.target].append(joined)
        self.inputs = {node_id: self._plan_inputs(node) for node_id, node in self.nodes.items()}
        self._stream_origins: dict[str, Origin] = {}

    def _add(self, node: DocumentNode, definition: NodeDefinition | None) -> None:
        if definition is None:
            self.unknown.append(node)
        else:
            resolved = resolve_node(node, definition, self.document, live=self.style == "group")
            runs = self.groups.document(reference) if (reference := reference_of(resolved)) else None
            if runs is not None:
                resolved = resolve_node(node, definition, self.document, runs=runs, live=self.style == "group")
            self.nodes.setdefault(node.id, resolved)

    def _plan_inputs(self, node: ResolvedNode) -> PlannedInputs:
        planned = plan_inputs(node, self.into[node.id])
        if node.definition.runs_workflow and not node.takes_any_slot:
            planned = {key: slot for key, slot in planned.items() if key in node.inputs}
        return {key: self._with_empty(slot) for key, slot in planned.items()} if self.style else planned

    def _with_empty(self, slot: PlannedInput) -> PlannedInput:
        """A required slot inside that only an optional input of the group feeds: at last the type's empty value."""
        source = self.nodes.get(slot.feeds[-1].node) if slot.feeds and slot.required and not slot.has_value else None
        if source is None or not source.definition.interface_values:
            return slot
        outside = self.document.interface_inputs.get(slot.feeds[-1].slot)
        if outside is None or outside.required or outside.is_stream or outside.data_flow_type not in TYPED_EMPTY:
            return slot
        empty = TYPED_EMPTY[outside.data_flow_type]
        return replace(slot, value=[empty] if slot.multi else empty, has_value=True)

    @property
    def ids(self) -> list[str]:
        return list(dict.fromkeys(node.id for node in self.document.nodes))

    def problems(self, root_id: str | None = None) -> list[Problem]:
        """Everything wrong or odd: the document first, then nodes in their order, each before its edges.

        `root_id` is the id of the document that is run, in which this one may not be used again.
        """
        found = [*self.document.odd, *validate.id_problems(self.document.nodes)]
        known_types: list[str] = []
        found += [validate.unknown_type_problem(node, self._catalogue, known_types) for node in self.unknown]
        found += validate.cycle_problems(self.ids, self.edges)
        found += validate.interface_problems(self.document, is_run=self.style is None)
        for node_id, node in self.nodes.items():
            found += validate.node_problems(node, self.inputs[node_id], self.into[node_id])
            found += bypass_problems(node)
            found += cache_warnings(node)
            found += serverless_problems(node)
            found += misplaced_secrets(node) + readable_secrets(node)
            found += self.groups.problems(node, root_id)
            runs = self.groups.document(reference) if (reference := reference_of(node)) else None
            found += repeat_problems(node, runs)
            # Control nodes look at what was typed into them more closely.
            control = control_problems(node, self.inputs[node_id], self.into[node_id])
            found += control or validate.literal_problems(node, self.inputs[node_id])
            found += validate.order_warnings(node, self.into[node_id])
            for item in self.into[node_id]:
                found += validate.wire_problems(item)
        return found + validate.edge_warnings(self.document) + validate.mapping_warnings(self.document, self.nodes)

    @cached_property
    def bypasses(self) -> dict[str, Bypass]:
        return {
            node_id: plan_bypass(node, self.inputs[node_id])
            for node_id, node in self.nodes.items()
            if node.node.bypassed
        }

    @cached_property
    def origins(self) -> StreamOrigins:
        groups: dict[str, Callable[[str], Origin]] = {
            node_id: inner.stream_origin
            for node_id, node in self.nodes.items()
            if node.definition.runs_workflow == "group" and (inner := self.groups.graph(node)) is not None
        }
        return StreamOrigins(self.inputs, self.bypasses, groups)

    def stream_origin(self, key: str) -> Origin:
        """Where an interface output gets its stream, seen from outside."""
        # Asked twice by every level around it: without a memory a deep nest would take for ever.
        if key not in self._stream_origins:
            self._stream_origins[key] = self._stream_origin(key)
        return self._stream_origins[key]

    def _stream_origin(self, key: str) -> Origin:
        mapping = self.document.output_interface_mappings.get(key)
        source = self.nodes.get(mapping.node) if mapping else None
        if mapping is None or source is None:
            return Origin("none")
        slot = source.outputs.get(mapping.slot)
        if slot is None or not slot.is_stream:
            return Origin("value")
        found = self.origins.origin(NodeId(mapping.node), SlotKey(mapping.slot))
        if found is None or found.convert != "stream":
            return Origin("none" if found is None else "value")
        producer = self.nodes[found.node]
        if producer.definition.interface_values:
            return Origin("input", found.slot)
        return Origin("node", self.path_of(found.node, found.slot))

    def path_of(self, node: str, slot: str) -> str:
        """Path of the producer of a stream output, in this graph."""
        inner = self.groups.graph(self.nodes[node]) if self.nodes[node].definition.runs_workflow else None
        return node if inner is None else f"{node}/{inner.stream_origin(slot).name}"
