"""What counts as true, as equal, as a fit; whatever the values are, nothing is raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.workflows.document.cases import OPERATORS, fits, is_true, same

BLOB = {"$blob": "x", "size": 9999, "mime": "application/json", "preview": ""}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("value", [True, 1, -0.5, "yes", "0.0", "nothing", [0], {"a": None}, BLOB])
def test_yes(value: Any) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [None, False, 0, 0.0, "", "  ", "false", "FALSE ", "no", "Off", "0", [], {}])
def test_no(value: Any) -> None:
    assert not is_true(value)


@pytest.mark.parametrize(
    ("value", "other"),
    [(1, 1.0), ("a", "a"), (5, "5"), ("5.0", 5), (" 5\n", 5), (0.1, "0.1"), (1e21, "1e+21"), (True, "True"),
     ([1, "a"], [1, "a"]), ({"a": [None]}, {"a": [None]}), (None, None), (10**400, str(10**400))],
)  # fmt: skip
def test_equal(value: Any, other: Any) -> None:
    assert same(value, other)
    assert same(other, value)


@pytest.mark.parametrize(
    ("value", "other"),
    [(1, True), (0, False), ("", None), (0, ""), ("a", "A"), ("1_0", 10), ([], {}), ("[]", [])],
)
def test_not_equal(value: Any, other: Any) -> None:
    assert not same(value, other)
    assert not same(other, value)


@pytest.mark.parametrize(
    ("value", "operator", "other"),
    [("a", "equals", "a"), (1, "notEquals", 2), ("help me", "contains", "help"), (["5"], "contains", 5),
     ({"key": 0}, "contains", "key"), ("abc", "notContains", "x"), ([1], "notContains", 2), ("abc", "startsWith", "ab"),
     ("abc", "endsWith", "bc"), (3, "greater", 2), ("10", "greater", "9"), ("b", "greater", "a"),
     (2, "greaterOrEqual", "2"), (1, "less", 2.5), (2, "lessOrEqual", 2), (" ", "empty", None), (None, "empty", None),
     ([], "empty", None), ("no", "notEmpty", None), (0, "notEmpty", None), (False, "notEmpty", None),
     ("yes", "true", None), ("off", "false", None)],
)  # fmt: skip
def test_operator_holds(value: Any, operator: str, other: Any) -> None:
    assert fits(value, {"operator": operator, "value": other})


@pytest.mark.parametrize(
    ("value", "operator", "other"),
    [(5, "contains", 5), ("5", "contains", 5), ({"a": 1}, "contains", ["a"]), (None, "startsWith", ""),
     ([], "greater", 0), ("x", "greater", 1), (None, "less", 1), ({}, "lessOrEqual", {}), (0, "empty", None),
     ("no", "empty", None), (False, "empty", None), (10**400, "less", 1), ("nan", "less", 1)],
)  # fmt: skip
def test_operator_does_not_hold(value: Any, operator: str, other: Any) -> None:
    assert not fits(value, {"operator": operator, "value": other})


@pytest.mark.parametrize("operator", [None, 5, ["equals"], {}, "EQUALS", ""])
def test_unknown_operator_fits_nothing(operator: Any) -> None:
    assert not fits(1, {"operator": operator, "value": 1})


@given(JSON, st.sampled_from([*OPERATORS, "unknown"]), JSON)
def test_no_value_breaks_a_test(value: Any, operator: str, other: Any) -> None:
    assert fits(value, {"operator": operator, "value": other}) in (True, False)
    assert fits(value, other) in (True, False)
