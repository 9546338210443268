"""What a bypassed node gives for each of its outputs, decided at compile time except for which inputs have a value."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import TYPED_EMPTY, BypassBehavior, Input, Output, compatible
from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.plan import BypassSource, SlotKey

EMPTY_STREAM = {"text": "", "chunks": 0}
Bypass = dict[SlotKey, BypassSource]


def plan_bypass(node: ResolvedNode, inputs: PlannedInputs) -> Bypass:
    """One source per output, by the definition's behaviour."""
    behaviour = node.bypass_behavior
    if behaviour == "mute":
        return {SlotKey(key): BypassSource(has_empty=False) for key in node.outputs}
    if isinstance(behaviour, BypassBehavior):
        return {SlotKey(key): _declared(node, behaviour, key, slot) for key, slot in node.outputs.items()}
    candidates = _candidates(node, inputs)
    return {SlotKey(key): _first_fitting(node, candidates, slot) for key, slot in node.outputs.items()}


def _declared(node: ResolvedNode, behaviour: BypassBehavior, key: str, slot: Output) -> BypassSource:
    if key in behaviour.without:
        return BypassSource(has_empty=False)
    chosen = behaviour.pass_through.get(key, behaviour.pass_through.get("*"))
    empty = behaviour.defaults[key] if key in behaviour.defaults else empty_value(slot)
    if chosen is None or chosen not in node.inputs:
        return BypassSource(empty=empty)
    if not passes(node.inputs[chosen], slot):
        return BypassSource(has_empty=False)
    return BypassSource(inputs=(SlotKey(chosen),), empty=empty, shared=True)


def _first_fitting(node: ResolvedNode, candidates: list[SlotKey], slot: Output) -> BypassSource:
    fitting = tuple(key for key in candidates if passes(node.inputs[key], slot))
    return BypassSource(inputs=fitting, empty=empty_value(slot))


def _candidates(node: ResolvedNode, inputs: PlannedInputs) -> list[SlotKey]:
    """Declared inputs that may have a value: connected ones, then typed-in values, then defaults."""
    present = [SlotKey(key) for key in node.inputs if key in inputs]
    connected = [key for key in present if inputs[key].feeds]
    typed = [key for key in present if not inputs[key].feeds and key in node.node.inputs]
    default = [key for key in present if not inputs[key].feeds and key not in node.node.inputs]
    return connected + typed + [key for key in default if inputs[key].has_value]


def passes(slot: Input, output: Output) -> bool:
    """May what arrives at an input leave by an output? The rule for edges, with equal stream flags."""
    if slot.is_stream != output.is_stream:
        return False
    arriving = Output(slot.data_flow_type, is_stream=slot.is_stream, match_categories=slot.match_categories)
    leaving = Input(output.data_flow_type, is_stream=output.is_stream, match_categories=output.match_categories)
    return compatible(arriving, leaving)


def empty_value(slot: Output) -> Any:
    return EMPTY_STREAM if slot.is_stream else TYPED_EMPTY.get(slot.data_flow_type)


def bypass_problems(node: ResolvedNode) -> list[Problem]:
    """A node that may not be bypassed, and pass-through rules that give nothing."""
    if not node.node.bypassed:
        return []
    if not node.definition.bypassable:
        message = f"node {node.id!r} of type {node.definition.full_type!r} cannot be bypassed; switch its bypass off"
        return [Problem("not_bypassable", message, node=node.id)]
    behaviour = node.bypass_behavior
    rules = behaviour.pass_through if isinstance(behaviour, BypassBehavior) else {}
    return [
        Problem(
            "bypass_mismatch",
            f"bypassed node {node.id!r}: input {source!r} does not fit output {key!r}, which will have no value",
            level="warning",
            node=node.id,
            slot=key,
        )
        for key, source in rules.items()
        if key in node.outputs and source in node.inputs and not passes(node.inputs[source], node.outputs[key])
    ]
