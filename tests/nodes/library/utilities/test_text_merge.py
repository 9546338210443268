from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.utilities.text_merge import definition
from innkeeper.nodes.testing import run_node


@pytest.mark.parametrize(
    ("inputs", "merged"),
    [
        ({"text_inputs": ["a", "b"]}, "a\nb"),
        ({"text_inputs": ["a", "b"], "separator": r"\\n"}, r"a\nb"),
        ({"text_inputs": ["a", "b"], "separator": ""}, "ab"),
        ({"text_inputs": ["a", "b"], "separator": None}, "a\nb"),
        ({"text_inputs": ["A", None, "", "B"], "separator": "-"}, "A---B"),
        ({"text_inputs": [1, 2.0, True], "separator": ","}, "1,2,true"),
        ({"text_inputs": "alone"}, "alone"),
        ({"text_inputs": None}, ""),
        ({"text_inputs": []}, ""),
    ],
)
def test_texts_are_joined(inputs: dict[str, Any], merged: str) -> None:
    assert run_node(definition, inputs) == {"merged_text": merged}


def test_without_texts_the_input_is_missing() -> None:
    with pytest.raises(NodeInputError, match="text_inputs"):
        run_node(definition, {})
