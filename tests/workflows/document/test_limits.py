"""Limits are looked at before anything is built from a document."""

from __future__ import annotations

import tracemalloc

import pytest

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.limits import Limits, load_json


def problem(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(InvalidWorkflow) as caught:
        load_json(data, limits or Limits())
    (found,) = caught.value.problems
    return f"{found.code}: {found.message}"


def test_millions_of_empty_lists_are_refused_before_they_are_made() -> None:
    data = b"[" + b"[]," * 3_000_000 + b"1]"
    tracemalloc.start()
    try:
        assert problem(data).startswith("document_too_large: the document has 3000001 objects and lists")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.parametrize("text", [b"[{" * 300, b'\\"[{' * 300, b"\\\\" * 300, b'\\\\\\"[' * 300])
def test_brackets_inside_texts_do_not_count(text: bytes) -> None:
    limits = Limits(max_containers=10)
    assert load_json(b'{"a": "' + text + b'", "b": []}', limits)["b"] == []
    assert problem(b'{"a": "' + text + b'", "b": [' + b"{}," * 10 + b"1]}", limits).startswith("document_too_large")
