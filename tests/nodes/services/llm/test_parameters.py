from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.node import ChannelTraits
from innkeeper.nodes.services.llm.parameters import shaped

RENAME = {"max_tokens": "max_completion_tokens"}


@pytest.mark.parametrize(
    ("parameters", "traits", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": None}, {}, {}),
        ({"max_tokens": 5}, {"rename": RENAME}, {"max_completion_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"rename": RENAME}, {"max_completion_tokens": 7}),
        ({}, {"rename": RENAME, "defaults": {"max_tokens": 9}}, {"max_completion_tokens": 9}),
        ({"max_tokens": 5}, {"rename": RENAME, "defaults": {"max_completion_tokens": 9}}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, {"rename": RENAME, "defaults": {"max_tokens": 9}}, {"max_completion_tokens": 5}),
        ({"a": None}, {"defaults": {"a": 3}}, {}),
        ({"a": 0}, {"defaults": {"a": 3, "b": 4}}, {"a": 0, "b": 4}),
        ({"temperature": 0.7}, {"drop": ("temperature",)}, {}),
        ({}, {"drop": ("a",), "defaults": {"a": 1}}, {}),
        ({"max_tokens": 5}, {"rename": RENAME, "drop": ("max_tokens",)}, {}),
        ({"max_tokens": 5}, {"rename": RENAME, "drop": ("max_completion_tokens",)}, {}),
        ({"a": 1, "b": 2}, {"rename": {"a": "b", "b": "a"}}, {"b": 1, "a": 2}),
    ],
)
def test_parameters_take_the_form_of_the_model(
    parameters: dict[str, Any], traits: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert shaped(parameters, ChannelTraits(**traits)) == expected
