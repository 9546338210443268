"""Misspelt keys are told, and the keys of editors are not taken for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from innkeeper.workflows.document.model import DOCUMENT_KEYS, NODE_KEYS, parse_document
from innkeeper.workflows.document.spelling import misspelt

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("bypased", "bypassed"),
        ("display_name", "displayName"),
        ("InputValues", "inputValues"),
        ("timeout", "timeoutSeconds"),
        ("config", "configValues"),
        ("cached", "cache"),
        ("position", None),
        ("width", None),
        ("label", None),
        ("x" * 1_000, None),
    ],
)
def test_of_a_node(key: str, meant: str | None) -> None:
    assert misspelt(key, NODE_KEYS) == meant


def test_what_editors_write_is_no_mistake() -> None:
    written = ["workflowName", "viewport", "version", "schemaVersion", "createdAt", "updatedAt", "creationMethod"]
    written += ["referencedWorkflows", "previewTarget", "description", "tags", "thumbnail", "projectId", "outputs"]
    assert [key for key in written if misspelt(key, DOCUMENT_KEYS)] == []


def test_no_recorded_document_has_any() -> None:
    for file in [*ROOT.glob("examples/*.json"), *ROOT.glob("tests/features/**/*.json")]:
        raw = json.loads(file.read_bytes())
        if "nodes" in raw:
            assert parse_document(raw).odd == (), file


def test_a_warning_names_the_place_and_what_was_meant() -> None:
    raw = {"nodes": [{"id": "a", "type": "x:Y", "bypased": True}], "interfaceInput": {}, "edges": [{"source": "a"}]}
    raw["edges"] = [{"source": "a", "target": "a", "targethandle": "x"}]
    odd = {(problem.node, problem.message.rpartition("did you mean ")[2]) for problem in parse_document(raw).odd}
    assert odd == {("a", "'bypassed'?"), (None, "'interfaceInputs'?"), (None, "'targetHandle'?")}


def test_warnings_are_bounded() -> None:
    nodes = [{"id": str(index), "type": "x:Y", "bypased": True} for index in range(1_000)]
    assert len(parse_document({"nodes": nodes}).odd) == 100
