"""What can be wrong with a workflow, one small question each. Every function gives back the problems it found.

Codes are part of the API. Messages name what was found, what exists and what to do, never a user's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from innkeeper.nodes.definition import DATA_FLOW_TYPES, Input, Output, conversion
from innkeeper.nodes.errors import Problem
from innkeeper.nodes.spelling import nearest
from innkeeper.workflows.compiler.graph_order import cycles
from innkeeper.workflows.compiler.resolve import Catalogue, KnowsPlugins, ResolvedNode, Wire
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.document.json_reader import kind, quoted_names
from innkeeper.workflows.document.limits import MAX_PATH_BYTES, id_bytes
from innkeeper.workflows.document.model import DocumentNode, Edge, InterfaceSlot, WorkflowDocument
from innkeeper.workflows.document.slot_values import is_number, literal_complaint, range_complaint, value_complaint
from innkeeper.workflows.plan import ERROR_SLOT, UNDEFINED, PlannedInput, SlotKey

RESERVED_IDS = frozenset({"__WORKFLOW_INTERFACE_OUTPUTS__"})
MAX_ATTEMPTS = 100
MAX_TIMEOUT_S = 86_400
MAX_REPORTED_MEMBERS = 100
CONVERTING = frozenset({"core:MathOperation", "core:RandomNumber", "core:OpenAI"})
"""They make numbers, or true and false, of whatever they are given, as recorded runs of ComfyTavern do."""
_KNOWN_TYPES = frozenset((*DATA_FLOW_TYPES, "STREAM", "CODE"))


# --- the document ---------------------------------------------------------------------------------------------------


def id_problems(nodes: Iterable[DocumentNode]) -> list[Problem]:
    problems = []
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            message = f"two nodes have the id {node.id!r}; give each node an id of its own"
            problems.append(Problem("duplicate_node_id", message, node=node.id))
        seen.add(node.id)
        problems += _id_problem(node.id)
    return problems


def _id_problem(node_id: str) -> list[Problem]:
    if (size := id_bytes(node_id)) > MAX_PATH_BYTES:
        message = f"a node id has {size} bytes; the limit is {MAX_PATH_BYTES}; shorten it"
        return [Problem("path_too_long", message, node=node_id[:100])]
    if not node_id:
        return [Problem("invalid_node_id", "a node has an empty id; give it one", node="")]
    if "/" in node_id:
        message = f"the node id {node_id!r} holds '/', which separates groups in a path; rename the node"
    elif node_id in RESERVED_IDS:
        message = f"the node id {node_id!r} is reserved; rename the node"
    elif not node_id.isprintable():
        message = f"the node id {node_id!r} holds control characters; rename the node"
    else:
        return []
    return [Problem("invalid_node_id", message, node=node_id)]


def cycle_problems(ids: list[str], edges: Iterable[Edge]) -> list[Problem]:
    """One problem for each member of a cycle, of nothing behind it."""
    pairs = {(edge.source, edge.target): edge.id for edge in edges}
    return [problem for knot in cycles(ids, list(pairs)) for problem in _knot_problems(knot, pairs)]


def _knot_problems(knot: list[str], pairs: Mapping[tuple[str, str], str]) -> list[Problem]:
    members = quoted_names(knot)
    message = f"nodes {members} wait for each other; remove one of the edges between them"
    if len(knot) == 1:
        message = f"node {members} is connected to itself; remove that edge"
    return [
        Problem("cycle", message, node=node, edge=pairs.get((node, node)) if len(knot) == 1 else None)
        for node in knot[:MAX_REPORTED_MEMBERS]
    ]


def edge_warnings(document: WorkflowDocument) -> list[Problem]:
    """Edges that end at no node: they are left out and the run goes on."""
    ids = {node.id for node in document.nodes}
    problems = []
    for edge in document.edges:
        lost = [node for node in (edge.source, edge.target) if node not in ids]
        if lost:
            owner = f"edge {edge.id!r} belongs to {quoted_names(lost)}"
            message = f"{owner}, which is no node of this workflow; it is ignored"
            here = edge.target if edge.target in ids else edge.source
            node = here if here in ids else None
            problems.append(Problem("dangling_edge", message, level="warning", node=node, edge=edge.id))
    return problems


def interface_problems(document: WorkflowDocument, *, is_run: bool = True) -> list[Problem]:
    """`is_run`: the document is run by itself; the inputs of a group are given by whoever uses it."""
    slots = [("input", slot) for slot in document.interface_inputs.values()]
    slots += [("output", slot) for slot in document.interface_outputs.values()]
    problems = [_type_problem(side, slot) for side, slot in slots if slot.data_flow_type not in _KNOWN_TYPES]
    for slot in document.interface_inputs.values():
        if is_run and slot.required and not slot.has_value:
            message = f"the workflow's input {slot.key!r} is required and has no value; give it one"
            problems.append(Problem("missing_input", message, slot=slot.key))
        elif is_run and slot.has_value and (complaint := literal_complaint(slot.value, slot.to_input())):
            problems.append(Problem("invalid_input", f"the workflow's input {slot.key!r} {complaint}", slot=slot.key))
    return problems


def _type_problem(side: str, slot: InterfaceSlot) -> Problem:
    known = ", ".join(DATA_FLOW_TYPES)
    message = f"the workflow's {side} {slot.key!r} has the type {slot.data_flow_type!r}; types are {known}"
    return Problem("unknown_slot_type", message, slot=slot.key)


# --- one node -------------------------------------------------------------------------------------------------------


def unknown_type_problem(node: DocumentNode, catalogue: Catalogue, known: list[str]) -> Problem:
    """`known` is filled on first use: the catalogue is listed once, however many nodes are unknown."""
    if isinstance(catalogue, KnowsPlugins) and (reason := catalogue.absence(node.type)) is not None:
        message = f"node {node.id!r} has the type {node.type!r}, which is not there: {reason}"
        return Problem("unknown_node_type", message, node=node.id)
    known += [definition.full_type for definition in catalogue.get_definitions()] if not known else []
    near = get_close_matches(node.type, known, n=3) or [name for name in known if name.endswith(f":{node.type}")]
    missing = "load the plugin that brings it ('innkeeper nodes' tells why one was not loaded), or remove the node"
    hint = f"did you mean {quoted_names(near)}?" if near else missing
    message = f"node {node.id!r} has the type {node.type!r}, which no loaded plugin defines; {hint}"
    return Problem("unknown_node_type", message, node=node.id)


def node_problems(node: ResolvedNode, inputs: PlannedInputs, wires: Iterable[Wire]) -> list[Problem]:
    """Everything about one node and what it gets."""
    problems = mode_problems(node) + config_problems(node) + override_problems(node.node)
    problems += setting_warnings(node) + preset_warnings(node)
    return problems if node.node.bypassed else problems + missing_inputs(node, inputs, wires)


def literal_problems(node: ResolvedNode, inputs: PlannedInputs) -> list[Problem]:
    """Values typed into slots of another type. Where an edge brings the value nobody reads what was typed."""
    problems: list[Problem] = []
    if node.node.bypassed:
        return problems
    converts = node.definition.full_type in CONVERTING
    for key, value in node.node.inputs.items():
        slot, planned = node.inputs.get(key), inputs.get(SlotKey(key))
        is_read = planned is not None and not planned.feeds
        if slot is None or not is_read:
            continue
        if not converts and (complaint := literal_complaint(value, slot)):
            message = f"node {node.id!r}: input {key!r} {complaint}"
            problems.append(Problem("invalid_input", message, node=node.id, slot=key))
        elif value not in (None, "") and (complaint := range_complaint(value, slot)):
            message = f"node {node.id!r}: input {key!r} {complaint}"
            problems.append(Problem("out_of_range", message, level="warning", node=node.id, slot=key))
    return problems


def missing_inputs(node: ResolvedNode, inputs: Mapping[Any, PlannedInput], wires: Iterable[Wire]) -> list[Problem]:
    """Required inputs without a value: no edge brings one, or the only edge that counts leaves a lost output."""
    lost = {(item.edge.source, item.edge.source_handle): item.source for item in wires if _gives_nothing(item)}
    bare = {key: slot for key, slot in inputs.items() if slot.required and not slot.has_value}
    remedies = {key: _remedy(slot, lost) for key, slot in bare.items()}
    return [
        Problem("missing_input", _missing(node, f"input {key!r}", remedy), node=node.id, slot=key)
        for key, remedy in remedies.items()
        if remedy
    ]


def _remedy(slot: PlannedInput, lost: Mapping[tuple[str, str], ResolvedNode]) -> str:
    """What to do about a required slot without a value of its own; "" when an edge may bring one.

    `lost` are outputs that do not exist, with their nodes.
    """
    if not slot.feeds:
        return "connect it or give it a value"
    feed = slot.feeds[-1]
    source = lost.get((feed.node, feed.slot))
    if source is None or slot.multi:
        return ""
    found = f"its edge comes from output {feed.slot!r} of node {source.id!r}"
    return f"{found}, whose outputs are {quoted_names(list(source.outputs))}; connect one of these, or give it a value"


def _gives_nothing(wire: Wire) -> bool:
    """Does the edge leave an output that its node does not have?"""
    return wire.output is None and not wire.source.takes_any_slot


def _missing(node: ResolvedNode, what: str, remedy: str) -> str:
    return f"node {node.id!r} ({node.definition.full_type}) needs a value for {what}; {remedy}"


def mode_problems(node: ResolvedNode) -> list[Problem]:
    """A mode that the node type does not have; only a warning where its default mode steps in."""
    key, modes = node.definition.mode_config_key, node.definition.modes
    chosen = node.node.config.get(key) if key else None
    if chosen in (None, "") or (isinstance(chosen, str) and chosen in modes):
        return []
    shown = repr(chosen) if isinstance(chosen, str) else kind(chosen)
    message = f"node {node.id!r} has no mode {shown}; modes are {quoted_names(list(modes))}"
    if node.mode is None:
        return [Problem("unknown_mode", message, node=node.id, slot=key)]
    return [Problem("unknown_mode", f"{message}; it runs as {node.mode.id!r}", "warning", node=node.id, slot=key)]


def config_problems(node: ResolvedNode) -> list[Problem]:
    problems = []
    for key, slot in node.config_schema.items():
        value = node.config.get(key, UNDEFINED)
        if value is UNDEFINED:
            if slot.is_required(node.config) and not node.node.bypassed and key != node.definition.mode_config_key:
                message = _missing(node, f"setting {key!r}", "set it")
                problems.append(Problem("missing_input", message, node=node.id, slot=key))
        elif key != node.definition.mode_config_key and (complaint := value_complaint(value, slot)):
            message = f"node {node.id!r}: setting {key!r} {complaint}"
            problems.append(Problem("invalid_config", message, node=node.id, slot=key))
    return problems


def override_problems(node: DocumentNode) -> list[Problem]:
    """The values of `retry`, `timeoutSeconds`, `totalTimeoutSeconds` and `queue`."""
    found = [("invalid_retry", f"'retry.{key}' {complaint}") for key, complaint in _retry_complaints(node.retry or {})]
    times = {"timeoutSeconds": node.timeout_seconds, "totalTimeoutSeconds": node.total_timeout_seconds}
    for key, seconds in times.items():
        if seconds is not None and not 0 < seconds <= MAX_TIMEOUT_S:
            found.append(("invalid_timeout", f"{key!r} must be over 0 and at most {MAX_TIMEOUT_S}"))
    if node.queue is not None and not (node.queue.strip() and len(node.queue) <= 200 and node.queue.isprintable()):
        found.append(("invalid_queue", "'queue' must be a name of at most 200 characters"))
    return [Problem(code, f"node {node.id!r}: {message}", node=node.id) for code, message in found]


def _within(low: float, high: float, whole: bool = False) -> tuple[str, Callable[[Any], bool]]:
    number = "a whole number" if whole else "a number"
    expected = f"must be {number} from {low:g} to {high:g}"
    return expected, lambda value: is_number(value) and low <= value <= high and (not whole or int(value) == value)


_RETRY_TESTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "maximumAttempts": _within(1, MAX_ATTEMPTS, whole=True),
    "initialSeconds": _within(0.001, MAX_TIMEOUT_S),
    "backoff": _within(1, 100),
    "maximumSeconds": _within(0.001, MAX_TIMEOUT_S),
    "nonRetryable": (
        "must be a list of error codes",
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
}


def _retry_complaints(retry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in retry.items():
        if key not in _RETRY_TESTS:
            yield key, f"is unknown{_nearest(key, _RETRY_TESTS, 'known')}"
        elif value is not None and not _RETRY_TESTS[key][1](value):
            yield key, _RETRY_TESTS[key][0]


def setting_warnings(node: ResolvedNode) -> list[Problem]:
    """Settings that the node type does not have in any mode; they are left out."""
    if node.node.config.keys() <= node.config.keys():
        return []
    of_modes = [key for mode in node.definition.modes.values() for key in mode.config_schema]
    known = dict.fromkeys((*node.config, *node.definition.config_schema, *of_modes))
    return [
        Problem(
            "unknown_setting",
            f"node {node.id!r} has no setting {key!r}{_place_of(node, key, known)}; its value is left out",
            level="warning",
            node=node.id,
            slot=key,
        )
        for key in node.node.config
        if key not in known
    ]


def _place_of(node: ResolvedNode, key: str, settings: Iterable[str]) -> str:
    """Where what somebody took for a setting belongs."""
    if key in node.inputs:
        return "; it is an input: put it into 'inputValues'"
    return _nearest(key, settings, "settings")


def _nearest(key: str, known: Iterable[str], what: str) -> str:
    """What somebody who typed `key` may have meant."""
    names = list(known)
    near = nearest(key, names)
    return f"; did you mean {near!r}?" if near else f"; {what} are {quoted_names(names)}"


def preset_warnings(node: ResolvedNode) -> list[Problem]:
    """Values for slots that the node type does not have in any mode; they are left out."""
    if node.takes_any_slot or node.node.inputs.keys() <= node.inputs.keys():
        return []
    of_modes = {key for mode in node.definition.modes.values() for key in mode.inputs}
    known = {*node.inputs, *node.definition.inputs, *of_modes}
    return [_unknown_input(node, key, None) for key in node.node.inputs if key not in known]


def order_warnings(node: ResolvedNode, wires: Iterable[Wire]) -> list[Problem]:
    """Edge ids in a multi slot's order that are not edges into that slot; they are ignored."""
    if not node.node.orders:
        return []
    here = {(item.slot, item.edge.id) for item in wires}
    lost = [(slot, edge) for slot, order in node.node.orders.items() for edge in order if (slot, edge) not in here]
    return [
        Problem(
            "unknown_order_id",
            f"node {node.id!r}: the order of input {slot!r} names {edge!r}, which is no edge into it; it is ignored",
            level="warning",
            node=node.id,
            slot=slot,
            edge=edge,
        )
        for slot, edge in lost
    ]


