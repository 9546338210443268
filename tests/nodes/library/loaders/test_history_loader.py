"""core:HistoryLoader."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.loaders.history_loader import definition
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

PATH = "shared://library/h.json"


def load(content: bytes, path: str = PATH) -> Any:
    services = memory_services(files={path: content})
    return run_node(definition, {}, config={"historyResource": path}, services=services)["historyMessages"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "hi", "name": "A", "ts": 1}, {"role": "assistant", "content": [{"type": "text"}]}],
        [{"role": 5, "content": None}],
    ],
)
def test_list_of_messages_comes_out_unchanged(messages: list[Any]) -> None:
    assert load(json.dumps(messages).encode()) == messages


def test_sillytavern_chat_becomes_messages_with_names_and_without_hidden_ones() -> None:
    lines = [
        {"user_name": "Alice", "character_name": "Mira", "chat_metadata": {}},
        {"name": "Mira", "is_user": False, "is_system": False, "mes": "Hello."},
        {"name": "Alice", "is_user": True, "mes": "Hi."},
        {"name": "Mira", "is_user": False, "is_system": True, "mes": "hidden"},
        {"name": "System", "is_user": False, "mes": "A storm.", "extra": {"type": "narrator"}},
    ]
    assert load("\n".join(map(json.dumps, lines)).encode(), "user://chat.jsonl") == [
        {"role": "assistant", "content": "Hello.", "name": "Mira"},
        {"role": "user", "content": "Hi.", "name": "Alice"},
        {"role": "system", "content": "A storm.", "name": "System"},
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"[", "line 1, column 2"),
        (b'{"role":"user","content":"x"}', "got an object"),
        (b'[{"role":"user"}]', "item 0 is no message"),
        (b"[null]", "item 0 is null"),
        (b"42", "got a number"),
    ],
)
def test_what_is_no_history_fails_with_its_name_and_the_place(content: bytes, reason: str) -> None:
    with pytest.raises(FormatError) as failure:
        load(content)
    assert failure.value.message.startswith(f"failed to load chat history {PATH!r}: ")
    assert reason in failure.value.message


def test_missing_file_and_missing_choice_fail() -> None:
    with pytest.raises(ResourceError, match="failed to load chat history"):
        run_node(definition, {}, config={"historyResource": PATH})
    with pytest.raises(NodeInputError, match="historyResource"):
        run_node(definition, {})


def test_line_that_broke_off_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="innkeeper.node"):
        messages = load(b'{"name":"A","is_user":true,"mes":"x"}\n{"name":"B","mes":"secre', "user://chat.jsonl")
    assert [message["content"] for message in messages] == ["x"]
    assert "line 2" in caplog.text
    assert "secre" not in caplog.text
