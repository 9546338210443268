from __future__ import annotations

import math
from typing import Any

import pytest

from innkeeper.nodes.catalogue.checks import check_definition
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.math.math_operation import definition
from innkeeper.nodes.testing import run_node


def compute(mode: str, **inputs: Any) -> Any:
    # The compiler gives 0 to numeric slots without a value.
    slots = definition.modes[mode].inputs
    empty = {key: 0 for key, slot in slots.items() if "default" not in slot.config}
    return run_node(definition, {**empty, **inputs}, config={"operationMode": mode})["result"]


RESULTS: list[tuple[str, dict[str, Any], float]] = [
    ("add", {"a": 2, "b": 3.5}, 5.5),
    ("subtract", {"a": 2, "b": 3.5}, -1.5),
    ("multiply", {"a": -2, "b": 3.5}, -7),
    ("multiply_add", {"val1": 2, "val2": 3, "val3": 4}, 10),
    ("divide", {"a": 7, "b": 2}, 3.5),
    ("divide", {"a": 0, "b": 2}, 0),
    ("power", {"base": 2, "exponent": 10}, 1024),
    ("power", {"base": 3}, 9),
    ("power", {"base": 3, "exponent": 0}, 1),
    ("power", {"base": 3, "exponent": "0"}, 1),
    ("power", {"base": 3, "exponent": None}, 9),
    ("power", {"base": 3, "exponent": ""}, 9),
    ("logarithm", {"value": 100, "base": 10}, 2),
    ("logarithm", {"value": 5}, 1.6094379124341003),
    ("logarithm", {}, 0),
    ("sqrt", {"value": 2}, 1.4142135623730951),
    ("sqrt", {}, 0),
    ("inverse_sqrt", {"value": 4}, 0.5),
    ("absolute", {"value": -3.25}, 3.25),
    ("exp", {"value": 1}, math.e),
    ("min", {"a": 2, "b": -3}, -3),
    ("max", {"a": 2, "b": -3}, 2),
    ("lessThan", {"a": 1, "b": 2}, 1),
    ("lessThan", {"a": 2, "b": 2}, 0),
    ("greaterThan", {"a": 2, "b": 1}, 1),
    ("greaterThan", {"a": 2, "b": 2}, 0),
    ("sign", {"value": -9}, -1),
    ("sign", {"value": 0}, 0),
    ("sign", {"value": 0.1}, 1),
    ("round", {"value": 2.5}, 3),
    ("round", {"value": -2.5}, -2),
    ("round", {"value": 0.49999999999999994}, 0),
    ("round", {"value": 4503599627370498}, 4503599627370498),
    ("floor", {"value": -1.2}, -2),
    ("ceil", {"value": -1.2}, -1),
    ("truncate", {"value": -1.9}, -1),
    ("truncate", {"value": 1.9}, 1),
    ("fraction", {"value": 3.75}, 0.75),
    ("fraction", {"value": -2.25}, 0.75),
    ("fraction", {"value": -2}, 0),
    ("modulo", {"a": -7, "b": 3}, -1),
    ("modulo", {"a": 7, "b": -3}, 1),
    ("sin", {"value": 1}, 0.8414709848078965),
    ("cos", {"value": 1}, 0.5403023058681398),
    ("tan", {"value": 1}, 1.5574077246549023),
    ("asin", {"value": 0.5}, 0.5235987755982989),
    ("acos", {"value": 0.5}, 1.0471975511965979),
    ("atan", {"value": 0.5}, 0.4636476090008061),
    ("atan2", {"y": 1, "x": -1}, 2.356194490192345),
    ("sinh", {"value": 1}, 1.1752011936438014),
    ("cosh", {"value": 1}, 1.5430806348152437),
    ("tanh", {"value": 1000}, 1),
    ("to_radians", {"degrees": 180}, math.pi),
    ("to_degrees", {"radians": 1}, 57.29577951308232),
]


