"""Workflow documents: the stored format and the execution payload, read into one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from innkeeper.nodes.definition import TYPED_EMPTY, Input, Output
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.document.budget import BUDGET, BUDGET_KEYS, Budget, read_budget
from innkeeper.workflows.document.budget import complaints as budget_complaints
from innkeeper.workflows.document.callback import CALLBACK, CALLBACK_KEYS, Callback, complaints, read_callback
from innkeeper.workflows.document.json_reader import Reader, kind
from innkeeper.workflows.document.limits import DEFAULT_LIMITS, Limits, count_problems, load_json

__all__ = [
    "DEFAULT_LIMITS",
    "DocumentNode",
    "Edge",
    "InterfaceMapping",
    "InterfaceSlot",
    "Limits",
    "WorkflowDocument",
    "load_json",
    "parse_document",
    "read_draft",
    "with_inputs",
]

DOCUMENT_KEYS = frozenset(
    {
        *(
            "budget",
            "callback",
            "edges",
            "id",
            "inputs",
            "interfaceInputs",
            "interfaceOutputs",
            "metadata",
            "name",
            "nodes",
        ),
        *("outputInterfaceMappings", "workflowId"),
    }
)
NODE_KEYS = frozenset(
    {
        *("bypassed", "cache", "configValues", "continueOnError", "displayName", "fullType", "id", "inputs"),
        *("inputConnectionOrders", "inputValues", "queue", "retry", "timeoutSeconds", "totalTimeoutSeconds"),
        "type",
    }
)
EDGE_KEYS = frozenset({"id", "source", "sourceHandle", "sourceNodeId", "target", "targetHandle", "targetNodeId"})
SLOT_KEYS = frozenset(
    {
        *("config", "dataFlowType", "displayName", "isStream", "key", "matchCategories", "max", "min", "multi"),
        "required",
    }
)
GROUP_OUTPUT = "core:GroupOutput"
UI_TYPES = frozenset({"core:frame"})
"""Boxes of the editor that never run."""


@dataclass(frozen=True)
class DocumentNode:
    """One box of the graph as the user left it.

    Attributes:
        inputs: Slot to value, only where it differs from the slot's default.
        orders: Multi slot to edge ids, in the order of the list the node gets.
        retry: Our addition: `maximumAttempts`, `initialSeconds`, `backoff`, `maximumSeconds`, `nonRetryable`.
        timeout_seconds: Our addition: time for one attempt. The compiler checks all these values.
        total_timeout_seconds: Our addition: time for all attempts together.
        cache: Our addition: may the result cache give its outputs? None leaves that to the node type.
    """

    id: str
    type: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    display_name: str | None = None
    bypassed: bool = False
    retry: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None
    total_timeout_seconds: float | None = None
    queue: str | None = None
    continue_on_error: bool = False
    cache: bool | None = None


@dataclass(frozen=True)
class Edge:
    """From an output slot to an input slot. A multi slot is addressed as `slot__0`, `slot__1`, ..."""

    id: str
    source: str
    source_handle: str
    target: str
    target_handle: str


@dataclass(frozen=True)
class InterfaceSlot:
    """A named input or output of the whole workflow (GroupSlotInfo). A run's input value is `config["default"]`."""

    key: str
    data_flow_type: str
    display_name: str | None = None
    required: bool = False
    multi: bool = False
    is_stream: bool = False
    match_categories: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    min: float | None = None
    max: float | None = None

    def to_output(self, *, live: bool = False) -> Output:
        """How core:GroupInput shows it inside. `live`: a stream stays one; a run is started with whole values."""
        stream = live and self.is_stream
        return Output(self.data_flow_type, self.display_name, is_stream=stream, match_categories=self.match_categories)

    def to_group_input(self) -> Input:
        """How a group that runs the workflow shows an input of it."""
        bounds = {name: bound for name, bound in (("min", self.min), ("max", self.max)) if bound is not None}
        return replace(self.to_input(), required=self.required, config={**bounds, **self.config})

    def to_group_output(self) -> Output:
        """How a group that runs the workflow shows an output of it."""
        return self.to_output(live=True)

    @property
    def is_hollow(self) -> bool:
        """Not yet connected to anything inside: groups do not show it."""
        return self.data_flow_type == "CONVERTIBLE_ANY"

    def to_input(self) -> Input:
        """How core:GroupOutput shows it inside."""
        return Input(
            self.data_flow_type, self.display_name, is_stream=self.is_stream,
            match_categories=self.match_categories, multi=self.multi,
        )  # fmt: skip

    @property
    def has_value(self) -> bool:
        """A default of its own, or, for an optional slot of a plain type, that type's empty value."""
        return "default" in self.config or (not self.required and self.data_flow_type in TYPED_EMPTY)

    @property
    def value(self) -> Any:
        return self.config["default"] if "default" in self.config else TYPED_EMPTY.get(self.data_flow_type)


@dataclass(frozen=True)
class InterfaceMapping:
    """Which output slot gives one of the workflow's outputs."""

    node: str
    slot: str


