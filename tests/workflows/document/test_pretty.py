"""Workflow files in one form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.workflows.document.pretty import pretty

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[3] / "examples").glob("*.json"))
    if "nodes" in json.loads(path.read_bytes())
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=150),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)


def in_order(value: Any) -> Any:
    """A value with the order of its keys told apart."""
    if isinstance(value, dict):
        return [(key, in_order(item)) for key, item in value.items()]
    return [in_order(item) for item in value] if isinstance(value, list) else repr(value)


@given(JSON)
def test_a_value_stays_what_it_is_and_its_form_is_stable(value: Any) -> None:
    text = pretty(value)
    assert in_order(json.loads(text)) == in_order(value)
    assert pretty(json.loads(text)) == text


def test_examples_are_in_this_form() -> None:
    for path in EXAMPLES:
        text = path.read_text("utf-8")
        assert pretty(json.loads(text)) == text, f"run: innkeeper fmt {path.name}"


def test_an_edge_is_one_line_and_a_node_is_broken_only_when_it_is_long() -> None:
    edge = {"id": "e", "source": "s" * 60, "target": "t" * 60}
    node = {"id": "n", "inputValues": {"text": "x" * 200, "n": [1, 2]}}
    lines = pretty({"nodes": [node, {"id": "m"}], "edges": [edge]}).splitlines()
    assert sum("source" in line for line in lines) == 1
    assert lines.count('    {"id": "m"}') == 1
    assert '        "n": [1, 2]' in lines
