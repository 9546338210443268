"""What a run may spend, as documents and submissions say it."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.budget import NANOS, Budget, complaints, read_budget, unknown_key_complaint
from innkeeper.workflows.document.model import parse_document

WHOLE = "'tokens' of 'budget' must be a whole number from 0 to 1,000,000,000,000,000, found "
AMOUNT = "'money' of 'budget' must be a number from 0 to 1,000,000,000, found "


@pytest.mark.parametrize(
    ("raw", "budget"),
    [
        ({}, Budget()),
        ({"tokens": None, "money": None}, Budget()),
        ({"tokens": 0}, Budget(tokens=0)),
        ({"tokens": 1e6, "money": 0.1}, Budget(1_000_000, NANOS // 10)),
        ({"money": 1e-9}, Budget(nanos=1)),
        ({"money": 10**9}, Budget(nanos=10**18)),
    ],
)
def test_a_budget_is_read_to_the_last_digit(raw: dict[str, Any], budget: Budget) -> None:
    assert [*complaints(raw)] == []
    assert read_budget(raw) == budget
    assert bool(budget) == any(value is not None for value in raw.values())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"tokens": -1}, WHOLE + "-1"),
        ({"tokens": 1.5}, WHOLE + "1.5"),
        ({"tokens": "100"}, WHOLE + "text"),
        ({"tokens": True}, WHOLE + "true or false"),
        ({"tokens": float("nan")}, WHOLE + "nan"),
        ({"tokens": float("inf")}, WHOLE + "inf"),
        ({"tokens": 10**400}, WHOLE + "a number"),
        ({"money": -0.01}, AMOUNT + "-0.01"),
        ({"money": float("nan")}, AMOUNT + "nan"),
        ({"money": "a lot"}, AMOUNT + "text"),
        ({"money": [1]}, AMOUNT + "a list"),
        ({"money": 10**400}, AMOUNT + "a number"),
    ],
)
def test_what_cannot_be_a_budget_is_told(raw: dict[str, Any], told: str) -> None:
    assert [*complaints(raw)] == [told]
    with pytest.raises(InvalidWorkflow) as refused:
        parse_document({"nodes": [], "budget": raw})
    assert [(problem.code, problem.message) for problem in refused.value.problems] == [("invalid_budget", told)]


def test_the_budget_of_a_document_is_the_default_of_its_runs() -> None:
    assert parse_document({"nodes": [], "budget": {"tokens": 5, "note": "kept"}}).budget == Budget(5)
    assert parse_document({"nodes": [], "budget": {}}).budget is None
    assert parse_document({"nodes": []}).budget is None
    (odd,) = parse_document({"nodes": [], "budget": {"token": 5}}).odd
    assert odd.message == "'budget' has the key 'token', which is not read; did you mean 'tokens'?"
    with pytest.raises(InvalidWorkflow, match="'budget' of the workflow must be an object"):
        parse_document({"nodes": [], "budget": 5})


def test_a_submission_may_not_misspell_what_it_limits() -> None:
    assert unknown_key_complaint({"tokens": 1}) is None
    assert unknown_key_complaint({"token": 1}) == "'budget' has 'tokens' and 'money'; found 'token'"