# --- one edge -------------------------------------------------------------------------------------------------------


def wire_problems(wire: Wire) -> list[Problem]:
    problems = _unknown_slots(wire)
    if wire.output is None or wire.input is None:
        return problems
    if conversion(wire.output, wire.input) is None:
        return [*problems, _mismatch(wire, wire.output, wire.input)]
    return problems


def _mismatch(wire: Wire, output: Output, input: Input) -> Problem:
    if output.is_stream != input.is_stream and wire.elements_fit:
        message = f"{_ends(wire)}: a stream of {output.data_flow_type} cannot become one {input.data_flow_type}"
        return _of_edge("stream_mismatch", f"{message}; connect an output that is no stream", wire)
    message = f"{_ends(wire)}: {_type(output)} does not fit {_type(input)}; connect slots of fitting types"
    problem = _of_edge("type_mismatch", message, wire)
    return replace(problem, level="warning") if wire.is_forgiven else problem


def _unknown_slots(wire: Wire) -> list[Problem]:
    problems = []
    if _gives_nothing(wire):
        found = f"node {wire.source.id!r} has no output {wire.edge.source_handle!r}"
        message = f"edge {wire.edge.id!r}: {found}; outputs are {quoted_names(list(wire.source.outputs))}"
        problems.append(Problem(
            "unknown_slot", message, level="warning",
            node=wire.source.id, slot=wire.edge.source_handle, edge=wire.edge.id,
        ))  # fmt: skip
    if wire.input is None and not wire.target.takes_any_slot:
        problems.append(_unknown_input(wire.target, wire.slot, wire.edge.id))
    return problems


