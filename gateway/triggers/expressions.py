"""JMESPath within bounds: compiled when a trigger is saved, evaluated for each delivery in the gateway's event loop.

A clock would decide one delivery in two ways, when it is first sent and when it is sent again to a busy machine. So
an evaluation counts its work instead: `MAX_WORK` units take about 10 ms.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions, visitor
from jmespath.exceptions import JMESPathError

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.jmespath_errors import CRASHES, reason_of
from innkeeper.nodes.json_values import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER

MAX_EXPRESSION_CHARS = 2_000
MAX_EXPRESSION_DEPTH = 50
"""Parts of an expression within each other. Evaluation calls itself once for each."""
MAX_WORK = 8_000
"""Units of one evaluation. A visit of a part of the expression is one, as is an item that a function walks over."""
CHARS_A_UNIT = 1_000
"""Characters that a function copies or searches for one unit."""
MAX_RESULT_VALUES = 20_000
"""Scalars, lists and objects in one result."""
MAX_RESULT_CHARS = 1_000_000
"""Characters of all texts and keys in one result."""
CACHED = 256

_TOO_MUCH_WORK = "it takes too much work for one delivery; select less before you compare, join or sort"


class ExpressionError(InnkeeperError):
    """An expression is wrong, or cannot be applied to a payload. `details` has its position, where one is known."""

    code = "invalid_expression"


class OutOfWork(Exception):
    """The budget is spent."""


class Budget:
    """The work that is left."""

    def __init__(self, units: int = MAX_WORK) -> None:
        self.left = units

    def charge(self, units: int) -> None:
        """Raises OutOfWork."""
        self.left -= units
        if self.left < 0:
            raise OutOfWork


@dataclass(frozen=True)
class Expression:
    """A compiled expression. `tree` is the library's own form, never changed."""

    text: str
    tree: Any

    def evaluate(self, value: Any, budget: Budget | None = None) -> Any:
        """What it finds; parts of it may be parts of `value`.

        Args:
            budget: Shared by the expressions of one delivery; this one takes at most `MAX_WORK` of it.

        Raises:
            ExpressionError: It cannot be applied, takes too much work, or its result is too large or no JSON.
        """
        shared = Budget() if budget is None else budget
        own = Budget(min(MAX_WORK, shared.left))
        before = own.left
        try:
            found = _Interpreter(own).visit(self.tree, value)
        except OutOfWork:
            raise ExpressionError(_TOO_MUCH_WORK) from None
        except (JMESPathError, *CRASHES) as error:
            raise _wrong(*reason_of(error)) from None
        finally:
            shared.left = max(0, shared.left - (before - own.left))
        refusal = json_refusal(found)
        if refusal is not None:
            raise ExpressionError(f"its result {refusal}")
        return found


