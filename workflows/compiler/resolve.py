"""A document's nodes and edges with their definitions: which slots a node has, and which slots an edge joins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

from innkeeper.nodes.definition import BypassBehavior, Conversion, Input, Mode, NodeDefinition, Output, conversion
from innkeeper.workflows.compiler.secret_names import without_strays
from innkeeper.workflows.document.model import DocumentNode, Edge, WorkflowDocument
from innkeeper.workflows.document.slot_values import suggested
from innkeeper.workflows.plan import ERROR_SLOT, UNDEFINED

ERROR_OUTPUT = Output("OBJECT", "Error", "What the node failed with; connected, its failure does not fail the run.")
REFERENCE = "referencedWorkflowId"
"""The setting that names the workflow which a node runs."""
_SUB_HANDLE = re.compile(r"(.+)__(0|[1-9][0-9]*)")
_ZERO_TYPES = frozenset({"core:MathOperation"})
_NUMBERS = frozenset({"INTEGER", "FLOAT"})


class Catalogue(Protocol):
    """The node types that exist."""

    def get_node(self, full_type: str) -> NodeDefinition | None: ...

    def get_definitions(self) -> Iterable[NodeDefinition]: ...


@dataclass(frozen=True)
class ResolvedNode:
    """One node of a document with its definition: the slots of its mode, its config with defaults filled in."""

    node: DocumentNode
    definition: NodeDefinition
    mode: Mode | None
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    config_schema: Mapping[str, Input]
    config: Mapping[str, Any]
    lists: frozenset[str] = frozenset()
    """Outputs that give a list of values, each by itself: inputs of a group that several edges may enter."""

    @property
    def id(self) -> str:
        return self.node.id

    @property
    def bypass_behavior(self) -> Literal["mute"] | BypassBehavior | None:
        """What the node gives when it is bypassed: its mode's word goes before its type's."""
        of_mode = self.mode.bypass_behavior if self.mode else None
        return of_mode if of_mode is not None else self.definition.bypass_behavior

    @property
    def takes_any_slot(self) -> bool:
        """Slots that no definition lists are normal here; group nodes list theirs in the workflow's interface."""
        definition = self.definition
        return definition.dynamic_slots and not (self.is_border or definition.runs_workflow)

    def takes(self, key: str) -> bool:
        """Is there an input slot for a value that was typed under this name?"""
        return key in self.inputs or self.takes_any_slot

    @property
    def is_border(self) -> bool:
        """Does it stand where values enter or leave a workflow: inside, or as the group that runs it?"""
        definition = self.definition
        return definition.interface_values or definition.interface_sink or definition.runs_workflow == "group"


def resolve_node(
    node: DocumentNode,
    definition: NodeDefinition,
    document: WorkflowDocument,
    *,
    runs: WorkflowDocument | None = None,
    live: bool = False,
) -> ResolvedNode:
    """Args: `runs` is the workflow that the node runs; `live`: inputs of `document` may be streams (it is a group)."""
    mode = definition.mode_for(node.config)
    inputs, outputs = (mode.inputs, mode.outputs) if mode else (definition.inputs, definition.outputs)
    if definition.interface_sink:
        inputs = {**inputs, **{key: slot.to_input() for key, slot in document.interface_outputs.items()}}
    if definition.interface_values:
        outputs = {**outputs, **{key: slot.to_output(live=live) for key, slot in document.interface_inputs.items()}}
    schema = {**definition.config_schema, **mode.config_schema} if mode else definition.config_schema
    config = _config(node, definition, schema)
    if definition.outputs_of is not None:
        outputs = definition.outputs_of(config)
    if runs is not None:
        inputs = {**inputs, **_inputs_of(definition, config, runs)}
        outputs = {**outputs, **_outputs_of(definition, runs)}
    lists = frozenset(key for key, slot in document.interface_inputs.items() if slot.multi and live)
    return ResolvedNode(
        node,
        definition,
        mode=mode,
        inputs=inputs,
        outputs=outputs,
        config_schema=schema,
        config=config,
        lists=lists if definition.interface_values else frozenset(),
    )


def _inputs_of(definition: NodeDefinition, config: Mapping[str, Any], runs: WorkflowDocument) -> dict[str, Input]:
    """Inputs of the workflow that the node runs which are inputs of the node. Repetitions take whole values."""
    slots = {key: slot for key, slot in runs.interface_inputs.items() if not slot.is_hollow}
    if definition.runs_workflow == "group":
        return {key: slot.to_group_input() for key, slot in slots.items()}
    if definition.runs_workflow == "each":
        own = ("items", "index", config.get("itemKey"))
        inputs = {key: slot.to_group_input() for key, slot in slots.items() if key not in own}
        return {key: replace(slot, is_stream=False) for key, slot in inputs.items()}
    return {}


