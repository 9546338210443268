"""What is wrong with a JMESPath expression, in words that carry nothing of the values it met."""

from __future__ import annotations

from jmespath import exceptions

CRASHES = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError)
"""What else the library raises: some functions meet values they were not made for, such as texts beside numbers."""


def reason_of(error: Exception) -> tuple[str, int | None]:
    """The reason and the position in the expression (from 0, where one is known). The library's own words hold values.

    Args:
        error: A `JMESPathError`, or one of `CRASHES`.
    """
    if isinstance(error, exceptions.JMESPathTypeError):
        expected = " or ".join(error.expected_types)
        return f"function {error.function_name}() takes {expected}, found {error.actual_type}", None
    if isinstance(error, exceptions.ArityError):
        wanted, found = error.expected_arity, error.actual_arity
        return f"function {error.function_name}() takes {wanted} values, found {found}", None
    if isinstance(error, exceptions.UnknownFunctionError):
        return str(error), None
    if isinstance(error, exceptions.EmptyExpressionError):
        return "it is empty", None
    position = getattr(error, "lex_position", None)
    if isinstance(error, exceptions.IncompleteExpressionError):
        return "it ends too early", position
    if isinstance(position, int):
        return "a character or word does not belong there", position
    if isinstance(error, exceptions.JMESPathError):
        return type(error).__name__, None
    return f"{type(error).__name__} while it was applied", None