@lru_cache(CACHED)
def compile_expression(text: str) -> Expression:
    """The compiled form of an expression.

    Raises:
        ExpressionError: It is no JMESPath (with the position), too long, or nested too deeply.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ExpressionError(f"it has {len(text)} characters; at most {MAX_EXPRESSION_CHARS} are allowed")
    try:
        with warnings.catch_warnings():
            # About literals in an old form, which work.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            tree = jmespath.compile(text).parsed
    except RecursionError:
        raise _too_deep() from None
    except (JMESPathError, *CRASHES) as error:
        raise _wrong(*reason_of(error)) from None
    _check_tree(tree)
    return Expression(text, tree)


def _check_tree(tree: Any) -> None:
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > MAX_EXPRESSION_DEPTH:
            raise _too_deep()
        for part in level:
            refusal = json_refusal(part.get("value"))
            if refusal is not None:
                raise ExpressionError(f"a value in it {refusal}")
            if part["type"] == "function_expression" and part["value"] not in functions.Functions.FUNCTION_TABLE:
                # The library would find out with the first delivery.
                raise ExpressionError(f"there is no function {part['value']!r}")
        # The children of a slice are numbers.
        level = [child for part in level for child in part["children"] if isinstance(child, dict)]


def _too_deep() -> ExpressionError:
    return ExpressionError(f"it is nested more than {MAX_EXPRESSION_DEPTH} levels deep")


def _wrong(reason: str, position: int | None) -> ExpressionError:
    if position is None:
        return ExpressionError(reason)
    return ExpressionError(f"{reason} (position {position})", details={"position": position})


# --- results --------------------------------------------------------------------------------------------------------


def json_refusal(value: Any) -> str | None:
    """Why a value is no JSON within the bounds of a result; None when it is. Shared parts count each time.

    A few nested lists that hold the same list twice are small in memory and endless as JSON.
    """
    values, chars, depth = 1, 0, 0
    level = [value]
    while level:
        if depth > MAX_DEPTH:
            return f"is nested more than {MAX_DEPTH} levels deep"
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                chars += len(item)
                if not item.isascii() and not _is_whole(item):
                    return "holds half of a character"
            elif isinstance(item, list | dict):
                values += len(item)
                if values > MAX_RESULT_VALUES:  # before they are walked over
                    return f"has more than {MAX_RESULT_VALUES} values"
                inner.extend(item.values() if isinstance(item, dict) else item)
                chars += sum(map(len, item)) if isinstance(item, dict) else 0
            elif not _is_scalar(item):
                return "holds what JSON has not, such as a number that is too large, or a part of an expression"
            if chars > MAX_RESULT_CHARS:
                return f"has more than {MAX_RESULT_CHARS} characters"
        level, depth = inner, depth + 1
    return None


def _is_scalar(item: Any) -> bool:
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, int):
        return MIN_INTEGER <= item <= MAX_INTEGER
    return item is None


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- counted work ---------------------------------------------------------------------------------------------------


class _Interpreter(visitor.TreeInterpreter):
    """The library's interpreter, with its work counted before it is done."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(visitor.Options(custom_functions=_Functions(budget)))
        self._budget = budget
        # The library looks its comparisons up here; each instance counts in a budget of its own.
        self.COMPARATOR_FUNC = {  # type: ignore[misc]
            name: self._counted(compare) for name, compare in visitor.TreeInterpreter.COMPARATOR_FUNC.items()
        }

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._budget.charge(1)
        return super().visit(node, *args, **kwargs)

    def _counted(self, compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(left: Any, right: Any) -> Any:
            # Equality ends with the smaller side, but walks over a shared part as often as it is held.
            self._budget.charge(min(_deep_work(side, self._budget.left) for side in (left, right)))
            return compare(left, right)

        return counted

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.charge(len(base))
            self._budget.charge(sum(len(item) for item in base if isinstance(item, list)))
        known: Any = {**node, "children": [{"type": "literal", "value": base, "children": []}]}
        return super().visit_flatten(known, value)

    def visit_slice(self, node: Any, value: Any) -> Any:
        self._budget.charge(len(value) if isinstance(value, list) else 0)
        return super().visit_slice(node, value)


class _Functions(functions.Functions):
    """The library's functions and no others."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        is_deep = function_name in ("to_string", "contains", "join")  # the work is in what the lists hold
        for argument in arguments:
            self._budget.charge(_deep_work(argument, self._budget.left) if is_deep else _shallow_work(argument))
        if function_name == "contains" and arguments and isinstance(arguments[0], str):
            # The search for a text that nearly fits everywhere takes ten times as long as a copy.
            self._budget.charge(10 * _shallow_work(arguments[0]))
        return super().call_function(function_name, arguments)


def _shallow_work(value: Any) -> int:
    if isinstance(value, str):
        return 1 + len(value) // CHARS_A_UNIT
    return len(value) if isinstance(value, list | dict) else 0


def _deep_work(value: Any, enough: int) -> int:
    """Units for all that a value holds; counts no further than `enough`."""
    if not isinstance(value, list | dict):
        return _shallow_work(value) or 1
    work = 0
    for item in _walk(value):
        work += 1 + (len(item) // CHARS_A_UNIT if isinstance(item, str) else 0)
        if work > enough:
            break
    return work


def _walk(value: Any) -> Iterator[Any]:
    stack = [iter((value,))]
    while stack:
        for item in stack[-1]:
            yield item
            if isinstance(item, list | dict):
                stack.append(iter([*item, *item.values()] if isinstance(item, dict) else item))
                break
        else:
            stack.pop()
