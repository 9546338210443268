"""Control nodes that decide at once: values in, outputs and the branches that are not taken out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.nodes.call import is_blob
from innkeeper.nodes.feeds import Outputs, feed_value
from innkeeper.workflows.document.cases import fits, is_true
from innkeeper.workflows.engine.scheduler import NOT_TAKEN
from innkeeper.workflows.plan import UNDEFINED, PlannedNode


@dataclass(frozen=True)
class NodeDecision:
    """What a control node gave: outputs, and outputs that will never come, with the reason."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    dead: tuple[str, ...] = ()
    reason: str = NOT_TAKEN


def branch(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> NodeDecision:
    taken, other = ("true", "false") if is_true(inputs.get("condition")) else ("false", "true")
    return NodeDecision({taken: inputs.get("value")}, (other,))


def switch(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> NodeDecision:
    cases = config.get("cases") or []
    names = [*(f"case_{index}" for index in range(len(cases))), "default"]
    value = inputs.get("value")
    taken = next((index for index, case in enumerate(cases) if fits(value, case)), len(cases))
    return NodeDecision({names[taken]: value}, tuple(name for name in names if name != names[taken]))


def merge(node: PlannedNode, inputs: Mapping[str, Any], outputs: Outputs) -> NodeDecision:
    """The value of the first feed, in their order, that has given one; without feeds the first typed-in value."""
    for feed in (feed for slot in node.inputs.values() for feed in slot.feeds):
        value = feed_value(feed, outputs)
        items = value if feed.convert == "spread" and isinstance(value, list) else [value]
        if items and items[0] is not UNDEFINED:
            return NodeDecision({"value": items[0]})
    typed = inputs.get("values")
    return NodeDecision({"value": typed[0] if isinstance(typed, list) and typed else typed})


DECISIONS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], NodeDecision]] = {
    "core:Branch": branch,
    "core:Switch": switch,
}


def must_load(node: PlannedNode, inputs: Mapping[str, Any]) -> bool:
    """Does the decision read a value that is stored apart?"""
    return node.type == "core:Switch" and is_blob(inputs.get("value"))
