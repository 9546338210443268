from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.library.llm_test import history, merge_history
from innkeeper.nodes.testing import run_node

ONE = [{"role": "user", "content": "1", "extra": True}]
TWO = [{"role": "assistant", "content": "2"}]


def made(**inputs: Any) -> Any:
    return json.loads(run_node(history.definition, inputs)["history"])


def merged(**inputs: Any) -> Any:
    return json.loads(run_node(merge_history.definition, inputs)["history"])


def test_turns_with_role_and_content_in_their_order() -> None:
    assert made(role1="user", content1=" Hi\n", role2="assistant", content2="Hello", role4="system", content4="S") == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "system", "content": "S"},
    ]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"role1": "user"},
        {"role1": "user", "content1": " \ufeff\n"},
        {"role1": "", "content1": "x"},
        {"content1": ""},
    ],
)
def test_turns_without_role_or_content_are_left_out(inputs: dict[str, Any]) -> None:
    assert made(**inputs) == []


def test_a_role_that_was_never_chosen_is_the_first_suggestion() -> None:
    assert made(content3="x") == [{"role": "user", "content": "x"}]


def test_other_scripts_stay_readable() -> None:
    assert run_node(history.definition, {"role1": "user", "content1": "你好"})["history"] == (
        '[{"role":"user","content":"你好"}]'
    )


def test_histories_are_joined_in_the_order_of_the_slots() -> None:
    assert merged(history4=json.dumps(ONE), history2=json.dumps(TWO)) == TWO + ONE


def test_lists_and_texts_are_taken_alike() -> None:
    assert merged(history1=ONE, history2=json.dumps(TWO)) == ONE + TWO


@pytest.mark.parametrize("bad", [None, "", "[oops", '{"a":1}', '"xy"', "5", "null", "[" * 100_000, 5, {"a": 1}])
def test_what_is_no_history_is_left_out_with_a_warning(bad: Any) -> None:
    warnings: list[dict[str, str]] = []
    found = run_node(merge_history.definition, {"history1": bad, "history2": ONE}, warnings=warnings)
    assert json.loads(found["history"]) == ONE
    assert [warning["code"] for warning in warnings] == (["no_history"] if bad else [])
    assert all("'history1' is left out" in warning["message"] for warning in warnings)


def test_without_histories_it_is_empty() -> None:
    assert merged() == []
