"""Where secrets flow in a document that may not compile, by the compiler's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.workflows.compiler.adapt import AdaptedWorkflows
from innkeeper.workflows.compiler.graph import Graph
from innkeeper.workflows.compiler.graph_order import kahn_order
from innkeeper.workflows.compiler.groups import MAX_DEPTH, Groups, LoadWorkflow, Style, reference_of, style_of
from innkeeper.workflows.compiler.resolve import Catalogue, ResolvedNode
from innkeeper.workflows.compiler.secrets_plan import (
    Keys,
    SecretFlow,
    asked_places,
    secret_flow,
    secret_inputs,
    secret_keys,
    secret_parts,
)
from innkeeper.workflows.document.model import WorkflowDocument
from innkeeper.workflows.plan import RunPlan, SlotKey

Asked = tuple[tuple[str, Keys], ...]
Outputs = Mapping[str, Output]


class DraftFlows:
    """The secret keys of every place in a document. Nothing is checked and nothing is raised.

    Each workflow below is looked at once for what is asked of it. One inside itself, or deeper than groups may be,
    cannot run: it counts as one that takes no secrets.

    Args:
        document: What `read_draft` gave.
        load: Finds the workflows that nodes run.
    """

    def __init__(self, document: WorkflowDocument, catalogue: Catalogue, load: LoadWorkflow | None) -> None:
        safe = _DataOnly(catalogue)
        self._groups: Groups[Graph] = Groups(
            AdaptedWorkflows(safe, _forgiving(load)),
            lambda inner, style: Graph(inner, safe, self._groups, style),
            _compile_nothing,
        )
        self._inner: dict[tuple[str, Style, Asked], Mapping[str, Keys]] = {}
        self._open: set[str] = set()
        self.graph = Graph(document, safe, self._groups)

    @cached_property
    def _flow(self) -> SecretFlow:
        return self._flow_of(self.graph, {})

    @cached_property
    def interface_keys(self) -> Mapping[str, Keys]:
        """Interface input of the document to its secret keys."""
        return secret_inputs(self.graph.nodes.values(), self._flow)

    def secret_keys(self, node: ResolvedNode, slot: str) -> Keys:
        """Those of an input of a node of this document, also of one that has neither a value nor an edge."""
        planned = self._flow.of_input(node.id, slot)
        return planned or secret_keys(node.inputs.get(slot)) or (self.inner_keys(node) or {}).get(slot, ())

    def is_multi(self, node: ResolvedNode, slot: str) -> bool:
        planned, declared = self.graph.inputs[node.id].get(SlotKey(slot)), node.inputs.get(slot)
        return (planned is not None and planned.multi) or (declared is not None and declared.multi)

    def inner_keys(self, node: ResolvedNode) -> Mapping[str, Keys] | None:
        """Inputs of the workflow that a node runs to their secret keys; None when it runs none that can be read."""
        if self._groups.graph(node) is None:
            return None
        return self._below(node, self._flow.of_outputs(node.id))

    def secret_parts(self, node: ResolvedNode) -> Mapping[str, Keys]:
        """The inputs of a repeated workflow that take secrets and get them as a part of a list or an object."""
        return secret_parts(node, self.inner_keys(node) or {})

    def _flow_of(self, graph: Graph, asked: Mapping[str, Keys]) -> SecretFlow:
        order = kahn_order(graph.ids, [(edge.source, edge.target) for edge in graph.edges])
        # Nodes of cycles are in no order.
        ids = [node_id for node_id in dict.fromkeys((*order, *graph.ids)) if node_id in graph.nodes]
        return secret_flow(
            ids,
            graph.nodes,
            inputs=graph.inputs,
            bypasses=graph.bypasses,
            asked=asked_places(graph.document.output_interface_mappings, asked),
            below=self._below,
        )

    def _below(self, node: ResolvedNode, asked: Mapping[str, Keys]) -> Mapping[str, Keys]:
        graph, workflow_id = self._groups.graph(node), reference_of(node)
        if graph is None or workflow_id is None:
            return {}
        style = style_of(node)
        is_asked = style == "group" and not node.node.bypassed
        key = (workflow_id, style, tuple(sorted(asked.items())) if is_asked else ())
        if key not in self._inner:
            if workflow_id in self._open or len(self._open) >= MAX_DEPTH:
                return {}
            self._open.add(workflow_id)
            flow = self._flow_of(graph, dict(key[2]))
            self._inner[key] = secret_inputs(graph.nodes.values(), flow)
            self._open.discard(workflow_id)
        return self._inner[key]


class _DataOnly:
    """A catalogue whose definitions run no code of a plugin that could fail on a draft."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[str, NodeDefinition | None] = {}

    def get_node(self, full_type: str) -> NodeDefinition | None:
        if full_type not in self._known:
            found = self._catalogue.get_node(full_type)
            self._known[full_type] = None if found is None else _data_only(found)
        return self._known[full_type]

    def get_definitions(self) -> Iterable[NodeDefinition]:
        return self._catalogue.get_definitions()


def _data_only(definition: NodeDefinition) -> NodeDefinition:
    """Whether an input is required is nothing to secrets; its outputs are, as far as their function takes a draft."""
    modes = {
        name: replace(mode, inputs=_optional(mode.inputs), config_schema=_optional(mode.config_schema))
        for name, mode in definition.modes.items()
    }
    outputs_of = definition.outputs_of
    return replace(
        definition,
        inputs=_optional(definition.inputs),
        config_schema=_optional(definition.config_schema),
        modes=modes,
        outputs_of=None if outputs_of is None else _safe(outputs_of, definition.outputs),
    )


def _optional(slots: Mapping[str, Input]) -> dict[str, Input]:
    return {key: replace(slot, required=False) if callable(slot.required) else slot for key, slot in slots.items()}


def _safe(outputs_of: Callable[[Mapping[str, Any]], Outputs], otherwise: Outputs) -> Callable[..., Outputs]:
    def outputs(config: Mapping[str, Any]) -> Outputs:
        try:
            return outputs_of(config)
        except Exception:
            # Code of a plugin, and settings that nobody has checked.
            return otherwise

    return outputs


def _forgiving(load: LoadWorkflow | None) -> LoadWorkflow:
    def found(workflow_id: str) -> WorkflowDocument | None:
        try:
            return load(workflow_id) if load is not None else None
        except InnkeeperError:
            return None

    return found


def _compile_nothing(graph: Graph, asked: Mapping[str, Keys]) -> tuple[RunPlan, Mapping[str, Keys]]:
    raise AssertionError("a draft is not compiled")
