"""From a document to a plan, once, at the gate; or every problem of the document at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nodes.definition import NodeDefinition, Retry, conversion
from nodes.errors import InvalidWorkflow, Problem
from workflows import validate
from workflows.bypass_plan import Bypass, bypass_problems, plan_bypass
from workflows.document import DocumentNode, WorkflowDocument, without_nodes
from workflows.graph_order import kahn_order
from workflows.literals import Literals, SecretValue
from workflows.plan import (
    LIVE,
    MAX_PLAN_BYTES,
    Feed,
    InterfaceOutput,
    NodeId,
    PlannedInput,
    PlannedNode,
    PlannedOutput,
    RunPlan,
    SlotKey,
)
from workflows.resolve import Catalogue, ResolvedNode, Wire, resolve_node, wire
from workflows.secrets_plan import SecretFlow, secret_flow, secret_keys
from workflows.slots import PlannedInputs, plan_inputs
from workflows.streams_plan import StreamOrigins

__all__ = ["Catalogue", "Compiled", "SecretValue", "compile_document"]

LoadWorkflow = Callable[[str], WorkflowDocument | None]
DEFAULT_TIMEOUT_S = 300.0
TOTAL_PER_TIMEOUT = 3.0


@dataclass(frozen=True)
class Compiled:
    """A plan and what must be stored before it runs.

    Attributes:
        secrets: Secrets that were typed into the document.
        blobs: sha256 to JSON bytes of large literals.
        warnings: Odd things that do not keep the workflow from running.
        encoded: `plan.encode()`, the argument that the run is started with.
    """

    plan: RunPlan
    secrets: tuple[SecretValue, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    encoded: bytes = field(default=b"", repr=False)


def compile_document(
    document: WorkflowDocument,
    catalogue: Catalogue,
    load_workflow: LoadWorkflow | None = None,
    *,
    secret_id: Callable[[str], str],
    owner: str = "default_user",
) -> Compiled:
    """Resolve everything a run needs to know into a plan. Pure: nothing is read or written.

    Args:
        load_workflow: Finds the workflows that groups refer to.
        secret_id: Names a secret's value; equal values should get equal names.
        owner: User to whom the document's secrets belong.

    Raises:
        InvalidWorkflow: With every problem, warnings included, when at least one is an error.
    """
    graph = _Graph(document, catalogue)
    problems = graph.problems()
    if any(problem.level == "error" for problem in problems):
        raise InvalidWorkflow(problems)
    literals = Literals(secret_id, owner)
    plan = _Planner(graph, literals).plan()
    encoded = plan.encode()
    if len(encoded) > MAX_PLAN_BYTES:
        raise InvalidWorkflow([*problems, _too_large(len(encoded))])
    return Compiled(plan, tuple(literals.secrets.values()), literals.blobs, tuple(problems), encoded)


def _too_large(size: int) -> Problem:
    message = f"the compiled workflow has {size} bytes; the limit is {MAX_PLAN_BYTES}; split it or shorten its values"
    return Problem("plan_too_large", message)


class _Graph:
    """A document with everything that is known about its nodes and edges. Problems are found, not raised."""

    def __init__(self, document: WorkflowDocument, catalogue: Catalogue) -> None:
        known = {kind: catalogue.get_node(kind) for kind in {node.type for node in document.nodes}}
        hidden = {node.id for node in document.nodes if (found := known[node.type]) and found.is_ui_node}
        self.document = without_nodes(document, hidden) if hidden else document
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
        self.inputs = {node_id: plan_inputs(node, self.into[node_id]) for node_id, node in self.nodes.items()}

    def _add(self, node: DocumentNode, definition: NodeDefinition | None) -> None:
        if definition is None:
            self.unknown.append(node)
        else:
            self.nodes.setdefault(node.id, resolve_node(node, definition, self.document))

    @property
    def ids(self) -> list[str]:
        return list(dict.fromkeys(node.id for node in self.document.nodes))

    def problems(self) -> list[Problem]:
        """Everything wrong or odd: the document first, then nodes in their order, each before its edges."""
        found = validate.id_problems(self.document.nodes)
        known_types: list[str] = []
        found += [validate.unknown_type_problem(node, self._catalogue, known_types) for node in self.unknown]
        found += validate.cycle_problems(self.ids, self.edges)
        found += validate.interface_problems(self.document)
        for node_id, node in self.nodes.items():
            found += validate.node_problems(node, self.inputs[node_id])
            found += bypass_problems(node)
            found += validate.order_warnings(node, self.into[node_id])
            for item in self.into[node_id]:
                found += validate.wire_problems(item)
        return found + validate.edge_warnings(self.document) + validate.mapping_warnings(self.document, self.nodes)


class _Planner:
    """Writes the plan of a graph without errors."""

    def __init__(self, graph: _Graph, literals: Literals) -> None:
        self._graph = graph
        self._document = graph.document
        self._literals = literals
        self._order = kahn_order(graph.ids, [(edge.source, edge.target) for edge in graph.edges])
        self._bypasses: dict[str, Bypass] = {
            node_id: plan_bypass(node, graph.inputs[node_id])
            for node_id, node in graph.nodes.items()
            if node.node.bypassed
        }
        self._origins = StreamOrigins(graph.inputs, self._bypasses)
        self._planned = {
            node_id: {key: self._origins.rewired(slot) for key, slot in slots.items()}
            for node_id, slots in graph.inputs.items()
        }
        self._flow: SecretFlow = secret_flow(self._order, graph.nodes, self._planned, self._bypasses)
        self._outputs = {key: found for key in self._document.output_interface_mappings if (found := self._output(key))}
        self._lists = self._wanting_chunk_lists()

    def plan(self) -> RunPlan:
        return RunPlan(
            nodes=tuple(self._node(self._graph.nodes[node_id]) for node_id in self._order),
            workflow_id=self._document.id,
            workflow_name=self._document.name,
            interface_inputs=self._interface_inputs(),
            interface_outputs=self._outputs,
        )

    def _node(self, node: ResolvedNode) -> PlannedNode:
        document, definition = node.node, node.definition
        retry = retry_of(document, definition)
        timeout_s, total_s = timeouts_of(document, definition)
        return PlannedNode(
            id=NodeId(node.id),
            type=definition.full_type,
            title=document.display_name or definition.display_name,
            version=definition.version,
            placement="activity" if leaves_segment(document, definition) else definition.placement,
            queue=document.queue or definition.queue,
            mode=node.mode.id if node.mode else None,
            config=self._config(node),
            inputs=self._inputs(node),
            outputs=self._planned_outputs(node),
            after=self._after(node),
            beside=self._beside(node),
            bypass=self._bypass(node),
            continue_on_error=document.continue_on_error,
            collect_chunks=node.id in self._lists,
            interface_values=definition.interface_values,
            max_attempts=retry.maximum_attempts,
            initial_s=retry.initial_seconds,
            backoff=retry.backoff,
            maximum_s=retry.maximum_seconds,
            non_retryable=retry.non_retryable,
            timeout_s=timeout_s,
            total_timeout_s=total_s,
        )

    def _after(self, node: ResolvedNode) -> tuple[NodeId, ...]:
        """Sources that must have ended. An edge that carries a stream does not wait for its producer's end."""
        waited = (item for item in self._graph.into[node.id] if not item.carries_stream or node.node.bypassed)
        sources = dict.fromkeys(NodeId(item.edge.source) for item in waited)
        feeds = (feed for slot in self._planned[node.id].values() for feed in slot.feeds)
        sources.update(dict.fromkeys(feed.node for feed in feeds if feed.convert not in LIVE))
        return tuple(sources)

    def _beside(self, node: ResolvedNode) -> tuple[NodeId, ...]:
        slots = self._planned[node.id].values()
        feeds = (feed for slot in slots for feed in (slot.feeds if slot.multi else slot.feeds[-1:]))
        return tuple(dict.fromkeys(feed.node for feed in feeds if feed.convert == "stream"))

    def _config(self, node: ResolvedNode) -> dict[str, Any]:
        keys = {key: secret_keys(node.config_schema.get(key)) for key in node.config}
        return {
            key: self._literals.copy(value, keys[key], node=node.id, slot=key) for key, value in node.config.items()
        }

    def _inputs(self, node: ResolvedNode) -> PlannedInputs:
        return {key: self._literal(node, key, slot) for key, slot in self._planned[node.id].items()}

    def _literal(self, node: ResolvedNode, key: SlotKey, slot: PlannedInput) -> PlannedInput:
        if not slot.has_value:
            return slot
        keys = self._flow.of_input(node.id, key)
        if slot.multi:
            return replace(slot, value=[self._literals.pack(item, keys, node=node.id, slot=key) for item in slot.value])
        return replace(slot, value=self._literals.pack(slot.value, keys, node=node.id, slot=key))

    def _planned_outputs(self, node: ResolvedNode) -> dict[SlotKey, PlannedOutput]:
        seals = self._flow.of_outputs(node.id)
        streams = {key: slot.is_stream for key, slot in node.outputs.items()}
        return {
            SlotKey(key): PlannedOutput(stream=streams.get(key, False), seal=seals.get(key, ()))
            for key in dict.fromkeys((*streams, *seals))
        }

    def _bypass(self, node: ResolvedNode) -> Bypass | None:
        bypass = self._bypasses.get(node.id)
        if bypass is None:
            return None
        return {
            key: replace(source, empty=self._literals.pack(source.empty, node=node.id, slot=key))
            for key, source in bypass.items()
        }

    def _interface_inputs(self) -> dict[str, Any]:
        """Values of the workflow's inputs; one that feeds a secret slot is a secret itself."""
        keys: dict[str, tuple[str, ...]] = {}
        for node in self._graph.nodes.values():
            if node.definition.interface_values:
                for slot, asked in self._flow.of_outputs(node.id).items():
                    keys[slot] = keys.get(slot, ()) + asked
        slots = self._document.interface_inputs
        return {
            key: self._literals.pack(slot.value, keys.get(key, ()), slot=key)
            for key, slot in slots.items()
            if slot.has_value
        }

    def _output(self, key: str) -> InterfaceOutput | None:
        """None for a mapping that comes from nowhere; there is a warning for it."""
        mapping = self._document.output_interface_mappings[key]
        node = self._graph.nodes.get(mapping.node)
        if node is None or (mapping.slot not in node.outputs and not node.takes_any_slot):
            return None
        output, declared = node.outputs.get(mapping.slot), self._document.interface_outputs.get(key)
        is_stream = output is not None and output.is_stream
        streams = is_stream and declared is not None and declared.is_stream
        convert = "collect_text" if is_stream else ""
        if output is not None and declared is not None:
            convert = conversion(output, declared.to_input()) or convert
        source = Feed(NodeId(mapping.node), SlotKey(mapping.slot))
        if streams:
            source = self._origins.origin(source.node, source.slot) or source
            streams = source.convert == "stream"
        return InterfaceOutput(
            source.node,
            source.slot,
            stream=streams,
            display_name=declared.display_name if declared else None,
            convert="" if streams or convert == "one_chunk" else convert,
        )

    def _wanting_chunk_lists(self) -> set[str]:
        """Nodes of whose streams somebody wants every chunk, not only the text."""
        feeds = (feed for slots in self._planned.values() for slot in slots.values() for feed in slot.feeds)
        wanted = {str(feed.node) for feed in feeds if feed.convert == "collect_chunks"}
        return wanted | {str(out.node) for out in self._outputs.values() if out.convert == "collect_chunks"}