@dataclass(frozen=True)
class WorkflowDocument:
    """A workflow as its author sees it: nothing resolved, nothing checked but its shape. `odd`: keys not read.

    Attributes:
        callback: Whom every run of it tells; of a workflow that runs as a group it does not count.
        budget: What each run of it may spend, where the submission does not say; as a group it does not count.
    """

    nodes: tuple[DocumentNode, ...]
    edges: tuple[Edge, ...] = ()
    interface_inputs: Mapping[str, InterfaceSlot] = field(default_factory=dict)
    interface_outputs: Mapping[str, InterfaceSlot] = field(default_factory=dict)
    output_interface_mappings: Mapping[str, InterfaceMapping] = field(default_factory=dict)
    id: str | None = None
    name: str | None = None
    callback: Callback | None = None
    budget: Budget | None = None
    odd: tuple[Problem, ...] = ()


def parse_document(raw: Any, limits: Limits = DEFAULT_LIMITS) -> WorkflowDocument:
    """Read a stored workflow or an execution payload, as `load_json` gave it.

    Boxes of the editor go, edges without an id get one, and a stored workflow's outputs are looked up in its edges.

    Raises:
        InvalidWorkflow: With every problem of shape: wrong types, missing fields, too many nodes or edges.
    """
    if not isinstance(raw, Mapping):
        raise InvalidWorkflow([Problem("invalid_document", f"a workflow is a JSON object; found {kind(raw)}")])
    reader = Reader(raw, "the workflow")
    raw_nodes, raw_edges = reader.items("nodes", required=True), reader.items("edges")
    reader.problems += count_problems(len(raw_nodes), len(raw_edges), limits)
    if reader.problems:
        raise InvalidWorkflow(reader.problems)
    nodes = [_node(reader.inner(item, f"nodes[{index}]")) for index, item in enumerate(raw_nodes)]
    edges = _edges(reader, raw_edges)
    document = _document(reader, tuple(nodes), edges)
    if reader.problems:
        raise InvalidWorkflow(reader.problems)
    return _without_ui_nodes(replace(document, odd=tuple(reader.odd)))


def read_draft(raw: Mapping[str, Any]) -> WorkflowDocument:
    """What can be read of a JSON object that may be no workflow yet: what has the wrong shape counts as absent.

    Node number i is item i of `nodes`, with an id that no other node has, and holds what stands in either of its two
    maps of inputs. Nothing is checked against limits, and boxes of the editor stay.
    """
    reader = Reader(raw, "the draft")
    items = reader.items("nodes")
    nodes = [_draft_node(reader.inner(item, f"nodes[{index}]")) for index, item in enumerate(items)]
    return _document(reader, _with_own_ids(nodes), _edges(reader, reader.items("edges")))


def _draft_node(reader: Reader) -> DocumentNode:
    node = _node(reader)
    return replace(node, inputs={**reader.mapping("inputValues"), **reader.mapping("inputs")})


def _with_own_ids(nodes: list[DocumentNode]) -> tuple[DocumentNode, ...]:
    named = {node.id for node in nodes}
    taken = {""}
    found = []
    for index, node in enumerate(nodes):
        own = node if node.id not in taken else replace(node, id=_free_id(f"node-{index}", named))
        taken.add(own.id)
        found.append(own)
    return tuple(found)


def _document(reader: Reader, nodes: tuple[DocumentNode, ...], edges: tuple[Edge, ...]) -> WorkflowDocument:
    reader.look_for_misspelt(DOCUMENT_KEYS)
    outputs = {key: _slot(key, item) for key, item in reader.children("interfaceOutputs")}
    if reader.raw.get("outputInterfaceMappings") is None:
        mappings = _mappings_from_edges(nodes, edges, outputs)
    else:
        found = reader.children("outputInterfaceMappings")
        mappings = {key: InterfaceMapping(item.text("sourceNodeId"), item.text("sourceSlotKey")) for key, item in found}
    metadata = reader.mapping("metadata")
    name = metadata.get("workflowName")
    return WorkflowDocument(
        nodes=nodes,
        edges=edges,
        interface_inputs={key: _slot(key, item) for key, item in reader.children("interfaceInputs")},
        interface_outputs=outputs,
        output_interface_mappings=mappings,
        id=reader.optional_text("id") or reader.optional_text("workflowId"),
        name=reader.optional_text("name") or (name if isinstance(name, str) else None),
        callback=_callback(reader),
        budget=_budget(reader),
    )


def _callback(reader: Reader) -> Callback | None:
    raw = reader.mapping(CALLBACK)
    if not isinstance(reader.raw.get(CALLBACK), Mapping):
        return None
    reader.inner(raw, "'callback'").look_for_misspelt(CALLBACK_KEYS)
    found = [Problem("invalid_callback", message) for message in complaints(raw)]
    reader.problems += found
    return None if found else read_callback(raw)


