"""Reading matrices from what graphs carry, and writing results back as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import InvalidJson, InvalidNumber, TooDeep, read_json
from innkeeper.nodes.library.math.numbers import shortest, to_number

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]

MAX_ELEMENTS = 16_384
"""Of each operand and of the result: 128 x 128; more would hold up the nodes that run beside."""
MAX_DIMENSIONS = 16
_MAX_CHARACTERS = 32 * MAX_ELEMENTS


def read_matrix(value: Any, slot: str) -> Array:
    """An array of a nested list or its JSON text; a number, or its text, is an array without dimensions.

    Raises:
        NodeInputError: Nothing is there, rows differ in length, an element is no finite number, or it is too large.
    """
    import numpy  # 100 ms, which only graphs with matrices should pay

    content = _parsed(value, slot)
    if content is None:
        raise NodeInputError(f"{slot!r} has no value; give a matrix such as [[1, 0], [0, 1]]")
    shape = _shape(content, slot)
    numbers = [_finite(item, slot) for item in _flat(content, shape, slot)]
    return numpy.array(numbers, dtype=numpy.float64).reshape(shape)


def write_matrix(result: Any) -> Any:
    """Nested lists, or a number, of an array or number; whole numbers without a decimal point.

    Raises:
        NodeInputError: A number became infinite.
    """
    content = result.tolist() if hasattr(result, "tolist") else result
    return _written(content)


def check_size(shape: tuple[int, ...]) -> None:
    """Raises NodeInputError when a result of this shape has too many elements."""
    if math.prod(shape) > MAX_ELEMENTS:
        raise NodeInputError(f"the result would have {math.prod(shape)} elements; the limit is {MAX_ELEMENTS}")


def _parsed(value: Any, slot: str) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > _MAX_CHARACTERS:
        raise NodeInputError(f"{slot!r} has {len(value)} characters; the limit is {_MAX_CHARACTERS}")
    try:
        return read_json(value)
    except TooDeep:
        _too_deep(slot)
    except InvalidJson as error:
        number = to_number(value)
        if math.isnan(number) and isinstance(error, InvalidNumber):
            raise _not_finite(slot) from None
        if math.isnan(number):
            raise NodeInputError(f"{slot!r} is neither a number nor JSON; it looks like [[1, 0], [0, 1]]") from None
        return number


def _shape(content: Any, slot: str) -> tuple[int, ...]:
    """The lengths of the first lists on the way down; that all others agree is checked on reading them."""
    shape: list[int] = []
    while isinstance(content, list | tuple):
        shape.append(len(content))
        if len(shape) > MAX_DIMENSIONS:
            _too_deep(slot)
        if math.prod(shape) > MAX_ELEMENTS:
            raise NodeInputError(f"{slot!r} has more than {MAX_ELEMENTS} elements, the limit")
        if not content:
            break
        content = content[0]
    return tuple(shape)


def _flat(content: Any, shape: tuple[int, ...], slot: str) -> Iterator[Any]:
    if not shape:
        if isinstance(content, list | tuple):
            _ragged(slot)
        yield content
        return
    if not isinstance(content, list | tuple) or len(content) != shape[0]:
        _ragged(slot)
    for item in content:
        yield from _flat(item, shape[1:], slot)


def _finite(item: Any, slot: str) -> float:
    number = math.nan if item is None or isinstance(item, dict) else to_number(item)
    if not math.isfinite(number):
        raise _not_finite(slot)
    return number


def _not_finite(slot: str) -> NodeInputError:
    return NodeInputError(f"{slot!r} holds something that is no finite number; give numbers or lists of numbers")


def _written(content: Any) -> Any:
    if isinstance(content, list):
        return [_written(item) for item in content]
    if not math.isfinite(content):
        raise NodeInputError("the result holds a number that is too large; use smaller values")
    return shortest(float(content))


def _ragged(slot: str) -> NoReturn:
    raise NodeInputError(f"{slot!r} has rows of different lengths; a matrix needs equal ones")


def _too_deep(slot: str) -> NoReturn:
    raise NodeInputError(f"{slot!r} is nested too deeply; the limit is {MAX_DIMENSIONS} dimensions")
