"""What can be wrong with nodes that decide, wait or handle failures, as far as it is known before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from innkeeper.nodes.definition import DATA_FLOW_TYPES
from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.resolve import ResolvedNode, Wire
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.document.cases import OPERATORS, unknown_operator
from innkeeper.workflows.document.json_reader import kind
from innkeeper.workflows.document.slot_values import is_number
from innkeeper.workflows.document.times import moment_of, seconds_of
from innkeeper.workflows.plan import ERROR_SLOT, SlotKey

MAX_CASES = 100
MAX_FIELDS = 100
MAX_NAME_CHARS = 200
TOGETHER = frozenset({"answer"})
"""Outputs that come beside the one that a node chose."""

Complaint = tuple[str, str]
"""Slot or setting, and what is wrong with it."""


def control_problems(node: ResolvedNode, inputs: PlannedInputs, wires: Iterable[Wire]) -> list[Problem]:
    """Problems of one node and of the edges into it."""
    wires = list(wires)
    check = _CHECKS.get(node.definition.full_type)
    complaints = list(check(node, inputs)) if check and not node.node.bypassed else []
    found = [_problem(node, slot, text) for slot, text in complaints]
    for item in wires:
        found += _edge_problems(item)
    return found + _never_runs(node, wires)


def _problem(node: ResolvedNode, slot: str, text: str) -> Problem:
    code = "invalid_config" if slot in node.config_schema and slot not in node.node.inputs else "invalid_input"
    return Problem(code, f"node {node.id!r}: {slot!r} {text}", node=node.id, slot=slot)


# --- edges ----------------------------------------------------------------------------------------------------------


def _edge_problems(item: Wire) -> list[Problem]:
    source, slot = item.source, item.edge.source_handle
    if slot == ERROR_SLOT and (source.definition.interface_values or source.definition.interface_sink):
        message = f"node {source.id!r} ({source.definition.full_type}) does not fail, so it has no {ERROR_SLOT!r}"
        return [_of_edge("no_error_output", f"{message}; take the edge away", item)]
    if slot and item.output is None and source.definition.branches:
        known = ", ".join(map(repr, source.outputs))
        message = f"edge {item.edge.id!r}: node {source.id!r} has no way {slot!r}; its ways are {known}"
        return [_of_edge("unknown_way", message, item)]
    return []


def _of_edge(code: str, message: str, item: Wire) -> Problem:
    return Problem(code, message, node=item.source.id, slot=item.edge.source_handle, edge=item.edge.id)


def _never_runs(node: ResolvedNode, wires: list[Wire]) -> list[Problem]:
    """A node behind two outputs of one branch waits for both, of which one never has a value."""
    if node.definition.joins or node.definition.interface_sink:
        return []
    taken: dict[str, dict[str, None]] = {}
    for item in wires:
        if item.source.definition.branches and not item.source.node.bypassed and item.edge.source_handle:
            taken.setdefault(item.source.id, {})[item.edge.source_handle] = None
    return [
        Problem(
            "never_runs",
            f"node {node.id!r} hangs on {', '.join(map(repr, slots))} of node {source!r}, of which only one can come, "
            "so it never runs; bring the ways together with core:Merge",
            level="warning",
            node=node.id,
        )
        for source, slots in taken.items()
        if len(slots.keys() - TOGETHER) > 1
    ]


# --- single node types ----------------------------------------------------------------------------------------------


def _switch(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    cases = node.config.get("cases")
    if not isinstance(cases, list | tuple):
        return
    if len(cases) > MAX_CASES:
        yield "cases", f"has {len(cases)} cases; the limit is {MAX_CASES}"
    for number, case in enumerate(cases):
        if unknown_operator(case):
            yield "cases", f"case {number} has the operator {_shown(case['operator'])}; operators are {_OPERATORS}"


_OPERATORS = ", ".join(OPERATORS)


def _shown(value: Any) -> str:
    return repr(value[:50]) if isinstance(value, str) else kind(value)


def _merge(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    for key, slot in inputs.items():
        if not slot.feeds and slot.has_value and slot.value in ([], ()):
            yield key, "is an empty list; connect it or give it a value"


def _approval(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    form = node.config.get("form")
    if not isinstance(form, list | tuple):
        return
    if len(form) > MAX_FIELDS:
        yield "form", f"has {len(form)} fields; the limit is {MAX_FIELDS}"
    seen: set[str] = set()
    for number, field in enumerate(form[:MAX_FIELDS]):
        complaint = _field_complaint(field)
        if complaint:
            yield "form", f"field {number} {complaint}"
        elif field["key"] in seen:
            yield "form", f"has two fields {field['key']!r}; give each a key of its own"
        else:
            seen.add(field["key"])


def _field_complaint(field: Any) -> str:
    """What keeps an entry of a form from being a slot; "" when nothing does."""
    if not isinstance(field, Mapping):
        return f"must be an object with 'key' and 'dataFlowType', found {kind(field)}"
    key, type_ = field.get("key"), field.get("dataFlowType")
    if not (isinstance(key, str) and key.strip()) or len(key) > MAX_NAME_CHARS:
        return f"needs a 'key', a text of at most {MAX_NAME_CHARS} characters"
    if type_ not in DATA_FLOW_TYPES:
        return f"({key!r}) needs a 'dataFlowType'; types are {', '.join(DATA_FLOW_TYPES)}"
    wrong = [name for name, fits in _FIELD_TESTS.items() if field.get(name) is not None and not fits(field[name])]
    return f"({key!r}) has an unfit {wrong[0]!r}" if wrong else ""


def _is_slot_config(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("suggestions") or [], list | tuple):
        return False
    return all(value.get(bound) is None or is_number(value[bound]) for bound in ("min", "max"))


_FIELD_TESTS: dict[str, Callable[[Any], bool]] = {
    "required": lambda value: isinstance(value, bool),
    "config": _is_slot_config,
    "matchCategories": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "displayName": lambda value: isinstance(value, str),
}


def _event(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    name = node.config.get("name")
    if isinstance(name, str) and not name.strip():
        yield "name", "must be the name of an event"
    elif isinstance(name, str) and len(name) > MAX_NAME_CHARS:
        yield "name", f"has {len(name)} characters; the limit is {MAX_NAME_CHARS}"
    typed = inputs.get(SlotKey("filter"))
    wanted = typed.value if typed and typed.has_value and not typed.feeds else node.config.get("filter")
    if typed and typed.has_value and not isinstance(wanted, Mapping):
        yield "filter", f"must be an object, found {kind(wanted)}"
    for key, case in wanted.items() if isinstance(wanted, Mapping) else ():
        if unknown_operator(case):
            yield "filter", f"has an unknown operator for {str(key)[:50]!r}; operators are {_OPERATORS}"


def _each(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    yield from _must_be("items", list | tuple, "a list", inputs)


def _loop(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
    yield from _must_be("state", Mapping, "an object", inputs)


def _must_be(key: str, expected: Any, words: str, inputs: PlannedInputs) -> Iterable[Complaint]:
    slot = inputs.get(SlotKey(key))
    if slot is not None and slot.has_value and not slot.feeds and not isinstance(slot.value, expected):
        yield key, f"must be {words}, found {kind(slot.value)}"


def _reads(key: str, read: Callable[[Any], float]) -> Callable[[ResolvedNode, PlannedInputs], Iterable[Complaint]]:
    """Reads the value typed into a slot as the wait itself will."""

    def check(node: ResolvedNode, inputs: PlannedInputs) -> Iterable[Complaint]:
        slot = inputs.get(SlotKey(key))
        if slot is None or slot.feeds or not slot.has_value:
            return
        try:
            read(slot.value)
        except ValueError as wrong:
            yield key, str(wrong)

    return check


_CHECKS: dict[str, Callable[[ResolvedNode, PlannedInputs], Iterable[Complaint]]] = {
    "core:Switch": _switch,
    "core:Merge": _merge,
    "core:Approval": _approval,
    "core:WaitForEvent": _event,
    "core:ForEach": _each,
    "core:Loop": _loop,
    "core:Delay": _reads("seconds", seconds_of),
    "core:WaitUntil": _reads("time", moment_of),
}
