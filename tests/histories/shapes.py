"""The graph shapes whose histories are kept: each exercises another path of the interpreter."""

from __future__ import annotations

from collections.abc import Mapping

from tests.workflows.toys import node
from workflows.plan import BypassSource, InterfaceOutput, PlannedNode

SHAPES: Mapping[str, tuple[PlannedNode, ...]] = {
    "chain": (node("a"), node("b", "echo", "a"), node("c", "echo", "b")),
    "diamond": (node("a"), node("l", "echo", "a"), node("r", "echo", "a"), node("j", "echo", "l", "r")),
    "error_skips": (node("bad", "fail"), node("child", "echo", "bad"), node("free")),
    "continue_on_error": (node("bad", "fail", continue_on_error=True), node("child", "echo", "bad")),
    "bypass": (node("a"), node("by", "fail", "a", bypass={"out": BypassSource(("in",))}), node("z", "echo", "by")),  # type: ignore[arg-type]
    "interrupted": (node("a"), node("long", "sleep", "a"), node("z", "echo", "long")),
    "wide": tuple(node(f"n{index}") for index in range(110)),
    "empty": (),
}
INTERFACE = {"out": InterfaceOutput("c", "out")}  # type: ignore[arg-type]
