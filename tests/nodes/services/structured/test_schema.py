from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.services.structured.schema import check_bounds
from innkeeper.nodes.services.structured.validation import check_schema


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels // 2):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"description": "x" * 65_536}, "larger than 64 KB"),
        (nested(200), "more than 32 levels"),
        ({"properties": {f"p{i}": {"type": "string"} for i in range(2_001)}}, "more than 4000 keywords"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "leads out of the schema"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "leads out of the schema"),
        ({"anyOf": [{"$dynamicRef": "other.json#x"}]}, "leads out of the schema"),
        ({"type": "array"}, "must describe an object"),
        ({"type": ["string", "null"]}, "must describe an object"),
    ],
)
def test_what_takes_too_much_or_leads_out_is_refused(schema: dict[str, Any], complaint: str) -> None:
    with pytest.raises(NodeInputError, match=complaint):
        check_bounds(schema, "responseSchema")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
        {"properties": {"$ref": {"type": "string"}, "type": {"type": "string"}}},
        {"type": ["object", "null"]},
        nested(31),
        {},
    ],
)
def test_what_stays_in_bounds_is_taken(schema: dict[str, Any]) -> None:
    check_bounds(schema, "responseSchema")
    check_schema(schema, "responseSchema")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"pattern": "(a{1000}){1000}"}}},
        {"$ref": "#/$defs/none"},
        {"$schema": "http://127.0.0.1:1/meta"},
        {"$id": "http://127.0.0.1:1/x", "$ref": "y#/a"},
        {"$ref": "file:///etc/hostname"},
    ],
)
def test_what_is_no_schema_or_would_be_fetched_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(NodeInputError, match="'responseSchema' is no JSON Schema that can be used") as caught:
        check_schema(schema, "responseSchema")
    assert len(caught.value.message) < 400
    json.dumps(caught.value.message)
