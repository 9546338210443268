"""Nodes whose mode falls back to their type's default, and modes with a bypass behaviour of their own."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import BypassBehavior, Input, Mode, Output
from innkeeper.workflows.engine.node_values import bypass_outputs
from tests.workflows.toy_graphs import compiled, node, places, problems, toy

NUMBER = Output("FLOAT")
SUM = Mode(
    "sum",
    "Sum",
    {"a": Input("FLOAT", config={"default": 1}), "b": Input("FLOAT")},
    {"result": NUMBER},
    bypass_behavior=BypassBehavior({"result": "a"}),
)
ROOT = Mode("root", "Root", {"value": Input("FLOAT", required=True)}, {"result": NUMBER})
CALC = toy(
    "Calc",
    SUM.inputs,
    SUM.outputs,
    config_schema={"op": Input("STRING", required=True)},
    modes={"sum": SUM, "root": ROOT},
    default_mode_id="sum",
    mode_config_key="op",
    falls_back_to_default_mode=True,
    bypass_behavior="mute",
)


@pytest.mark.parametrize(
    ("config", "warnings"),
    [
        ({}, []),
        ({"op": ""}, []),
        ({"op": "sum"}, []),
        ({"op": "div"}, [("unknown_mode", "n", "op", None)]),
        ({"op": 3}, [("unknown_mode", "n", "op", None)]),
    ],
)
def test_a_mode_that_is_not_there_is_the_default_one(config: dict[str, Any], warnings: list[Any]) -> None:
    result = compiled([node("n", "Calc", {"b": 2}, configValues=config)], types=(CALC,))
    (planned,) = result.plan.nodes
    assert (planned.mode, list(planned.inputs)) == ("sum", ["a", "b"])
    assert places(result.warnings) == warnings


def test_the_warning_says_which_modes_there_are_and_which_runs() -> None:
    (warning,) = problems([node("n", "Calc", configValues={"op": "div"})], types=(CALC,))
    assert warning.message == "node 'n' has no mode 'div'; modes are 'sum', 'root'; it runs as 'sum'"


def test_a_mode_that_is_there_has_its_own_slots() -> None:
    nodes = [node("n", "Calc", configValues={"op": "root"})]
    assert places(problems(nodes, types=(CALC,))) == [("missing_input", "n", "value", None)]


def test_a_mode_says_what_it_gives_when_bypassed_and_else_its_type_does() -> None:
    nodes = [
        node("s", "Calc", {"a": 5, "b": 7}, bypassed=True),
        node("r", "Calc", {"value": 4}, bypassed=True, configValues={"op": "root"}),
    ]
    found = {planned.id: planned.bypass or {} for planned in compiled(nodes, types=(CALC,)).plan.nodes}
    assert bypass_outputs(found["s"], {"a": 5, "b": 7}) == {"result": 5}  # type: ignore[index]
    assert bypass_outputs(found["r"], {"value": 4}) == {}  # type: ignore[index]
