"""Writes the plan of a graph without errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from innkeeper.nodes.definition import NodeDefinition, conversion
from innkeeper.workflows.compiler.bypass_plan import Bypass
from innkeeper.workflows.compiler.cache_plan import is_cached
from innkeeper.workflows.compiler.graph import Graph
from innkeeper.workflows.compiler.graph_order import kahn_order
from innkeeper.workflows.compiler.groups import MAX_KEPT, Groups, Inner
from innkeeper.workflows.compiler.literals import Literals
from innkeeper.workflows.compiler.literals import Place as LiteralPlace
from innkeeper.workflows.compiler.node_limits import leaves_segment, max_timeouts_of, queue_of, retry_of, timeouts_of
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.secret_checks import readable_parts, secrets_from_outside
from innkeeper.workflows.compiler.secret_hosts import host_of_node
from innkeeper.workflows.compiler.secrets_plan import (
    PARTS,
    Keys,
    SecretFlow,
    asked_places,
    secret_flow,
    secret_inputs,
    secret_keys,
    secret_parts,
)
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.compiler.spare_plan import with_spare
from innkeeper.workflows.compiler.streams_plan import Origin
from innkeeper.workflows.document.model import DocumentNode, InterfaceSlot
from innkeeper.workflows.plan import (
    ERROR_SLOT,
    LIVE,
    Feed,
    InterfaceOutput,
    NodeId,
    PlannedInput,
    PlannedNode,
    PlannedOutput,
    RunPlan,
    SlotKey,
)


class Planner:
    """Writes the plan of a graph without errors."""

    def __init__(self, graph: Graph, literals: Literals, groups: Groups[Graph], asked: Mapping[str, Keys]) -> None:
        self._graph = graph
        self._document = graph.document
        self._literals = literals
        self._groups = groups
        self._inner: dict[str, Inner] = {}
        self._order = kahn_order(graph.ids, [(edge.source, edge.target) for edge in graph.edges])
        self._planned = {
            node_id: {key: graph.origins.rewired(slot) for key, slot in slots.items()}
            for node_id, slots in graph.inputs.items()
        }
        self._flow = self._secret_flow(asked)
        for node in graph.nodes.values():
            odd = secrets_from_outside(node, self._flow.of_outputs(node.id))
            odd += readable_parts(node, self._planned[node.id], self._secret_parts(node))
            literals.problems += [problem for problem in odd if problem not in literals.problems]
        self._outputs = {key: found for key in self._document.output_interface_mappings if (found := self._output(key))}
        self._lists = self._wanting_chunk_lists()
        self._catching = {
            item.edge.source for wires in graph.into.values() for item in wires if item.edge.source_handle == ERROR_SLOT
        }

    def run(self) -> RunPlan:
        """The plan of a document that is run by itself, with the plans of all groups below."""
        plan = self._plan(self._interface_inputs())
        return replace(plan, groups=dict(self._groups.packed))

    def group(self) -> tuple[RunPlan, Mapping[str, Keys]]:
        """The plan of a document that a node runs, and the secret keys of its interface inputs."""
        slots = self._document.interface_inputs
        given = {} if self._graph.style == "group" else self._packed_inputs(lambda slot: "default" in slot.config)
        return replace(self._plan(given), interface_keys=tuple(slots)), self._secret_inputs()

    def _plan(self, interface_inputs: Mapping[str, Any]) -> RunPlan:
        nodes = [self._node(self._graph.nodes[node_id]) for node_id in self._order]
        return RunPlan(
            nodes=with_spare(
                nodes, needed={output.node for output in self._outputs.values()}, has_effects=self._has_effects
            ),
            workflow_id=self._document.id,
            workflow_name=self._document.name,
            interface_inputs=interface_inputs,
            interface_outputs=self._outputs,
            kept=self._kept(),
        )

    def _has_effects(self, node: PlannedNode) -> bool:
        definition = self._graph.nodes[node.id].definition
        return definition.side_effects or definition.interface_values or bool(definition.runs_workflow)

    def _secret_flow(self, asked: Mapping[str, Keys]) -> SecretFlow:
        graph = self._graph
        return secret_flow(
            self._order,
            graph.nodes,
            inputs=self._planned,
            bypasses=graph.bypasses,
            asked=asked_places(self._document.output_interface_mappings, asked),
            below=self._compile_below,
        )

    def _compile_below(self, node: ResolvedNode, asked: Mapping[str, Keys]) -> Mapping[str, Keys]:
        if node.node.bypassed:
            return self._groups.secrets_of_bypassed(node)
        inner = self._groups.compile(node, asked)
        if inner is None:
            return {}
        self._inner[node.id] = inner
        return inner.secret_inputs

    def _kept(self) -> tuple[str, ...]:
        """Producers in groups below whose streams somebody consumes, inside or here."""
        found: dict[str, None] = {}
        for node_id, inner in self._inner.items():
            below = f"{node_id}/" if self._graph.nodes[node_id].definition.runs_workflow == "group" else f"{node_id}/*/"
            found.update(dict.fromkeys(f"{below}{path}" for path in inner.kept))
            found.update(dict.fromkeys(f"{below}{path}" for path in self._wanted(node_id, "stream")))
        return tuple(found)[:MAX_KEPT]

    def _wanted(self, node_id: str, convert: str) -> tuple[str, ...]:
        """Producers inside a group whose stream nodes here want with this conversion; paths relative to the group."""
        feeds = [feed for slots in self._planned.values() for slot in slots.values() for feed in slot.feeds]
        slots = [feed.slot for feed in feeds if feed.node == node_id and feed.convert == convert]
        slots += [out.slot for out in self._outputs.values() if out.node == node_id and out.convert == convert]
        found = dict.fromkeys(self._origin_in(node_id, slot) for slot in slots)
        return tuple(path for path in found if path)

    def _origin_in(self, node_id: str, slot: str) -> str:
        inner = self._groups.graph(self._graph.nodes[node_id])
        origin = inner.stream_origin(slot) if inner is not None else Origin("none")
        return origin.name if origin.kind == "node" else ""

    def _node(self, node: ResolvedNode) -> PlannedNode:
        document, definition = node.node, node.definition
        retry = retry_of(document, definition)
        timeout_s, total_s = timeouts_of(document, definition)
        return PlannedNode(
            id=NodeId(node.id),
            type=definition.full_type,
            title=document.display_name or definition.display_name,
            version=definition.version,
            placement=_placement(document, definition),
            queue=queue_of(document, definition),
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
            counts_silence=definition.timeout_counts == "silence",
            max_timeouts=max_timeouts_of(document, definition),
            gates=self._gates(node),
            joins=definition.joins,
            catches=node.id in self._catching,
            cached=is_cached(node) and not self._flow.of_outputs(node.id),
            **self._group_fields(node),
        )

    def _group_fields(self, node: ResolvedNode) -> dict[str, Any]:
        inner = self._inner.get(node.id)
        if inner is None:
            return {}
        if node.definition.runs_workflow != "group":
            return {"group": inner.hash}
        origins = {SlotKey(key): path for key in node.outputs if (path := self._origin_in(node.id, key))}
        wants = {"kept": self._wanted(node.id, "stream"), "lists": self._wanted(node.id, "collect_chunks")}
        return {"group": inner.hash, "origins": origins, **wants}

    def _gates(self, node: ResolvedNode) -> dict[NodeId, tuple[SlotKey, ...]]:
        """The outputs this node hangs on, of sources that may leave some of theirs dead."""
        found: dict[NodeId, dict[SlotKey, None]] = {}
        for item in self._graph.into[node.id]:
            slot = SlotKey(item.edge.source_handle)
            if slot and (node.definition.joins or self._may_be_dead(item.source, slot)):
                found.setdefault(NodeId(item.source.id), {})[slot] = None
        return {source: tuple(slots) for source, slots in found.items()}

    def _may_be_dead(self, source: ResolvedNode, slot: str) -> bool:
        if source.definition.branches or slot == ERROR_SLOT:
            return True
        return source.id in self._catching and not source.node.bypassed

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
        place = self._place(node)
        return {
            key: self._literals.copy(value, keys[key], replace(place, slot=key)) for key, value in node.config.items()
        }

    def _place(self, node: ResolvedNode) -> LiteralPlace:
        return LiteralPlace(node.id, host=host_of_node(node, self._planned[node.id]))

    def _inputs(self, node: ResolvedNode) -> PlannedInputs:
        place = self._place(node)
        return {
            key: self._literal(slot, self._flow.of_input(node.id, key), replace(place, slot=key))
            for key, slot in self._with_sealed_parts(node, place).items()
        }

    def _secret_parts(self, node: ResolvedNode) -> Mapping[str, Keys]:
        inner = self._inner.get(node.id)
        return {} if inner is None else secret_parts(node, inner.secret_inputs)

    def _with_sealed_parts(self, node: ResolvedNode, place: LiteralPlace) -> PlannedInputs:
        """The inputs of a node, with references for the secrets in typed items and typed fields of a state."""
        planned, parts = self._planned[node.id], self._secret_parts(node)
        key = SlotKey(PARTS.get(node.definition.runs_workflow or "", ""))
        slot = planned.get(key)
        if not parts or slot is None or not slot.has_value:
            return planned
        value = self._literals.seal_parts(slot.value, parts, replace(place, slot=key))
        return {**planned, key: replace(slot, value=value)}

    def _literal(self, slot: PlannedInput, keys: Keys, place: LiteralPlace) -> PlannedInput:
        if not slot.has_value:
            return slot
        if slot.multi:
            return replace(slot, value=[self._literals.pack(item, keys, place) for item in slot.value])
        return replace(slot, value=self._literals.pack(slot.value, keys, place))

    def _planned_outputs(self, node: ResolvedNode) -> dict[SlotKey, PlannedOutput]:
        seals = self._flow.of_outputs(node.id)
        streams = {key: slot.is_stream for key, slot in node.outputs.items()}
        return {
            SlotKey(key): PlannedOutput(stream=streams.get(key, False), seal=seals.get(key, ()))
            for key in dict.fromkeys((*streams, *seals))
        }

    def _bypass(self, node: ResolvedNode) -> Bypass | None:
        bypass = self._graph.bypasses.get(node.id)
        if bypass is None:
            return None
        return {
            key: replace(source, empty=self._literals.pack(source.empty, place=LiteralPlace(node.id, key)))
            for key, source in bypass.items()
        }

    def _interface_inputs(self) -> dict[str, Any]:
        """Values of the workflow's inputs; one that feeds a secret slot is a secret itself."""
        return self._packed_inputs(lambda slot: slot.has_value)

    def _packed_inputs(self, has_value: Callable[[InterfaceSlot], bool]) -> dict[str, Any]:
        keys = self._secret_inputs()
        return {
            key: self._literals.pack(slot.value, keys.get(key, ()), LiteralPlace(slot=key))
            for key, slot in self._document.interface_inputs.items()
            if has_value(slot)
        }

    def _secret_inputs(self) -> dict[str, Keys]:
        return secret_inputs(self._graph.nodes.values(), self._flow)

    def _output(self, key: str) -> InterfaceOutput | None:
        """None for a mapping that comes from nowhere; there is a warning for it."""
        mapping = self._document.output_interface_mappings[key]
        node = self._graph.nodes.get(mapping.node)
        if node is None or (mapping.slot not in (*node.outputs, ERROR_SLOT) and not node.takes_any_slot):
            return None
        output, declared = node.outputs.get(mapping.slot), self._document.interface_outputs.get(key)
        is_stream = output is not None and output.is_stream
        streams = is_stream and declared is not None and declared.is_stream
        convert = "collect_text" if is_stream else ""
        if output is not None and declared is not None:
            convert = conversion(output, declared.to_input()) or convert
        source = Feed(NodeId(mapping.node), SlotKey(mapping.slot))
        if streams:
            source = self._graph.origins.origin(source.node, source.slot) or source
            streams = source.convert == "stream"
        return InterfaceOutput(
            source.node,
            source.slot,
            stream=streams,
            display_name=declared.display_name if declared else None,
            convert="" if streams or convert == "one_chunk" else convert,
            path=self._graph.path_of(source.node, source.slot) if streams and source.node in self._inner else None,
        )

    def _wanting_chunk_lists(self) -> set[str]:
        """Nodes of whose streams somebody wants every chunk, not only the text."""
        feeds = (feed for slots in self._planned.values() for slot in slots.values() for feed in slot.feeds)
        wanted = {str(feed.node) for feed in feeds if feed.convert == "collect_chunks"}
        return wanted | {str(out.node) for out in self._outputs.values() if out.convert == "collect_chunks"}


def _placement(node: DocumentNode, definition: NodeDefinition) -> Literal["activity", "inline", "workflow"]:
    """To a run, threads and processes of a worker are its own business: it only knows activities."""
    if definition.placement in ("inline", "workflow") and not leaves_segment(node, definition):
        return definition.placement
    return "activity"
