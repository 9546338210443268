"""Products, determinants and inverses, with the errors a user can act on."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.math.matrices import check_size

if TYPE_CHECKING:
    from innkeeper.nodes.library.math.matrices import Array

_EXACT_SIZE = 8
"""Up to this size fractions decide: exact results of whole numbers, and no doubt whether a matrix is singular."""
_SINGULAR = "'matrix' is singular: its determinant is 0, so it has no inverse"
Rows = list[list[Fraction]]


def elementwise(a: Array, b: Array, operation: Callable[[Array, Array], Array]) -> Array:
    """`a` and `b` joined element by element; the smaller one is repeated along dimensions of length 1."""
    import numpy

    try:
        shape = numpy.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise NodeInputError(f"'a' is {shown(a)} and 'b' is {shown(b)}; the two must be of one size") from None
    check_size(shape)
    return operation(a, b)


def add(a: Array, b: Array) -> Array:
    return elementwise(a, b, operator.add)


def subtract(a: Array, b: Array) -> Array:
    return elementwise(a, b, operator.sub)


def multiply(a: Array, b: Array) -> Any:
    """The matrix product; a number scales, two vectors give their dot product."""
    if a.ndim == 0 or b.ndim == 0:
        return elementwise(a, b, operator.mul)
    if a.ndim > 2 or b.ndim > 2:
        raise NodeInputError("'multiply' takes numbers, vectors and matrices; found more than two dimensions")
    if not a.size or not b.size:
        raise NodeInputError("'multiply' needs matrices with elements; found an empty one")
    if a.shape[-1] != b.shape[0]:
        raise NodeInputError(f"'a' is {shown(a)} and 'b' is {shown(b)}; 'a' must have as many columns as 'b' has rows")
    check_size((*a.shape[:-1], *b.shape[1:]))
    return a @ b


def transpose(matrix: Array) -> Array:
    """Rows become columns; a vector stays as it is."""
    if matrix.ndim == 0 or matrix.ndim > 2 or (matrix.ndim == 2 and not matrix.size):
        raise NodeInputError(f"'transpose' needs a matrix with elements, found {shown(matrix)}")
    return matrix.T


def determinant(matrix: Array) -> float:
    import numpy

    square = _square(matrix)
    if len(square) > _EXACT_SIZE:
        return float(numpy.linalg.det(square))
    return _as_float(_eliminated(_fractions(square))[0])


def invert(matrix: Array) -> Any:
    """The inverse, in the shape it was given."""
    square = _square(matrix)
    inverse = _exact_inverse(square) if len(square) <= _EXACT_SIZE else _numeric_inverse(square)
    return inverse[0] if matrix.ndim == 1 else inverse


def shown(matrix: Array) -> str:
    """A matrix's size in words, such as `2 x 3`."""
    return " x ".join(map(str, matrix.shape)) or "a number"


def _square(matrix: Array) -> Array:
    """A square matrix; a list of one number counts as one."""
    if matrix.shape == (1,):
        return matrix.reshape((1, 1))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise NodeInputError(f"'matrix' must have as many rows as columns, found {shown(matrix)}")
    return matrix


def _exact_inverse(square: Array) -> list[list[float]]:
    value, inverse = _eliminated(_fractions(square))
    if value == 0:
        raise NodeInputError(_SINGULAR)
    return [[_as_float(item) for item in row] for row in inverse]


def _numeric_inverse(square: Array) -> Array:
    import numpy

    try:
        # Rounding hides most zero determinants; the rank allows for it.
        if numpy.linalg.matrix_rank(square) < len(square):
            raise NodeInputError(_SINGULAR)
        return numpy.asarray(numpy.linalg.inv(square), dtype=numpy.float64)
    except numpy.linalg.LinAlgError:
        raise NodeInputError(_SINGULAR) from None


def _fractions(square: Array) -> Rows:
    # By the shortest decimal: 0.1 means a tenth, not the binary number next to it.
    return [[Fraction(repr(item)) for item in row] for row in square.tolist()]


def _eliminated(rows: Rows) -> tuple[Fraction, Rows]:
    """Determinant and inverse by Gauss and Jordan; the inverse is not whole when the determinant is 0."""
    size, value = len(rows), Fraction(1)
    work = [row + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(rows)]
    for step in range(size):
        pivot = next((index for index in range(step, size) if work[index][step]), None)
        if pivot is None:
            return Fraction(0), []
        if pivot != step:
            work[step], work[pivot], value = work[pivot], work[step], -value
        value *= work[step][step]
        _clear_column(work, step)
    return value, [row[size:] for row in work]


def _clear_column(work: Rows, step: int) -> None:
    divisor = work[step][step]
    work[step] = [item / divisor for item in work[step]]
    for index, row in enumerate(work):
        factor = row[step]
        if index != step and factor:
            work[index] = [item - factor * other for item, other in zip(row, work[step], strict=True)]


def _as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        raise NodeInputError("the result holds a number that is too large; use smaller values") from None