@pytest.mark.parametrize(("mode", "inputs", "result"), RESULTS)
def test_each_mode_computes_its_function(mode: str, inputs: dict[str, Any], result: float) -> None:
    assert compute(mode, **inputs) == pytest.approx(result, rel=1e-12, abs=0)


def test_there_are_34_modes_and_each_is_tried() -> None:
    assert len(definition.modes) == 34
    assert {mode for mode, _, _ in RESULTS} == set(definition.modes)


@pytest.mark.parametrize(
    ("mode", "inputs", "complaint"),
    [
        ("divide", {"a": 1, "b": 0}, "'b' is 0"),
        ("modulo", {"a": 1}, "'b' is 0"),
        ("sqrt", {"value": -1}, "no square root"),
        ("inverse_sqrt", {"value": 0}, "over 0"),
        ("logarithm", {"value": 0}, "'value' must be over 0"),
        ("logarithm", {"value": -5}, "'value' must be over 0"),
        ("logarithm", {"value": 5, "base": 0}, "'base' must be over 0"),
        ("logarithm", {"value": 5, "base": 1}, "'base' must be over 0 and not 1"),
        ("power", {"base": -8, "exponent": 1 / 3}, "not defined"),
        ("power", {"base": 0, "exponent": -1}, "not defined"),
        ("asin", {"value": 2}, "not defined"),
        ("sin", {"value": "Infinity"}, "not defined"),
        ("exp", {"value": 1000}, "too large"),
        ("sinh", {"value": -1000}, "too large"),
        ("cosh", {"value": 1000}, "too large"),
        ("power", {"base": -10, "exponent": 401}, "too large"),
        ("multiply", {"a": 1e308, "b": 10}, "too large"),
        ("floor", {"value": "Infinity"}, "too large"),
        ("add", {"a": 10**400}, "too large"),
        ("add", {"a": "abc"}, "'a' is not a number, found text"),
        ("lessThan", {"b": [1, 2]}, "'b' is not a number, found a list"),
        ("min", {"a": {}}, "'a' is not a number, found an object"),
        ("add", {"a": float("nan")}, "'a' is not a number, found NaN"),
    ],
)
def test_no_number_and_no_finite_result_fail_the_node(mode: str, inputs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(NodeInputError, match=complaint):
        compute(mode, **inputs)


@pytest.mark.parametrize(
    ("mode", "value", "result"),
    [("absolute", 5, 1), ("truncate", -5, 0), ("absolute", 0.25, 0.25), ("exp", 1000, 1), ("sinh", -1000, 0)],
)
def test_clamp_limits_to_0_and_1(mode: str, value: float, result: float) -> None:
    assert compute(mode, value=value, clamp=True) == result


def test_nothing_counts_as_0_and_text_is_read() -> None:
    assert compute("add", a=None, b="0x10") == 16
    assert compute("add", a=True, b=" 3 ") == 4


@pytest.mark.parametrize("config", [{}, {"operationMode": ""}, {"operationMode": "frobnicate"}, {"operationMode": 3}])
def test_a_mode_that_is_not_there_adds(config: dict[str, Any]) -> None:
    assert run_node(definition, {"a": 2, "b": 3}, config=config) == {"result": 5}


def test_whole_results_have_no_point() -> None:
    assert repr(compute("divide", a=6, b=3)) == "2"


def test_the_definition_lists_its_modes_and_their_slots() -> None:
    check_definition(definition)
    data = definition.to_json()
    assert data["category"] == "数学"
    assert data["defaultModeId"] == "add"
    suggestions = data["configSchema"]["operationMode"]["config"]["suggestions"]
    assert [entry["value"] for entry in suggestions] == list(data["modes"])
    assert list(data["modes"]["multiply_add"]["inputs"]) == ["val1", "val2", "val3", "clamp"]
    assert data["modes"]["atan2"]["bypassBehavior"]["passThrough"] == {"result": "y"}
    for mode in definition.modes.values():
        numbers = [slot for key, slot in mode.inputs.items() if key != "clamp"]
        assert {(slot.data_flow_type, slot.required) for slot in numbers} == {("FLOAT", True)}
        assert mode.outputs.keys() == {"result"}
