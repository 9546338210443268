"""The JSON Schema says of shapes what the reader says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.model import DOCUMENT_KEYS, EDGE_KEYS, NODE_KEYS, SLOT_KEYS, parse_document
from innkeeper.workflows.document.schema import document_schema

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs/workflow.schema.json"
EXAMPLES = [json.loads(path.read_bytes()) for path in sorted((ROOT / "examples").glob("*.json"))]
DOCUMENTS = [document for document in EXAMPLES if "nodes" in document]
PAYLOAD: dict[str, Any] = {
    "nodes": [
        {
            "id": "a",
            "fullType": "core:TextMerge",
            "inputs": {"separator": ""},
            "configValues": {},
            "inputConnectionOrders": {"text_inputs": ["e"]},
            "displayName": "A",
            "bypassed": False,
            "retry": {"maximumAttempts": 2},
            "timeoutSeconds": 2.5,
            "queue": "q",
            "continueOnError": True,
            "cache": False,
        }
    ],
    "edges": [{"id": "e", "sourceNodeId": "a", "sourceHandle": "x", "targetNodeId": "a", "targetHandle": "y"}],
    "interfaceInputs": {
        "i": {"dataFlowType": "STRING", "required": True, "multi": False, "matchCategories": ["x"], "min": 1, "max": 2}
    },
    "outputInterfaceMappings": {"o": {"sourceNodeId": "a", "sourceSlotKey": "x"}},
    "metadata": {"workflowName": "n"},
}
VALUES = st.sampled_from([True, 0, 1.5, "text", [], ["x"], [1], {}, {"x": []}, {"x": 1}, {"a": {"b": 1}}])


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(COMMITTED.read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_committed_schema_is_the_one_that_the_code_writes() -> None:
    written = document_schema(load_catalogue(()).get_definitions())
    assert json.loads(COMMITTED.read_bytes()) == json.loads(json.dumps(written)), "run: innkeeper schema"


def test_every_recorded_workflow_fits_it(validator: Draft202012Validator) -> None:
    for document in [*DOCUMENTS, PAYLOAD]:
        assert list(validator.iter_errors(document)) == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(document: Any, path: tuple[Any, ...], new: Any, *, remove: bool) -> Any:
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return document


PLACES = [(document, path) for document in [*DOCUMENTS[:2], PAYLOAD] for path in places(document)]


@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_schema_and_reader_agree(
    validator: Draft202012Validator, place: tuple[Any, tuple[Any, ...]], new: Any, remove: bool
) -> None:
    document = changed(*place, new, remove=remove)
    try:
        parse_document(document)
        is_read = True
    except InvalidWorkflow:
        is_read = False
    assert validator.is_valid(document) == is_read, place[1]


def test_an_editor_is_told_of_the_slots_of_a_node(validator: Draft202012Validator) -> None:
    rules = validator.schema["$defs"]["node"]["allOf"]
    rule = next(rule for rule in rules if "core:OpenAI" in json.dumps(rule["if"]))
    assert {"model", "prompt", "system_prompt"} <= set(rule["then"]["properties"]["inputValues"]["properties"])


def test_it_names_every_key_that_is_read() -> None:
    schema = document_schema()
    shapes = {name: set(shape["properties"]) for name, shape in schema["$defs"].items()}
    assert shapes["node"] - {"position"} == NODE_KEYS
    assert shapes["edge"] == EDGE_KEYS
    assert shapes["slot"] == SLOT_KEYS
    assert set(schema["properties"]) - {"$schema", "description"} == DOCUMENT_KEYS
