"""core:JsonExtract: what an expression finds, and where it is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError
from innkeeper.nodes.library.utilities.json_extract import EXTRACT, definition
from innkeeper.nodes.library.utilities.json_search import extract
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.testing import run_node
from tests.effort import examples

DATA = {"items": [{"name": "a", "price": 3}, {"name": "b", "price": 9}], "n": 1.0, "no": False, "nothing": None}


def find(expression: Any, data: Any = DATA, **inputs: Any) -> dict[str, Any]:
    return run_node(definition, {"data": data, "expression": expression, **inputs})


@pytest.mark.parametrize(
    ("expression", "value", "text"),
    [
        ("items[0].name", "a", "a"),
        ("items[?price > `5`].name", ["b"], '["b"]'),
        ("items[*].price | sum(@)", 12, "12"),
        ("length(items)", 2, "2"),
        ("n", 1.0, "1"),
        ("no", False, "false"),
        ("{first: items[0].name, count: length(items)}", {"first": "a", "count": 2}, '{"first":"a","count":2}'),
        ("@.items[-1]", {"name": "b", "price": 9}, '{"name":"b","price":9}'),
        ("items[10:]", [], "[]"),
        ("'酒'", "酒", "酒"),
    ],
)
def test_expression_finds_a_value(expression: str, value: Any, text: str) -> None:
    assert find(expression) == {"value": value, "text": text, "found": True}
    assert find(expression, json.dumps(DATA)) == {"value": value, "text": text, "found": True}


def test_nothing_and_null_give_the_default() -> None:
    for expression in ("missing", "nothing", "items[7].name", "missing.deeper"):
        assert find(expression) == {"value": None, "text": "", "found": False}
        assert find(expression, default={"a": 1}) == {"value": {"a": 1}, "text": '{"a":1}', "found": False}
    assert find("no", default=True)["value"] is False


def test_data_may_be_any_json() -> None:
    assert find("@", [1])["value"] == [1]
    assert find("@", "7")["value"] == 7
    assert find("@", '"text"')["value"] == "text"
    assert find("@", "123456789012345678901234567890")["value"] == 1.2345678901234568e29
    assert find("@", None)["found"] is False


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ("plain words", "line 1, column 1"),
        ('{"a": 1,\n "b": secret}', "line 2, column 7"),
        ('{"a": 1} x', "line 1, column 10"),
        ('{"a": NaN}', "it holds NaN"),
        ("9" * 5_000, "out of range"),
    ],
)
def test_text_that_is_no_json_is_told_with_its_place_but_not_quoted(text: str, place: str) -> None:
    with pytest.raises(NodeInputError) as caught:
        find("a", text)
    assert caught.value.code == "invalid_format"
    assert place in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("expression", "position", "word"),
    [
        ("items[0", 7, "ends too early"),
        ("items..name", 6, "does not belong there"),
        ("items ! a", None, ""),
        ("a ^ b", 2, "does not belong there"),
        ("nope(a)", None, "nope()"),
        ("length(a, b)", None, "takes 1 values, found 2"),
        ("length(n)", None, "length() takes"),
        ("", None, "is empty"),
        (" ", None, "is empty"),
        (None, None, "is empty"),
        ("x" * 10_001, None, "longer than 10000"),
        ("sort(items[*].[name, price][])", None, ""),
        ("to_number('1e999')", None, "a number that JSON does not have"),
        ("[to_number('-1e999')]", None, "a number that JSON does not have"),
    ],
)
def test_wrong_expression_is_told_with_its_position(expression: Any, position: int | None, word: str) -> None:
    with pytest.raises(NodeInputError) as caught:
        find(expression)
    assert word in caught.value.message
    assert caught.value.details.get("position") == position or position is None
    assert caught.value.retryable is False


def test_values_are_not_quoted_by_errors() -> None:
    with pytest.raises(NodeInputError) as caught:
        find("abs(secret)", {"secret": "words of the user"})
    assert "words of the user" not in caught.value.message
    assert caught.value.message == "'expression': function abs() takes number, found string"


@pytest.mark.parametrize(
    ("expression", "data"),
    [("(" * 4_900 + "a" + ")" * 4_900, {}), ("a", "[" * 100_000)],
)
def test_nesting_without_end_is_refused(expression: str, data: Any) -> None:
    with pytest.raises(NodeError) as caught:
        find(expression, data)
    assert caught.value.code == "too_deep"


@examples(150)
@given(st.text(alphabet="ab.[]*?|&@`'\"(){}:,!<>=0 \\-", max_size=30))
def test_any_expression_gives_a_result_or_an_error_of_ours(expression: str) -> None:
    with contextlib.suppress(InnkeeperError):
        assert set(extract({"a": [{"b": 1}, "x", None]}, expression, None)) == {"value", "text", "found"}


async def test_expression_runs_in_a_process() -> None:
    scripts = ScriptProcesses(1)
    found = await scripts.call(EXTRACT, {"value": DATA, "expression": "max_by(items, &price)", "default": None})
    assert found["value"] == {"name": "b", "price": 9}
    await scripts.aclose()
