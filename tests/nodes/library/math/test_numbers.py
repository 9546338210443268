from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.math.numbers import number_in, shortest, to_number, trim


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, 0),
        (True, 1),
        (False, 0),
        (2.5, 2.5),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("", 0),
        (" \u00a0\ufeff\n 3 ", 3),
        (".5", 0.5),
        ("5.", 5),
        ("+1e2", 100),
        ("-1E-2", -0.01),
        ("1e999", math.inf),
        ("0x10", 16),
        ("0XfF", 255),
        ("0o17", 15),
        ("0b101", 5),
        ("-Infinity", -math.inf),
        ([], 0),
        ([5], 5),
        ([["0x10"]], 16),
        ([None], 0),
    ],
)
def test_values_become_the_number_a_browser_makes_of_them(value: Any, number: float) -> None:
    assert to_number(value) == number


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "1_000",
        "-0x10",
        "0x",
        ".",
        "e5",
        "1 2",
        "infinity",
        "nan",
        "1,5",
        "\u0663",
        [1, 2],
        [True],
        {},
        [{}],
        "3n",
    ],
)
def test_what_is_no_number_is_nan(value: Any) -> None:
    assert math.isnan(to_number(value))
    with pytest.raises(NodeInputError, match="'a' is not a number") as caught:
        number_in(value, "a")
    assert "abc" not in caught.value.message


@given(st.floats(allow_nan=False))
def test_the_text_of_a_number_is_read_as_that_number(number: float) -> None:
    text = repr(number).replace("inf", "Infinity")
    assert to_number(text) == number


@given(st.text(max_size=20))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    to_number(text)
    assert trim(f"\ufeff {trim(text)}\t") == trim(text)


def test_whole_numbers_lose_their_point_while_they_are_exact() -> None:
    assert [repr(shortest(number)) for number in (5.0, -0.0, 0.5, 2.0**53, 1e300)] == [
        "5",
        "0",
        "0.5",
        "9007199254740992",
        "1e+300",
    ]