def _budget(reader: Reader) -> Budget | None:
    raw = reader.mapping(BUDGET)
    reader.inner(raw, "'budget'").look_for_misspelt(BUDGET_KEYS)
    found = [Problem("invalid_budget", message) for message in budget_complaints(raw)]
    reader.problems += found
    return None if found else read_budget(raw) or None


def _node(reader: Reader) -> DocumentNode:
    reader.node = reader.raw["id"] if isinstance(reader.raw.get("id"), str) else None
    reader.look_for_misspelt(NODE_KEYS)
    type_key = "fullType" if "fullType" in reader.raw else "type"
    inputs_key = "inputs" if "inputs" in reader.raw else "inputValues"
    return DocumentNode(
        id=reader.text("id"),
        type=reader.text(type_key),
        inputs=reader.mapping(inputs_key),
        config=reader.mapping("configValues"),
        orders=reader.orders("inputConnectionOrders"),
        display_name=reader.optional_text("displayName"),
        bypassed=reader.flag("bypassed"),
        retry=reader.mapping("retry") if reader.raw.get("retry") is not None else None,
        timeout_seconds=reader.number("timeoutSeconds"),
        total_timeout_seconds=reader.number("totalTimeoutSeconds"),
        queue=reader.optional_text("queue"),
        continue_on_error=reader.flag("continueOnError"),
        cache=reader.flag("cache") if reader.raw.get("cache") is not None else None,
    )


def _edges(reader: Reader, raw_edges: list[Any]) -> tuple[Edge, ...]:
    """Every edge with an id of its own: the order of multi slots is a list of edge ids."""
    named = {item["id"] for item in raw_edges if isinstance(item, Mapping) and isinstance(item.get("id"), str)}
    taken: set[str] = set()
    edges = []
    for index, item in enumerate(raw_edges):
        inner = reader.inner(item, f"edges[{index}]")
        edge_id = inner.optional_text("id")
        if not edge_id or edge_id in taken:
            edge_id = _free_id(f"edge-{index}", named)
        taken.add(edge_id)
        inner.edge = edge_id
        edges.append(_edge(inner, edge_id))
    return tuple(edges)


def _edge(reader: Reader, edge_id: str) -> Edge:
    reader.look_for_misspelt(EDGE_KEYS)
    return Edge(
        id=edge_id,
        source=reader.text("sourceNodeId" if "sourceNodeId" in reader.raw else "source"),
        source_handle=reader.optional_text("sourceHandle") or "",
        target=reader.text("targetNodeId" if "targetNodeId" in reader.raw else "target"),
        target_handle=reader.optional_text("targetHandle") or "",
    )


def _free_id(wanted: str, taken: set[str]) -> str:
    while wanted in taken:
        wanted += "'"
    return wanted


def _slot(key: str, reader: Reader) -> InterfaceSlot:
    reader.look_for_misspelt(SLOT_KEYS)
    return InterfaceSlot(
        key=key,
        data_flow_type=reader.text("dataFlowType"),
        display_name=reader.optional_text("displayName"),
        required=reader.flag("required"),
        multi=reader.flag("multi"),
        is_stream=reader.flag("isStream"),
        match_categories=reader.texts("matchCategories"),
        config=reader.mapping("config"),
        min=reader.number("min"),
        max=reader.number("max"),
    )


def _mappings_from_edges(
    nodes: tuple[DocumentNode, ...], edges: tuple[Edge, ...], outputs: Mapping[str, InterfaceSlot]
) -> dict[str, InterfaceMapping]:
    """The outputs of a stored workflow: what the edges into its GroupOutput nodes bring; of several the last counts."""
    sinks = {node.id for node in nodes if node.type == GROUP_OUTPUT}
    found = {
        edge.target_handle: InterfaceMapping(edge.source, edge.source_handle) for edge in edges if edge.target in sinks
    }
    return {key: found[key] for key in outputs if key in found}


def _without_ui_nodes(document: WorkflowDocument) -> WorkflowDocument:
    gone = {node.id for node in document.nodes if node.type in UI_TYPES}
    return without_nodes(document, gone) if gone else document


def without_nodes(document: WorkflowDocument, gone: set[str]) -> WorkflowDocument:
    """The document without these nodes and the edges that touch them."""
    edges = tuple(edge for edge in document.edges if edge.source not in gone and edge.target not in gone)
    return replace(document, nodes=tuple(node for node in document.nodes if node.id not in gone), edges=edges)


def with_inputs(document: WorkflowDocument, inputs: Mapping[str, Any]) -> tuple[WorkflowDocument, tuple[Problem, ...]]:
    """The document with values for its interface inputs, and a warning for every key that it does not have."""
    slots = dict(document.interface_inputs)
    problems = []
    for key, value in inputs.items():
        if key in slots:
            slots[key] = replace(slots[key], config={**slots[key].config, "default": value})
        else:
            known = ", ".join(repr(name) for name in slots) or "none"
            message = f"the workflow has no input {key!r}; its inputs are {known}"
            problems.append(Problem("unknown_input", message, level="warning", slot=key))
    return replace(document, interface_inputs=slots), tuple(problems)
