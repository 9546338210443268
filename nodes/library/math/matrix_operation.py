"""core:MatrixOperation: sums and products of matrices, transpose, inverse and determinant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, Mode, NodeDefinition, Output
from innkeeper.nodes.library.math import linear
from innkeeper.nodes.library.math.matrices import read_matrix, write_matrix
from innkeeper.nodes.library.math.settings import OPERATION_KEY, operation_setting
from innkeeper.nodes.node import Inputs, NodeContext

DEFAULT_MODE = "add"
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": linear.add,
    "subtract": linear.subtract,
    "multiply": linear.multiply,
    "transpose": linear.transpose,
    "invert": linear.invert,
    "det": linear.determinant,
}
_LABELS = {
    "add": ("Add", "加"),
    "subtract": ("Subtract", "减"),
    "multiply": ("Multiply", "乘"),
    "transpose": ("Transpose", "转置"),
    "invert": ("Invert", "求逆"),
    "det": ("Determinant", "行列式"),
}
_IDENTITY = "[[1, 0], [0, 1]]"


async def matrix_operation(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Compute the operation of the node's mode on nested lists, their JSON text, or numbers.

    Sums repeat the smaller operand along dimensions of length 1. Results are nested lists or a number; those that
    are whole have no decimal point. Each operand and the result may have 16,384 elements.

    Example:
        >>> run_node(definition, {"a": [[1, 2]], "b": "[[3], [4]]"}, config={"operationMode": "multiply"})
        {'result': [[11]]}

    Raises:
        NodeInputError: An operand is missing or no matrix, sizes do not fit, a matrix is singular, a result too large.
    """
    import numpy

    mode = context.mode_id or DEFAULT_MODE
    slots = ("matrix",) if "matrix" in _MODES[mode].inputs else ("a", "b")
    operands = [read_matrix(inputs.get(slot), slot) for slot in slots]
    # What overflows is found, and refused, when the result is written.
    with numpy.errstate(all="ignore"):
        result = _FUNCTIONS[mode](*operands)
    return {"result": write_matrix(result)}


def _pair_mode(key: str) -> Mode:
    slots = {
        slot: Input(
            "OBJECT",
            display_name=slot.upper(),
            description="A matrix as nested lists or JSON text, or a number.",
            required=True,
            match_categories=("Matrix",),
            config={"default": _IDENTITY},
        )
        for slot in ("a", "b")
    }
    behaviour = BypassBehavior(pass_through={"result": "a"})
    return Mode(
        key,
        _LABELS[key][0],
        slots,
        {"result": Output("WILDCARD", display_name="Result")},
        bypass_behavior=behaviour,
    )


def _single_mode(key: str, output: Output, behaviour: BypassBehavior) -> Mode:
    matrix = Input(
        "OBJECT",
        display_name="Matrix",
        description="A matrix as nested lists or JSON text.",
        required=True,
        match_categories=("Matrix",),
    )
    return Mode(key, _LABELS[key][0], {"matrix": matrix}, {"result": output}, bypass_behavior=behaviour)


_MATRIX_OUT = Output("OBJECT", display_name="Result", match_categories=("Matrix",))
_PASS = BypassBehavior(pass_through={"result": "matrix"})
_MODES = {
    **{key: _pair_mode(key) for key in ("add", "subtract", "multiply")},
    **{key: _single_mode(key, _MATRIX_OUT, _PASS) for key in ("transpose", "invert")},
    # A matrix cannot stand where a number is expected.
    "det": _single_mode("det", Output("FLOAT", display_name="Result"), BypassBehavior(defaults={"result": 0})),
}

definition = NodeDefinition(
    type="MatrixOperation",
    category="数学",
    display_name="Matrix",
    display_names={"zh": "矩阵运算"},
    description="Computes with matrices: sums, products, transpose, inverse, determinant.",
    inputs=_MODES[DEFAULT_MODE].inputs,
    outputs=_MODES[DEFAULT_MODE].outputs,
    config_schema={OPERATION_KEY: operation_setting(DEFAULT_MODE, ((key, *labels) for key, labels in _LABELS.items()))},
    modes=_MODES,
    default_mode_id=DEFAULT_MODE,
    mode_config_key=OPERATION_KEY,
    falls_back_to_default_mode=True,
    execute=matrix_operation,
    placement="inline",
)
