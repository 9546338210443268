"""The context of a node: its warnings."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.node import MAX_WARNING_CHARS, MAX_WARNINGS, Inputs, NodeContext
from innkeeper.nodes.testing import memory_services, run_node


def context() -> NodeContext:
    return NodeContext("run", "node", memory_services())


def test_warnings_are_kept_in_order_and_once() -> None:
    told = context()
    told.warn("not_utf8", "byte 3 cannot be read")
    told.warn("cut_off", "the last line broke off")
    told.warn("not_utf8", "byte 3 cannot be read")
    assert told.warnings == [
        {"code": "not_utf8", "message": "byte 3 cannot be read"},
        {"code": "cut_off", "message": "the last line broke off"},
    ]


def test_one_context_does_not_see_the_warnings_of_another() -> None:
    context().warn("a", "b")
    assert context().warnings == []


def test_only_so_many_warnings_of_such_a_length_are_kept() -> None:
    told = context()
    for number in range(MAX_WARNINGS + 5):
        told.warn("many", f"{number} {'x' * 1000}")
    assert len(told.warnings) == MAX_WARNINGS == 20
    assert {len(warning["message"]) for warning in told.warnings} == {MAX_WARNING_CHARS} == {500}


class Broken:
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("Not UTF-8!", "a\ud800b", {"code": "not_utf_8", "message": "a\ufffdb"}),
        ("x" * 100, "", {"code": "x" * 64, "message": ""}),
        ("", None, {"code": "warning", "message": "None"}),
        (None, 5, {"code": "none", "message": "5"}),
        ("\ud800", Broken(), {"code": "warning", "message": "Broken"}),
    ],
)
def test_odd_warnings_become_proper_ones(code: Any, message: Any, expected: dict[str, str]) -> None:
    told = context()
    told.warn(code, message)
    assert told.warnings == [expected]


def test_run_node_gives_the_warnings_to_tests() -> None:
    async def warns(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
        context.warn("odd", "something is odd")
        return {"out": 1}

    warnings: list[dict[str, str]] = []
    definition = NodeDefinition("Toy", "Test", "Toy", "A toy.", outputs={"out": Output("INTEGER")}, execute=warns)
    assert run_node(definition, {}, warnings=warnings) == {"out": 1}
    assert warnings == [{"code": "odd", "message": "something is odd"}]
