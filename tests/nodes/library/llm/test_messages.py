"""Histories, core:CreateMessage and core:MergeMessages."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.llm import create_message, merge_messages
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.testing import run_node

HI = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        (None, []),
        ("", []),
        ("  \n", []),
        ([], []),
        ([HI], [HI]),
        (HI, [HI]),
        ('[{"role":"user","content":"hi"}]', [HI]),
        ('{"role":"user","content":"hi"}', [HI]),
        ([{**HI, "name": "Ada"}], [{**HI, "name": "Ada"}]),
        ([{"role": "assistant", "content": None}], [{"role": "assistant", "content": None}]),
        ([{"role": "assistant", "tool_calls": [1]}], [{"role": "assistant", "tool_calls": [1]}]),
    ],
)
def test_a_history_is_read_in_every_form(value: Any, messages: list[Any]) -> None:
    assert read_history(value, "history") == messages


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{oops", "not valid JSON at character 1"),
        ("[" * 100_000, "JSON|deep"),
        (5, "found a number"),
        ('"text"', "found a text"),
        ([HI, {"role": "user"}], "item 1 is no message"),
        ([5], "item 0 is no message"),
        ([{"role": "emperor", "content": "x"}], "item 0 has an unknown role"),
        ([{"role": ["user"], "content": "x"}], "item 0 has an unknown role"),
        ([{"role": "user", "content": 5}], "'content' must be"),
    ],
)
def test_a_bad_history_is_refused_with_its_place(value: Any, complaint: str) -> None:
    with pytest.raises(NodeInputError, match=complaint):
        read_history(value, "history")


@pytest.mark.parametrize(
    ("inputs", "messages"),
    [
        ({"role": "system", "content": "S"}, '[{"role":"system","content":"S"}]'),
        ({"content": "你好 “x”"}, '[{"role":"user","content":"你好 “x”"}]'),
        ({"content": 'a"\n'}, '[{"role":"user","content":"a\\"\\n"}]'),
        ({"content": ""}, "[]"),
        ({"content": None}, "[]"),
        ({}, "[]"),
    ],
)
def test_create_message(inputs: dict[str, Any], messages: str) -> None:
    assert run_node(create_message.definition, inputs) == {"messages": messages}


@pytest.mark.parametrize(
    ("parts", "messages"),
    [
        (
            [
                '[{"role":"user","content":"1"}]',
                "not json",
                "",
                None,
                {"role": "user", "content": "obj"},
                [{"role": "a", "content": "b"}, {"role": "x"}, 5, None],
                '{"role":"user","content":"single"}',
                "5",
                '{"content":"norole"}',
            ],
            '[{"role":"user","content":"1"},{"role":"user","content":"obj"},{"role":"a","content":"b"},'
            '{"role":"user","content":"single"}]',
        ),
        ('[{"role":"user","content":"solo"}]', '[{"role":"user","content":"solo"}]'),
        ([], "[]"),
        (["[" * 100_000], "[]"),
        ([[{"role": "user", "content": "x", "name": "kept"}]], '[{"role":"user","content":"x","name":"kept"}]'),
    ],
)
def test_merge_messages(parts: Any, messages: str) -> None:
    assert run_node(merge_messages.definition, {"message_inputs": parts}) == {"messages": messages}


def test_merge_messages_warns_of_what_it_leaves_out() -> None:
    warnings: list[dict[str, str]] = []
    parts = ["not json", "", None, [{"role": "user", "content": "x"}, 5, {"role": "user"}], "7"]
    run_node(merge_messages.definition, {"message_inputs": parts}, warnings=warnings)
    assert [(warning["code"], warning["message"]) for warning in warnings] == [
        ("not_json", "'message_inputs': item 0 is left out: it is not valid JSON"),
        ("no_message", "'message_inputs': item 3: 2 values are left out; a message has 'role' and 'content'"),
        ("no_message", "'message_inputs': item 4: 1 value is left out; a message has 'role' and 'content'"),
    ]


def test_merge_messages_without_input_is_missing_it() -> None:
    with pytest.raises(NodeInputError, match="message_inputs"):
        run_node(merge_messages.definition, {})
