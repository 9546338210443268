"""Numbers and matrices."""

from __future__ import annotations

from tests.e2e.library_cases.case import Case

CASES = [
    Case(
        "math_operation",
        [
            {"id": "sum", "fullType": "core:MathOperation", "inputs": {"a": "2", "b": 3}},
            {"id": "root", "fullType": "core:MathOperation", "configValues": {"operationMode": "sqrt"}},
            {"id": "zero", "fullType": "core:MathOperation", "configValues": {"operationMode": "no such mode"}},
            {
                "id": "off",
                "fullType": "core:MathOperation",
                "inputs": {"base": 7},
                "configValues": {"operationMode": "power"},
                "bypassed": True,
            },
        ],
        edges=["sum.result > root.value"],
        expect={
            "sum": {"result": 5},
            "root": {"result": 5**0.5},
            "zero": {"result": 0},
            "off": {"result": 7},
        },
    ),
    Case(
        "math_operation_fails",
        [
            {
                "id": "m",
                "fullType": "core:MathOperation",
                "inputs": {"a": 1, "b": 0},
                "configValues": {"operationMode": "divide"},
            }
        ],
        fails={"m": "'b' is 0"},
    ),
    Case(
        "matrix_operation",
        [
            {
                "id": "m",
                "fullType": "core:MatrixOperation",
                "inputs": {"a": [[1, 2], [3, 4]], "b": "[[5, 6], [7, 8]]"},
                "configValues": {"operationMode": "multiply"},
            },
            {"id": "i", "fullType": "core:MatrixOperation", "configValues": {"operationMode": "invert"}},
            {"id": "d", "fullType": "core:MatrixOperation", "configValues": {"operationMode": "det"}},
            {"id": "off", "fullType": "core:MatrixOperation", "inputs": {"a": 1, "b": 2}, "bypassed": True},
        ],
        edges=["m.result > i.matrix", "m.result > d.matrix"],
        expect={
            "m": {"result": [[19, 22], [43, 50]]},
            "i": {"result": [[12.5, -5.5], [-10.75, 4.75]]},
            "d": {"result": 4},
            "off": {"result": 1},
        },
    ),
]
