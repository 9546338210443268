"""The graph shapes whose histories are kept: each exercises another path of the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.workflows.plan import (
    BypassSource,
    Feed,
    InterfaceOutput,
    PlannedInput,
    PlannedNode,
    PlannedOutput,
    RunPlan,
)
from tests.workflows.toys import node

SHAPES: Mapping[str, tuple[PlannedNode, ...]] = {
    "chain": (node("a"), node("b", "echo", "a"), node("c", "echo", "b")),
    "diamond": (node("a"), node("l", "echo", "a"), node("r", "echo", "a"), node("j", "echo", "l", "r")),
    "error_skips": (node("bad", "fail"), node("child", "echo", "bad"), node("free")),
    "continue_on_error": (node("bad", "fail", continue_on_error=True), node("child", "echo", "bad")),
    "bypass": (node("a"), node("by", "fail", "a", bypass={"out": BypassSource(("in",))}), node("z", "echo", "by")),  # type: ignore[arg-type]
    "interrupted": (node("a"), node("long", "sleep", "a"), node("z", "echo", "long")),
    "wide": tuple(node(f"n{index}") for index in range(110)),
    "empty": (),
    "segment": tuple(
        node(f"n{index}", "echo", *([f"n{index - 1}"] if index else []), placement="inline") for index in range(60)
    ),
    "segments_beside": (
        node("a", placement="inline"),
        node("x", "echo", "a"),
        node("b", "echo", "a", placement="inline"),
        node("bad", "fail", "b", placement="inline"),
        node("lost", "echo", "bad", placement="inline"),
        node("j", "echo", "x", "b", placement="inline"),
    ),
    "seeded": (node("a"), node("b", "echo", "a", placement="inline"), node("c", "echo", "b")),
}
INTERFACE = {"out": InterfaceOutput("c", "out")}  # type: ignore[arg-type]


def control(id: str, type: str, config: Mapping[str, Any] | None = None, /, **fields: Any) -> PlannedNode:
    """A control node. `inputs`: slot to a feed (`node.slot`) or a value."""
    inputs = {}
    for key, given in fields.pop("inputs", {}).items():
        feeds = tuple(Feed(*source.split(".")) for source in given) if isinstance(given, tuple) else ()
        inputs[key] = PlannedInput(feeds, None if feeds else given, not feeds)
    more = {"placement": "workflow", "outputs": {"out": PlannedOutput()}, "config": config or {}, "inputs": inputs}
    return PlannedNode(id, f"core:{type}", **{**more, **fields})  # type: ignore[arg-type]


def after(id: str, source: str, slot: str, **fields: Any) -> PlannedNode:
    """An echo of one output of a node that may leave it dead."""
    inputs = {"value": PlannedInput((Feed(source, slot),))}  # type: ignore[arg-type]
    return node(id, "echo", inputs=inputs, after=(source,), gates={source: (slot,)}, **fields)


def _gate(key: str) -> PlannedNode:
    return control("in", "GroupInput", outputs={key: PlannedOutput()}, interface_values=True)


def _inner(*nodes: PlannedNode, key: str = "item", out: str, **more: Any) -> dict[str, Any]:
    outputs = {name: InterfaceOutput(*source.split(".")) for name, source in {"out": out, **more}.items()}  # type: ignore[arg-type]
    return RunPlan((_gate(key), *nodes), interface_outputs=outputs, interface_keys=(key,)).pack()


_WORK = _inner(node("w", "echo", inputs={"value": PlannedInput((Feed("in", "item"),))}, after=("in",)), out="w.out")  # type: ignore[arg-type]
_AROUND = _inner(
    control("g", "NodeGroup", inputs={"item": ("in.item",)}, after=("in",), group="work"), out="g.out", key="item"
)
_BELOW = {"work": _WORK, "around": _AROUND}

PLANS: Mapping[str, RunPlan] = {
    "group": RunPlan(
        (node("a"), control("g", "NodeGroup", inputs={"item": ("a.out",)}, after=("a",), group="around")), groups=_BELOW
    ),
    "branch": RunPlan(
        (
            control("b", "Branch", inputs={"value": 1, "condition": "no"}),
            after("yes", "b", "true"),
            after("no", "b", "false"),
            control(
                "m", "Merge", inputs={"values": ("yes.out", "no.out")}, after=("yes", "no"), joins=True,
                gates={"yes": ("out",), "no": ("out",)},
            ),
        )
    ),
    "caught": RunPlan((node("bad", "fail", catches=True), after("handler", "bad", "$error"), after("z", "bad", "out"))),
    "delay": RunPlan((control("d", "Delay", inputs={"seconds": 0.2, "value": "x"}), node("z", "echo", "d"))),
    "for_each": RunPlan(
        (control("each", "ForEach", {"concurrency": 4}, inputs={"items": list(range(40))}, group="work"),),
        groups=_BELOW,
    ),
    "loop": RunPlan(
        (
            control(
                "loop", "Loop", {"conditionKey": "out", "maxIterations": 12, "onLimit": "stop"},
                inputs={"state": {"item": 1}}, group="work",
            ),
        ),
        groups=_BELOW,
    ),
}  # fmt: skip
"""Graphs with control nodes and graphs below. Histories of children are kept beside, `<shape>.<number>.json`."""
PLANS = {
    **PLANS,
    "approval": RunPlan(
        (control("ask", "Approval", inputs={"data": "x"}), after("yes", "ask", "approved", placement="inline"))
    ),
    "wait_for_event": RunPlan(
        (control("wait", "WaitForEvent", {"name": "paid"}), after("z", "wait", "data", placement="inline"))
    ),
}
PLANS = {
    **PLANS,
    "approval_with_form": RunPlan(
        (
            control("ask", "Approval", {"form": [{"key": "data", "required": True}]}, inputs={"data": "x"}),
            after("yes", "ask", "approved", placement="inline"),
        )
    ),
    "first_of_two": RunPlan(
        (
            control("fast", "Delay", inputs={"seconds": 0.2, "value": "x"}, spare=True),
            control("ask", "Approval", spare=True),
            control("slow", "Delay", inputs={"seconds": 3_600}, spare=True),
            control(
                "m", "Merge", inputs={"values": ("fast.value", "ask.approved", "slow.value")},
                after=("fast", "ask", "slow"), joins=True,
                gates={"fast": ("value",), "ask": ("approved",), "slow": ("value",)},
            ),
        )
    ),
}  # fmt: skip
"""Recorded after patches: an answer without a timer, and waits that are not needed any more."""
_BELOW = {
    "rests": _inner(
        node("w", "rest", inputs={"value": PlannedInput((Feed("in", "item"),))}, after=("in",)),
        out="w.out",  # type: ignore[arg-type]
    ),
    "spends": _inner(node("s", "spend", after=("in",)), out="s.out"),
}
PLANS = {
    **PLANS,
    "parked": RunPlan((node("a", "rest"), node("b", "echo", "a"))),
    "parked_items": RunPlan(
        (control("each", "ForEach", {"concurrency": 4}, inputs={"items": list(range(12))}, group="rests"),),
        groups={"rests": _BELOW["rests"]},
    ),
    "budget": RunPlan(
        (
            node("a", "spend"),
            node("b", "spend"),
            control("g", "NodeGroup", inputs={"item": 1}, group="spends"),
            node("z", "echo", "a", "b", "g"),
        ),
        groups={"spends": _BELOW["spends"]},
    ),
    "budget_stopped": RunPlan((node("a", "spend"), node("z", "echo", "a"))),
}
"""Nodes that wait for long, or for somebody who lets them spend more: their activities end, and begin anew."""
DRAINED = frozenset({"for_each", "loop", "parked_items"})
"""Recorded where the server suggests a new history early, so that they continue as new."""