def leaves_segment(node: DocumentNode, definition: NodeDefinition) -> bool:
    """An inline node with wishes of its own runs as an activity of its own."""
    wishes = (node.retry, node.timeout_seconds, node.queue)
    return definition.placement == "inline" and any(wish is not None for wish in wishes)


def retry_of(node: DocumentNode, definition: NodeDefinition) -> Retry:
    """The document's wishes over the definition's over the defaults: 4 attempts, 2 with side effects."""
    base = definition.retry or Retry(maximum_attempts=2 if definition.side_effects else 4)
    wishes = {key: value for key, value in (node.retry or {}).items() if value is not None}
    return Retry(
        maximum_attempts=int(wishes.get("maximumAttempts", base.maximum_attempts)),
        initial_seconds=float(wishes.get("initialSeconds", base.initial_seconds)),
        backoff=float(wishes.get("backoff", base.backoff)),
        maximum_seconds=float(wishes.get("maximumSeconds", base.maximum_seconds)),
        non_retryable=tuple(wishes.get("nonRetryable", base.non_retryable)),
    )


def timeouts_of(node: DocumentNode, definition: NodeDefinition) -> tuple[float, float]:
    """Seconds for one attempt and for all of them."""
    if node.timeout_seconds is not None:
        return float(node.timeout_seconds), TOTAL_PER_TIMEOUT * node.timeout_seconds
    timeout_s = float(definition.timeout_s or DEFAULT_TIMEOUT_S)
    return timeout_s, float(definition.total_timeout_s or TOTAL_PER_TIMEOUT * timeout_s)