def _outputs_of(definition: NodeDefinition, runs: WorkflowDocument) -> dict[str, Output]:
    if definition.runs_workflow != "group":
        return {}
    return {key: slot.to_group_output() for key, slot in runs.interface_outputs.items() if not slot.is_hollow}


def _config(node: DocumentNode, definition: NodeDefinition, schema: Mapping[str, Input]) -> Mapping[str, Any]:
    """The user's values over the defaults. The mode key gets none: without it a node has its base slots.

    What no setting takes is left out: it would stay readable in plans and histories, and may be a misplaced key.
    """
    config = {}
    for key, slot in schema.items():
        value = default_of(slot)
        if value is not UNDEFINED and key != definition.mode_config_key:
            config[key] = value
    own = {definition.mode_config_key, REFERENCE if definition.runs_workflow else None}
    for key, value in node.config.items():
        if key in schema or key in own:
            config[key] = without_strays(value, schema.get(key))
    return config


def default_of(slot: Input, full_type: str = "") -> Any:
    """`config.default`, else the first suggestion's value, else 0 for numbers of math nodes, else UNDEFINED."""
    if "default" in slot.config:
        return slot.config["default"]
    values = suggested(slot)
    if values:
        return values[0]
    return 0 if full_type in _ZERO_TYPES and slot.data_flow_type in _NUMBERS else UNDEFINED


@dataclass(frozen=True)
class Wire:
    """An edge between two known nodes. `output` and `input` are None when that slot is not declared.

    Attributes:
        slot: The input slot that the edge's handle addresses, without the sub-handle's number.
        index: The sub-handle's number.
    """

    edge: Edge
    source: ResolvedNode
    target: ResolvedNode
    slot: str
    index: int | None
    output: Output | None
    input: Input | None

    @cached_property
    def conversion(self) -> Conversion | None:
        """None when the slots do not fit. Undeclared slots take anything, finished streams as text."""
        if self.output is not None and self.input is not None:
            found = conversion(self.output, self.input)
            return "" if found is None and self.is_forgiven else found
        return "collect_text" if self.output is not None and self.output.is_stream else ""

    @property
    def is_forgiven(self) -> bool:
        """May the types differ? A bypassed node gives whatever passes through it, and the type that an interface
        declares is a label that nobody keeps up: at both the declared type means little."""
        streams = {slot.is_stream for slot in (self.output, self.input) if slot is not None}
        return (self.source.node.bypassed or self.source.is_border or self.target.is_border) and len(streams) == 1

    @property
    def elements_fit(self) -> bool:
        """Would the two slots fit if neither, or both, were a stream?"""
        if self.output is None or self.input is None:
            return True
        return conversion(replace(self.output, is_stream=False), replace(self.input, is_stream=False)) is not None

    @property
    def carries_stream(self) -> bool:
        """Does the target read this edge chunk by chunk, while the source runs?"""
        if self.output is None or self.input is None or self.only_orders:
            return False
        return self.output.is_stream and self.input.is_stream

    @property
    def only_orders(self) -> bool:
        """No value travels: the edge lacks a handle, or a stream goes to the node that marks interface outputs."""
        nameless = not self.edge.source_handle or not self.edge.target_handle
        streams = self.output is not None and self.output.is_stream
        return nameless or (streams and self.target.definition.interface_sink)


def wire(edge: Edge, nodes: Mapping[str, ResolvedNode]) -> Wire | None:
    """The edge with its slots; None when one of its nodes is missing or of an unknown type."""
    source, target = nodes.get(edge.source), nodes.get(edge.target)
    if source is None or target is None:
        return None
    slot, index = split_handle(edge.target_handle, target.inputs)
    output = ERROR_OUTPUT if edge.source_handle == ERROR_SLOT else source.outputs.get(edge.source_handle)
    return Wire(
        edge, source=source, target=target, slot=slot, index=index, output=output, input=target.inputs.get(slot)
    )


def split_handle(handle: str, inputs: Mapping[str, Input]) -> tuple[str, int | None]:
    """`texts__2` is number 2 of the slot `texts`, when there is such a slot; every other name is a slot of its own."""
    match = None if handle in inputs else _SUB_HANDLE.fullmatch(handle)
    if match is None or match[1] not in inputs or len(match[2]) > 9:
        return handle, None
    return match[1], int(match[2])
