from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.json_values import dump_json, is_number, text_or_empty, texts_of


@pytest.mark.parametrize("value", [0, -1.5, 2**53, 10**400])
def test_numbers_are_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("-inf")])
def test_what_only_looks_like_a_number_is_none(value: Any) -> None:
    assert not is_number(value)


def test_only_texts_are_taken() -> None:
    assert [text_or_empty(value) for value in ("a", 1, None)] == ["a", "", ""]
    assert texts_of(["a", 1, None, "b"]) == ("a", "b")
    assert texts_of("ab") == ()


def test_json_is_compact_and_keeps_other_scripts() -> None:
    assert dump_json({"é": [1, float("nan")]}) == '{"é":[1,NaN]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(float("nan"), allow_nan=False)
