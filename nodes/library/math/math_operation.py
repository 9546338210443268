"""core:MathOperation: one number from one, two or three, by 34 operations."""

from __future__ import annotations

import math
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, Mode, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.math.functions import OPERATIONS, Operation
from innkeeper.nodes.library.math.numbers import number_in, shortest
from innkeeper.nodes.library.math.settings import OPERATION_KEY, operation_setting
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import Inputs, NodeContext

_BY_ID = {operation.id: operation for operation in OPERATIONS}
DEFAULT_MODE = "add"


async def math_operation(inputs: Inputs, context: NodeContext) -> dict[str, int | float]:
    """Compute the operation of the node's mode.

    Values become numbers as in a browser: numeric text is read, true is 1, nothing and false are the slot's default.
    JSON has neither NaN nor Infinity: a value that is no number and a result that is not finite fail the node.

    Example:
        >>> run_node(definition, {"a": "2", "b": 3.5})
        {'result': 5.5}

    Raises:
        NodeInputError: A value is no number, the operation is not defined there, or the result is not finite.
    """
    operation = _BY_ID[context.mode_id or DEFAULT_MODE]
    numbers = [_operand(inputs.get(key), key, default) for key, default in operation.slots.items()]
    result = _computed(operation, numbers)
    if is_truthy(inputs.get("clamp")):
        result = min(max(result, 0.0), 1.0)
    if not math.isfinite(result):
        raise NodeInputError(f"the result of {operation.id!r} is too large to be a number; use smaller values")
    return {"result": shortest(result)}


def _operand(value: Any, slot: str, default: float | None) -> float:
    # A typed 0 is meant; only what is empty takes the default.
    if value is None or value is False or value == "":
        return float(default or 0)
    return number_in(value, slot)


def _computed(operation: Operation, numbers: list[float]) -> float:
    try:
        result = operation.compute(*numbers)
    except ValueError:
        # How Python says that a function has no value there.
        result = math.nan
    if math.isnan(result):
        raise NodeInputError(f"{operation.id!r} is not defined for these values")
    return result


def _mode(operation: Operation) -> Mode:
    first = next(iter(operation.slots))
    return Mode(
        id=operation.id,
        display_name=operation.label,
        inputs={
            **{key: _number_slot(key, default) for key, default in operation.slots.items()},
            "clamp": Input(
                "BOOLEAN",
                display_name="Clamp",
                description="Limit the result to 0..1.",
                config={"default": False},
            ),
        },
        outputs={"result": Output("FLOAT", display_name="Result", description="A number; comparisons give 1 or 0.")},
        bypass_behavior=BypassBehavior(pass_through={"result": first}),
    )


def _number_slot(key: str, default: float | None) -> Input:
    config = {} if default is None else {"default": default}
    return Input("FLOAT", display_name=key.capitalize(), required=True, config=config)


_MODES = {operation.id: _mode(operation) for operation in OPERATIONS}
_LABELS = [(item.id, f"{item.group}: {item.label}", item.zh) for item in OPERATIONS]

definition = NodeDefinition(
    type="MathOperation",
    category="数学",
    display_name="Math",
    display_names={"zh": "数学运算"},
    description="Computes one number: arithmetic, comparison, rounding, trigonometry, conversion.",
    inputs=_MODES[DEFAULT_MODE].inputs,
    outputs=_MODES[DEFAULT_MODE].outputs,
    config_schema={OPERATION_KEY: operation_setting(DEFAULT_MODE, _LABELS)},
    modes=_MODES,
    default_mode_id=DEFAULT_MODE,
    mode_config_key=OPERATION_KEY,
    falls_back_to_default_mode=True,
    execute=math_operation,
    placement="inline",
)
