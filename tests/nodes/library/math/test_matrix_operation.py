from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.catalogue.checks import check_definition
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.math.matrices import MAX_ELEMENTS
from innkeeper.nodes.library.math.matrix_operation import definition
from innkeeper.nodes.testing import run_node
from tests.effort import examples

HILBERT = [[1 / (row + column + 1) for column in range(12)] for row in range(12)]


def compute(mode: str, **inputs: Any) -> Any:
    return run_node(definition, inputs, config={"operationMode": mode})["result"]


@pytest.mark.parametrize(
    ("mode", "inputs", "result"),
    [
        ("add", {"a": [[1, 2]], "b": [[3, 4]]}, [[4, 6]]),
        ("add", {"a": 1, "b": [[1, 2]]}, [[2, 3]]),
        ("add", {"a": [[1], [2]], "b": [[10, 20]]}, [[11, 21], [12, 22]]),
        ("add", {"a": "1", "b": " 2 "}, 3),
        ("add", {"a": "", "b": 1}, 1),
        ("add", {"a": "true", "b": 1}, 2),
        ("add", {"a": "0x10", "b": 1}, 17),
        ("add", {"a": [], "b": []}, []),
        ("add", {"a": [[["1"]]], "b": [[[True]]]}, [[[2]]]),
        ("add", {"a": [[0.5]], "b": [[0.25]]}, [[0.75]]),
        ("add", {}, [[2, 0], [0, 2]]),
        ("subtract", {"a": "[[1, 2]]", "b": [[3, 5]]}, [[-2, -3]]),
        ("multiply", {"a": [[1, 2], [3, 4]], "b": [[5, 6], [7, 8]]}, [[19, 22], [43, 50]]),
        ("multiply", {"a": 2, "b": [[1, 2]]}, [[2, 4]]),
        ("multiply", {"a": [1, 2], "b": [3, 4]}, 11),
        ("multiply", {"a": [[1, 2], [3, 4]], "b": [1, 1]}, [3, 7]),
        ("multiply", {"a": [1, 1], "b": [[1, 2], [3, 4]]}, [4, 6]),
        ("multiply", {"a": 3, "b": 4}, 12),
        ("transpose", {"matrix": [[1, 2, 3], [4, 5, 6]]}, [[1, 4], [2, 5], [3, 6]]),
        ("transpose", {"matrix": [1, 2]}, [1, 2]),
        ("invert", {"matrix": [[2, 1], [1, 1]]}, [[1, -1], [-1, 2]]),
        ("invert", {"matrix": [[0, 1], [1, 0]]}, [[0, 1], [1, 0]]),
        ("invert", {"matrix": [4]}, [0.25]),
        ("invert", {"matrix": "[[4, 7], [2, 6]]"}, [[0.6, -0.7], [-0.2, 0.4]]),
        ("det", {"matrix": [[2, -1, 0], [1, 3, 2], [0, 5, -4]]}, -48),
        ("det", {"matrix": [[0, 1], [1, 0]]}, -1),
        ("det", {"matrix": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, 0),
        ("det", {"matrix": [[0.1, 0.2], [0.3, 0.6]]}, 0),
        ("det", {"matrix": [5]}, 5),
    ],
)
def test_results(mode: str, inputs: dict[str, Any], result: Any) -> None:
    got = compute(mode, **inputs)
    assert got == result
    assert repr(got) == repr(result)


@pytest.mark.parametrize(
    ("mode", "inputs", "complaint"),
    [
        ("add", {"a": None}, "'a' has no value"),
        ("add", {"a": 1, "b": "null"}, "'b' has no value"),
        ("add", {"a": '{"x":1}'}, "no finite number"),
        ("add", {"a": "abc"}, "neither a number nor JSON"),
        ("add", {"a": "[1, NaN]"}, "no finite number"),
        ("add", {"a": "1e999"}, "no finite number"),
        ("add", {"a": [[1, None]]}, "no finite number"),
        ("add", {"a": [[1, "x"]]}, "no finite number"),
        ("add", {"a": [[1, 2], [3]]}, "rows of different lengths"),
        ("add", {"a": [1, [2]]}, "rows of different lengths"),
        ("add", {"a": [[1], 2]}, "rows of different lengths"),
        ("add", {"a": [[1, 2]], "b": [[1, 2, 3]]}, "'a' is 1 x 2 and 'b' is 1 x 3"),
        ("multiply", {"a": [[1, 2]], "b": [[1, 2]]}, "as many columns"),
        ("multiply", {"a": [1, 2], "b": [1, 2, 3]}, "as many columns"),
        ("multiply", {"a": [], "b": []}, "empty"),
        ("multiply", {"a": [[[1]]], "b": [[1]]}, "more than two dimensions"),
        ("multiply", {"a": 1e308, "b": [[10]]}, "too large"),
        ("transpose", {"matrix": 5}, "found a number"),
        ("transpose", {"matrix": [[[1]]]}, "1 x 1 x 1"),
        ("invert", {"matrix": "5"}, "as many rows as columns"),
        ("invert", {"matrix": [[1, 2]]}, "found 1 x 2"),
        ("invert", {"matrix": [[1, 2], [2, 4]]}, "singular"),
        ("invert", {"matrix": [[0.1, 0.2], [0.3, 0.6]]}, "singular"),
        ("invert", {"matrix": [[0.0] * 9] * 9}, "singular"),
        ("invert", {"matrix": [[1e-310]]}, "too large"),
        ("det", {"matrix": [1, 2]}, "found 2"),
        ("det", {"matrix": [[1e200, 0], [0, 1e200]]}, "too large"),
    ],
)
def test_what_cannot_be_computed_says_why(mode: str, inputs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(NodeInputError, match=complaint):
        compute(mode, **inputs)


def test_size_is_bounded_before_anything_is_computed() -> None:
    side = list(range(MAX_ELEMENTS))
    column = [[item] for item in side]
    for inputs in ({"a": [side], "b": column}, {"a": column, "b": [side]}):
        with pytest.raises(NodeInputError, match="the limit is"):
            compute("add", **inputs)
    with pytest.raises(NodeInputError, match="the limit"):
        compute("multiply", a=column, b=[side])
    with pytest.raises(NodeInputError, match="the limit"):
        compute("transpose", matrix=[*side, 1])
    for text in ("[" * 100_000, "[" * 40 + "]" * 40):
        with pytest.raises(NodeInputError, match="nested too deeply"):
            compute("transpose", matrix=text)


def test_large_matrices_are_inverted_numerically() -> None:
    size = 20
    matrix = [[2.0 if row == column else 0.0 for column in range(size)] for row in range(size)]
    assert compute("invert", matrix=matrix)[3][3] == 0.5
    assert compute("det", matrix=matrix) == pytest.approx(2.0**size)
    assert abs(compute("det", matrix=HILBERT)) < 1e-30


SQUARES = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(st.integers(-9, 9), min_size=size, max_size=size), min_size=size, max_size=size)
)


