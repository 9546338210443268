"""What becomes of odd numbers, texts and JSON data of nodes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from innkeeper.activities.sanitize import error_code, finite_number, printable


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (0.5, 0.5), (Fraction(1, 4), 0.25), (Decimal("1.5"), 1.5), (2**60, float(2**60)), (-7, -7)],
)
def test_numbers_of_any_library_stay_numbers(value: Any, expected: float) -> None:
    found = finite_number(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 10**400, True, "5", b"5", None, [1], object()])
def test_what_is_no_finite_number_is_none(value: Any) -> None:
    assert finite_number(value) is None


def test_text_is_bounded_and_clean() -> None:
    assert printable("a\ud83d\U0001f600", 2) == "a\ufffd"
    assert printable(7) == "7"


@pytest.mark.parametrize("code", ["", None, 5])
def test_a_code_that_is_no_text_is_the_usual_one(code: Any) -> None:
    assert error_code(code) == "node_failed"
