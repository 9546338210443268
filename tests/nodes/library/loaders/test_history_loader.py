"""core:HistoryLoader."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.library.loaders.history_loader import definition
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.history.carried import without_carried
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
    messages = load("\n".join(map(json.dumps, lines)).encode(), "user://chat.jsonl")
    assert messages[:2] == [without_carried(message) for message in messages[:2]]
    assert [without_carried(message) for message in messages] == [
        {"role": "assistant", "content": "Hello.", "name": "Mira"},
        {"role": "user", "content": "Hi.", "name": "Alice"},
        {"role": "system", "content": "A storm.", "name": "System"},
    ]


def test_what_the_prompt_needs_beside_the_messages_travels_with_them() -> None:
    note = {"note_prompt": "N", "note_depth": 1}
    metadata = {"variables": {"v": "1"}, "timedWorldInfo": {}, "integrity": "x", **note}
    lines = [
        {"user_name": "Rook", "character_name": "unused", "chat_metadata": metadata},
        {"name": "Mira", "is_system": True, "mes": "hidden"},
        {"name": "Mira", "mes": "Hello.", "force_avatar": "/m.png", "gen_id": 5},
        {"name": "Alice", "is_user": True, "mes": "read", "extra": {"files": [{"name": "a.txt", "text": "FILE"}]}},
        {"name": "Mira", "is_system": True, "mes": "last", "swipes": ["x", "last"], "swipe_id": 1},
    ]
    first, second = load("\n".join(map(json.dumps, lines)).encode(), "user://chat.jsonl")
    hidden = {"name": "Mira", "is_user": False, "is_system": True}
    names = {"user_name": "Rook"}
    assert first["sillytavern"] == {
        "chat": {**names, "chat_metadata": {"variables": {"v": "1"}, **note}},
        "before": [{**hidden, "mes": "hidden"}],
        "line": {"force_avatar": True},
    }
    assert second["content"] == "FILE\n\nread"
    assert second["sillytavern"] == {
        "line": {"mes": "read", "extra": {"files": [{"name": "a.txt", "text": "FILE"}]}},
        "after": [{**hidden, "mes": "last", "swipes": ["x", "last"], "swipe_id": 1}],
    }


def test_model_does_not_see_what_travels_with_a_message() -> None:
    lines = [{"name": "Mira", "mes": "Hello.", "force_avatar": True}, {"name": "Mira", "is_system": True, "mes": "no"}]
    messages = load(json.dumps(lines).encode())
    assert read_history(messages, "messages") == [{"role": "assistant", "content": "Hello.", "name": "Mira"}]


@pytest.mark.parametrize(
    ("lines", "texts", "code"),
    [
        ([{"mes": "a"}, {"name": "A", "is_user": True}, {"mes": "b"}], ["a", "", "b"], "line_without_text"),
        ([{"mes": "a"}, {"is_user": False, "swipes": ["x", "y"], "swipe_id": 1}], ["a", "y"], "line_without_text"),
        ([{"mes": "a"}, None, {"other": 1}, {"mes": "b"}], ["a", "b"], "line_left_out"),
        ([{"mes": "a", "extra": {"files": [{"url": "/u"}]}}], ["a"], "attachment_without_text"),
    ],
)
def test_odd_line_does_not_refuse_the_chat(lines: list[Any], texts: list[str], code: str) -> None:
    for path, content in (("user://c.jsonl", "\n".join(map(json.dumps, lines))), (PATH, json.dumps(lines))):
        warnings: list[dict[str, str]] = []
        services = memory_services(files={path: content.encode()})
        config = {"historyResource": path}
        messages = run_node(definition, {}, config=config, services=services, warnings=warnings)["historyMessages"]
        assert [message["content"] for message in messages] == texts
        assert {warning["code"] for warning in warnings} == {code}


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
