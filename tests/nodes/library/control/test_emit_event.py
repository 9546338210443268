"""core:EmitEvent by itself."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.control.emit_event import definition
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.testing import MemoryEvents, memory_services, run_node

SECRET_ID = "0" * 64


def test_event_goes_out_with_its_name_and_data() -> None:
    events = MemoryEvents()
    outputs = run_node(definition, {"name": " paid ", "data": {"n": [1]}}, services=memory_services(events=events))
    (event,) = events.emitted
    assert (event.name, event.data) == ("paid", {"n": [1]})
    assert outputs.keys() == definition.outputs.keys()


@pytest.mark.parametrize(
    "data",
    [
        SecretRef(SECRET_ID),
        {"$secret": SECRET_ID},
        [{"key": {"$secret": "env:TOKEN"}}],
        {"text": f"$secret:{SECRET_ID}"},
        (SecretRef("x"),),
    ],
)
def test_event_with_a_secret_does_not_go_out(data: Any) -> None:
    events = MemoryEvents()
    with pytest.raises(NodeInputError) as refused:
        run_node(definition, {"name": "x", "data": data}, services=memory_services(events=events))
    assert (refused.value.code, events.emitted) == ("secret_in_event", [])
    assert SECRET_ID not in refused.value.message


@pytest.mark.parametrize("inputs", [{"name": "  "}, {"name": "x", "data": {"bytes": b"\x00"}}])
def test_event_that_cannot_be_told_fails_for_good(inputs: Any) -> None:
    with pytest.raises(NodeInputError) as refused:
        run_node(definition, inputs)
    assert not refused.value.retryable


def test_text_that_only_speaks_of_secrets_goes_out() -> None:
    events = MemoryEvents()
    run_node(definition, {"name": "x", "data": "$secret: of success"}, services=memory_services(events=events))
    assert events.emitted[0].data == "$secret: of success"
