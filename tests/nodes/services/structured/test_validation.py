"""Data found in the text of an answer, and held against a schema."""

from __future__ import annotations

import time
from typing import Any

import pytest

from innkeeper.nodes.services.structured.validation import MAX_ERRORS, read_answer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "friends": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name"],
}
OK = {"name": "Bo"}


def read(text: str, schema: dict[str, Any] = PERSON, *, is_cut: bool = False) -> Any:
    found = read_answer(text, schema, is_cut)
    return found.get("data", found.get("errors"))


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Bo"}',
        '\ufeff {"name": "Bo"}\n',
        '```json\n{"name": "Bo"}\n```',
        'Here it is:\n```\n{"name": "Bo"}\n```\nAnything else?',
        '```json\n{"name": "Bo"}',
        'The answer is {"name": "Bo"}.',
        '<think>{"name": 5}</think>{"name": "Bo"}',
    ],
)
def test_json_is_found_in_what_models_put_around_it(text: str) -> None:
    assert read_answer(text, PERSON, True) == {"data": OK, "is_repaired": False}


@pytest.mark.parametrize("text", ["{name: 'Bo',}", '{"name": "Bo"', "{'name': 'Bo'} // that's it", '{"name": "Bo",}'])
def test_mistakes_of_models_are_repaired_but_not_in_an_answer_that_is_cut(text: str) -> None:
    assert read_answer(text, PERSON, False) == {"data": OK, "is_repaired": True}
    assert read(text, is_cut=True) == ["the answer is no JSON object"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Sorry, I cannot.", "no JSON object"),
        ("", "no JSON object"),
        ("[1]", "must be a JSON object"),
        ('"Bo"', "must be a JSON object"),
        ('{"age": 1}', '"name" is a required property'),
        ('{"name": "Bo", "age": 1,234}', "at '/age'"),
        ('{"name": "Bo", "age": NaN}', "at '/age'"),
        ('{"name": "Bo", "friends": [{"name": 5}]}', "at '/friends/0/name'"),
        ("[" * 3_000, "no JSON object"),
        ('{"a":' * 3_000, "no JSON object"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, error: str) -> None:
    (found,) = read(text)
    assert error in found


def test_errors_are_few_and_short() -> None:
    text = '{"name": "x", "friends": [' + ",".join(['{"name": [' + '"a",' * 500 + '"b"]}'] * 100) + "]}"
    errors = read(text)
    assert len(errors) == MAX_ERRORS
    assert max(map(len, errors)) <= 300


def test_half_characters_become_whole_text() -> None:
    assert read('{"name": "\\ud83d"}') == {"name": "\ufffd"}


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?=(a+)+$)(a|aa)+\\1b$", "^(?!x)(a|a)*$"])
def test_patterns_that_search_for_ever_end_at_once(pattern: str) -> None:
    began = time.process_time()
    errors = read('{"name": "' + "a" * 40 + 'c"}', {"properties": {"name": {"pattern": pattern}}})
    assert len(errors) == 1
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"friends": [{"age": 1, "name": "B"}], "x": 1, "name": "A"}', ["name", "friends", "x"]),
        ('{"age": 3, "name": "A"}', ["name", "age"]),
    ],
)
def test_keys_come_in_the_order_of_the_schema(text: str, keys: list[str]) -> None:
    data = read(text)
    assert list(data) == keys
    assert all(list(friend) == ["name", "age"] for friend in data.get("friends", []))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"allOf": [{"properties": {"b": {}}}, {"properties": {"a": {}}}]}, ["b", "a"]),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"properties": {"b": {}, "a": {}}}}}, ["b", "a"]),
        ({"if": {}, "then": {"properties": {"b": {}, "a": {}}}}, ["b", "a"]),
        ({"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}]}, ["a", "b"]),
    ],
)
def test_the_order_is_found_wherever_properties_stand(schema: dict[str, Any], expected: list[str]) -> None:
    assert list(read('{"a": 1, "b": 2}', schema)) == expected
    assert list(read('{"b": 1, "a": 2}', schema)) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"additionalProperties": {"items": {"properties": {"d": {}}}}}, [["d", "c"], ["d", "c"]]),
        (
            {"properties": {"a": {"prefixItems": [{}], "items": {"properties": {"d": {}, "c": {}}}}}},
            [["c", "d"], ["d", "c"]],
        ),
    ],
)
def test_the_order_holds_for_objects_in_lists(schema: dict[str, Any], expected: list[list[str]]) -> None:
    assert [list(item) for item in read('{"a": [{"c": 1, "d": 2}, {"c": 1, "d": 2}]}', schema)["a"]] == expected


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"properties": {"a": {"$ref": "#"}}, "allOf": [{"$ref": "#"}]}])
def test_a_schema_that_refers_to_itself_ends(schema: dict[str, Any]) -> None:
    assert read('{"a": {"a": {}}}', schema) == {"a": {"a": {}}}
