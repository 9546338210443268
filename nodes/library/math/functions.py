"""What core:MathOperation can compute: one line per mode, and the functions that Python has otherwise than browsers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from innkeeper.nodes.errors import NodeInputError


@dataclass(frozen=True)
class Operation:
    """One mode. `slots` are its inputs with their defaults; None has none typed in, which counts as 0."""

    id: str
    group: str
    label: str
    zh: str
    slots: dict[str, float | None]
    compute: Callable[..., float]


def divide(a: float, b: float) -> float:
    if b == 0:
        raise NodeInputError("'b' is 0; give another number to divide by")
    return a / b


def modulo(a: float, b: float) -> float:
    """The remainder, with the sign of `a`."""
    if b == 0:
        raise NodeInputError("'b' is 0; give another number to divide by")
    return math.fmod(a, b)


def power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf


def logarithm(value: float, base: float) -> float:
    if value <= 0:
        raise NodeInputError("'value' must be over 0 to have a logarithm")
    if base <= 0 or base == 1:
        raise NodeInputError("'base' must be over 0 and not 1")
    return math.log(value) / math.log(base)


def square_root(value: float) -> float:
    if value < 0:
        raise NodeInputError("'value' is below 0 and has no square root")
    return math.sqrt(value)


def inverse_square_root(value: float) -> float:
    if value <= 0:
        raise NodeInputError("'value' must be over 0 to have an inverse square root")
    return 1 / math.sqrt(value)


def sign(value: float) -> float:
    return 0.0 if value == 0 else math.copysign(1.0, value)


def half_up(value: float) -> float:
    """The nearest whole number, halves towards plus infinity."""
    # Not floor(value + 0.5): the sum itself rounds, and makes 1 of the number just below a half.
    low = floor(value)
    return low + 1 if value - low >= 0.5 else low


def floor(value: float) -> float:
    return float(math.floor(value)) if math.isfinite(value) else value


def ceil(value: float) -> float:
    return -floor(-value)


def truncate(value: float) -> float:
    return ceil(value) if value < 0 else floor(value)


def fraction(value: float) -> float:
    """How far a number lies above the whole number below it."""
    return value - floor(value)


def exponential(value: float) -> float:
    return _or_infinity(math.exp, value, 1.0)


def hyperbolic_sine(value: float) -> float:
    return _or_infinity(math.sinh, value, value)


def hyperbolic_cosine(value: float) -> float:
    return _or_infinity(math.cosh, value, 1.0)


def _or_infinity(function: Callable[[float], float], value: float, sign_of: float) -> float:
    try:
        return function(value)
    except OverflowError:
        return math.copysign(math.inf, sign_of)


_AB: dict[str, float | None] = {"a": None, "b": None}
_VALUE: dict[str, float | None] = {"value": None}

OPERATIONS = (
    Operation("add", "Functions", "Add", "加", _AB, lambda a, b: a + b),
    Operation("subtract", "Functions", "Subtract", "减", _AB, lambda a, b: a - b),
    Operation("multiply", "Functions", "Multiply", "乘", _AB, lambda a, b: a * b),
    Operation("divide", "Functions", "Divide", "除", _AB, divide),
    Operation(
        "multiply_add",
        "Functions",
        "Multiply and add",
        "乘加",
        {"val1": None, "val2": None, "val3": None},
        lambda val1, val2, val3: val1 * val2 + val3,
    ),
    Operation("power", "Functions", "Power", "幂", {"base": None, "exponent": 2}, power),
    Operation("logarithm", "Functions", "Logarithm", "对数", {"value": 1, "base": math.e}, logarithm),
    Operation("sqrt", "Functions", "Square root", "平方根", _VALUE, square_root),
    Operation("inverse_sqrt", "Functions", "Inverse square root", "平方根倒数", _VALUE, inverse_square_root),
    Operation("absolute", "Functions", "Absolute value", "绝对值", _VALUE, abs),
    Operation("exp", "Functions", "Exponential", "指数", _VALUE, exponential),
    Operation("min", "Comparison", "Minimum", "最小值", _AB, min),
    Operation("max", "Comparison", "Maximum", "最大值", _AB, max),
    Operation("lessThan", "Comparison", "Less than", "小于", _AB, lambda a, b: float(a < b)),
    Operation("greaterThan", "Comparison", "Greater than", "大于", _AB, lambda a, b: float(a > b)),
    Operation("sign", "Comparison", "Sign", "符号", _VALUE, sign),
    Operation("round", "Rounding", "Round", "四舍五入", _VALUE, half_up),
    Operation("floor", "Rounding", "Round down", "向下取整", _VALUE, floor),
    Operation("ceil", "Rounding", "Round up", "向上取整", _VALUE, ceil),
    Operation("truncate", "Rounding", "Truncate", "截断", _VALUE, truncate),
    Operation("fraction", "Rounding", "Fraction", "小数部分", _VALUE, fraction),
    Operation("modulo", "Rounding", "Remainder", "取余", _AB, modulo),
    Operation("sin", "Trigonometry", "Sine", "正弦", _VALUE, math.sin),
    Operation("cos", "Trigonometry", "Cosine", "余弦", _VALUE, math.cos),
    Operation("tan", "Trigonometry", "Tangent", "正切", _VALUE, math.tan),
    Operation("asin", "Trigonometry", "Arcsine", "反正弦", _VALUE, math.asin),
    Operation("acos", "Trigonometry", "Arccosine", "反余弦", _VALUE, math.acos),
    Operation("atan", "Trigonometry", "Arctangent", "反正切", _VALUE, math.atan),
    Operation("atan2", "Trigonometry", "Arctangent of y/x", "反正切 2", {"y": None, "x": None}, math.atan2),
    Operation("sinh", "Trigonometry", "Hyperbolic sine", "双曲正弦", _VALUE, hyperbolic_sine),
    Operation("cosh", "Trigonometry", "Hyperbolic cosine", "双曲余弦", _VALUE, hyperbolic_cosine),
    Operation("tanh", "Trigonometry", "Hyperbolic tangent", "双曲正切", _VALUE, math.tanh),
    Operation("to_radians", "Conversion", "To radians", "转弧度", {"degrees": None}, lambda d: d * (math.pi / 180)),
    Operation("to_degrees", "Conversion", "To degrees", "转角度", {"radians": None}, lambda r: r * (180 / math.pi)),
)
