"""What nodes decide that decide at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.workflows.engine.control import NodeDecision, branch, switch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(("condition", "taken", "other"), [("yes", "true", "false"), (0, "false", "true")])
def test_branch_takes_one_of_two(condition: Any, taken: str, other: str) -> None:
    assert branch({"condition": condition, "value": 7}, {}) == NodeDecision({taken: 7}, (other,))


def test_an_object_without_operator_is_a_plain_case() -> None:
    assert switch({"value": {"value": 3}}, {"cases": [{"value": 3}]}) == NodeDecision(
        {"case_0": {"value": 3}}, ("default",)
    )


def test_switch_without_cases_takes_default() -> None:
    assert switch({"value": 1}, {}) == NodeDecision({"default": 1})


@given(JSON, JSON)
def test_switch_takes_a_way_whatever_the_values_are(value: Any, case: Any) -> None:
    assert switch({"value": value}, {"cases": [case]}).outputs
