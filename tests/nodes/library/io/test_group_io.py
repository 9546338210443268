from __future__ import annotations

from innkeeper.nodes.library.io import group_input, group_output
from innkeeper.nodes.testing import run_node


def test_group_input_gives_the_interface_inputs_and_nothing_else() -> None:
    values = {"hero": "Ada", "count": 0, "nothing": None}
    assert run_node(group_input.definition, {}, interface_inputs=values) == values
    assert run_node(group_input.definition, {}) == {}


def test_group_output_takes_anything_and_gives_nothing() -> None:
    assert run_node(group_output.definition, {"line": "x", "other": [1]}) == {}


def test_the_ends_of_an_interface_cannot_be_bypassed() -> None:
    assert not group_input.definition.bypassable
    assert not group_output.definition.bypassable
    assert group_input.definition.interface_values
    assert group_output.definition.interface_sink