@given(SQUARES)
@examples(60)
def test_a_matrix_times_its_inverse_is_one(matrix: list[list[int]]) -> None:
    if compute("det", matrix=matrix) == 0:
        with pytest.raises(NodeInputError, match="singular"):
            compute("invert", matrix=matrix)
        return
    product = compute("multiply", a=matrix, b=compute("invert", matrix=matrix))
    for row, items in enumerate(product):
        assert items == pytest.approx([float(row == column) for column in range(len(items))], abs=1e-9)


def test_the_definition_lists_its_modes() -> None:
    check_definition(definition)
    data = definition.to_json()
    assert (data["category"], data["defaultModeId"]) == ("数学", "add")
    assert list(data["modes"]) == ["add", "subtract", "multiply", "transpose", "invert", "det"]
    assert data["inputs"]["a"]["config"]["default"] == "[[1, 0], [0, 1]]"
    outputs = {key: mode["outputs"]["result"]["dataFlowType"] for key, mode in data["modes"].items()}
    assert outputs["add"] == "WILDCARD"
    assert outputs["invert"] == "OBJECT"
    assert outputs["det"] == "FLOAT"


def test_an_unknown_mode_adds() -> None:
    assert run_node(definition, {"a": 1, "b": 2}, config={"operationMode": "cross"}) == {"result": 3}