def _unknown_input(node: ResolvedNode, key: str, edge: str | None) -> Problem:
    if edge:
        message = f"edge {edge!r}: node {node.id!r} has no input {key!r}; inputs are {quoted_names(list(node.inputs))}"
    else:
        is_setting = key in node.config or key in node.definition.config_schema
        hint = "; it is a setting: put it into 'configValues'" if is_setting else _nearest(key, node.inputs, "inputs")
        message = f"node {node.id!r} has no input {key!r}{hint}; its value is left out"
    return Problem("unknown_slot", message, level="warning", node=node.id, slot=key, edge=edge)


def _of_edge(code: str, message: str, wire: Wire) -> Problem:
    return Problem(code, message, node=wire.target.id, slot=wire.slot, edge=wire.edge.id)


def _ends(wire: Wire) -> str:
    source = f"output {wire.edge.source_handle!r} of node {wire.source.id!r}"
    return f"edge {wire.edge.id!r} from {source} to input {wire.slot!r} of node {wire.target.id!r}"


def _type(slot: Input | Output) -> str:
    return f"{'a stream of ' if slot.is_stream else ''}{slot.data_flow_type}"


def mapping_warnings(document: WorkflowDocument, nodes: Mapping[str, ResolvedNode]) -> list[Problem]:
    """Workflow outputs that come from nowhere; they are left out."""
    problems = []
    for key, slot in document.interface_outputs.items():
        if key not in document.output_interface_mappings and not slot.is_hollow:
            message = f"nothing feeds the workflow's output {key!r}; it is left out"
            problems.append(Problem("unfed_output", message, level="warning", slot=key))
    for key, mapping in document.output_interface_mappings.items():
        source = nodes.get(mapping.node)
        if source is not None and (mapping.slot in (*source.outputs, ERROR_SLOT) or source.takes_any_slot):
            continue
        known = quoted_names(list(source.outputs)) if source else "none: there is no such node"
        place = f"output {mapping.slot!r} of node {mapping.node!r}"
        message = f"the workflow's output {key!r} comes from {place}; outputs there are {known}; it is left out"
        problems.append(Problem("unknown_interface_source", message, level="warning", node=mapping.node, slot=key))
    return problems
