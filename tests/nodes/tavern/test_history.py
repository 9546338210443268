"""Chats: SillyTavern's files, exports of other programs, lists of messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.history import ChatLog, ChatMessage, depths, from_value, read_log, sent_at, write_log
from tests.effort import examples

HEADER: dict[str, Any] = {
    "user_name": "unused",
    "character_name": "unused",
    "create_date": "2026-01-01T00:00:00.000Z",
    "chat_metadata": {"variables": {"n": 1}, "timedWorldInfo": {"sticky": {}}, "note_prompt": "Be brief.", "odd": [1]},
}
HELLO: dict[str, Any] = {"name": "Mira", "is_user": False, "is_system": False, "mes": "Hello.", "odd": {"x": None}}
HI: dict[str, Any] = {"name": "Alice", "is_user": True, "mes": "Hi.", "swipes": ["Hi.", "Hey."], "swipe_id": 0}


def jsonl(*lines: Any, end: str = "\n") -> bytes:
    return end.join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines).encode()


def spoken(log: ChatLog) -> list[tuple[str, str, str]]:
    return [(message.role, message.name, message.text) for message in log.messages]


def test_jsonl_carries_header_metadata_swipes_and_unknown_fields() -> None:
    log = read_log(jsonl(HEADER, HELLO, HI))
    assert spoken(log) == [("assistant", "Mira", "Hello."), ("user", "Alice", "Hi.")]
    assert log.metadata == HEADER["chat_metadata"]
    assert log.header == HEADER
    assert log.messages[1].swipes == ("Hi.", "Hey.")
    assert log.messages[0].extra == {"odd": {"x": None}}
    assert (log.user_name, log.character_name) == ("Alice", "Mira")


def test_file_may_begin_with_a_message_or_hold_only_a_header() -> None:
    assert spoken(read_log(jsonl(HELLO, HI))) == [("assistant", "Mira", "Hello."), ("user", "Alice", "Hi.")]
    assert spoken(read_log(jsonl(HELLO))) == [("assistant", "Mira", "Hello.")]
    empty = read_log(jsonl(HEADER))
    assert empty.messages == ()
    assert empty.metadata["variables"] == {"n": 1}


def test_byte_order_mark_crlf_blank_lines_and_a_broken_end_are_overlooked() -> None:
    data = b"\xef\xbb\xbf" + jsonl(HEADER, {}, HELLO, end="\r\n").replace(b"{}\r\n", b"\r\n") + b'\r\n{"name":"A","m'
    log = read_log(data)
    assert spoken(log) == [("assistant", "Mira", "Hello.")]
    assert [warning for warning in log.warnings if "line 4" in warning]


def test_broken_line_before_the_last_is_an_error_that_names_the_line() -> None:
    with pytest.raises(FormatError, match="line 2: not valid JSON"):
        read_log(jsonl(HEADER) + b"\n{oops\n" + jsonl(HELLO))


def test_other_line_ends_of_unicode_do_not_split_a_message() -> None:
    assert read_log(jsonl(HEADER, {**HELLO, "mes": "a\u2028b\x85c"})).messages[0].text == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mes": None}, ""),
        ({"mes": 5}, "5"),
        ({"mes": {"message": "inner"}, "swipes": [{"message": "inner"}, None]}, "inner"),
        ({"mes": "x", "extra": None}, "x"),
    ],
)
def test_odd_messages_have_a_text(fields: dict[str, Any], text: str) -> None:
    message = read_log(jsonl(HEADER, {"name": 7, "is_user": "true", **fields})).messages[0]
    assert (message.role, message.name, message.text) == ("user", "7", text)
    assert message.details == {}


def test_lone_surrogates_become_replacement_characters() -> None:
    data = b'{"name":"A","is_user":true,"mes":"x\\ud800"}\n{"name":"B","mes":"\\ud83d\\ude00"}'
    assert [message.text for message in read_log(data).messages] == ["x\ufffd", "\U0001f600"]


def test_narrators_speak_as_system_and_hidden_messages_stay_out_of_the_prompt() -> None:
    log = read_log(jsonl({**HELLO, "extra": {"type": "narrator"}}, {**HI, "is_system": True}, HI))
    assert [message.role for message in log.messages] == ["system", "user", "user"]
    assert [message.is_system for message in log.messages] == [False, True, False]
    assert log.to_openai() == [
        {"role": "system", "content": "Hello.", "name": "Mira"},
        {"role": "user", "content": "Hi.", "name": "Alice"},
    ]


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        (
            {
                "savedsettings": {"chatname": "Alice", "chatopponent": "Mira||$||Rook"},
                "prompt": "A storm.",
                "actions": ["\n{{[INPUT]}}Hi.\n{{[OUTPUT]}}", "Hello."],
            },
            [("assistant", "Mira", "A storm."), ("user", "Alice", "Hi."), ("assistant", "Mira", "Hello.")],
        ),
        (
            {
                "histories": {
                    "histories": [
                        {"msgs": [{"src": {"is_human": True}, "text": "Hi."}, {"src": {}, "text": "Hello."}]},
                        {"msgs": []},
                    ]
                }
            },
            [("user", "", "Hi."), ("assistant", "", "Hello.")],
        ),
        (
            {"data": [], "data_visible": [["", "Welcome."], ["<|BEGIN-VISIBLE-CHAT|>", "x"], ["Hi.", "Hello."]]},
            [("assistant", "", "Welcome."), ("assistant", "", "x"), ("user", "", "Hi."), ("assistant", "", "Hello.")],
        ),
        (
            {"name": "chat", "messages": [{"msg": "Hi.", "userId": "u"}, {"msg": "Hello.", "characterId": "c"}]},
            [("user", "", "Hi."), ("assistant", "", "Hello.")],
        ),
        (
            {
                "type": "risuChat",
                "ver": 1,
                "data": {"message": [{"role": "user", "data": "Hi."}, {"role": "char", "data": "Hello.", "time": 1}]},
            },
            [("user", "", "Hi."), ("assistant", "", "Hello.")],
        ),
        (
            [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Hi."}]}],
            [("system", "", "S"), ("user", "", "Hi.")],
        ),
        ([HEADER, HELLO, HI], [("assistant", "Mira", "Hello."), ("user", "Alice", "Hi.")]),
        ({"messages": [{"role": "user", "content": "Hi."}]}, [("user", "", "Hi.")]),
    ],
)
def test_exports_of_other_programs(export: Any, expected: list[tuple[str, str, str]]) -> None:
    assert spoken(read_log(json.dumps(export, indent=1).encode(), "chat.json")) == expected
    assert spoken(from_value(export)) == expected
    assert spoken(read_log(json.dumps(export).encode(), "chat.jsonl")) == expected
    assert spoken(read_log(write_log(from_value(export)))) == expected


def test_several_chats_in_one_export_are_told() -> None:
    chat = {"msgs": [{"src": {"is_human": True}, "text": "Hi."}]}
    assert from_value({"histories": {"histories": [chat, chat]}}).warnings


def test_messages_of_the_openai_protocol_keep_their_fields() -> None:
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    messages = [
        {"role": "user", "content": parts, "ts": 1},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    log = from_value(messages)
    assert log.to_openai() == messages
    changed = ChatMessage("new", "user", record=log.messages[0].record)
    assert changed.to_openai() == {"role": "user", "content": "new", "ts": 1}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"role": "user", "content": "x"}, "got an object"),
        (42, "got a number"),
        ([1], "item 0 is a number"),
        ([{"role": "user"}], "item 0 is no message"),
        ([{"role": "king", "content": ""}], "item 0 has an unknown role"),
        ([{"role": "user", "content": {}}], "'content' is an object"),
        ("[", "not valid JSON"),
    ],
)
def test_what_is_no_chat_is_refused_with_its_place(value: Any, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        from_value(value)


def test_nothing_is_an_empty_chat() -> None:
    assert from_value(None) == from_value(" ") == from_value([]) == ChatLog()


def test_depths_count_from_the_newest_message_that_is_not_hidden() -> None:
    roles = [("assistant", False), ("user", False), ("user", True), ("assistant", False)]
    messages = [ChatMessage("x", role, is_system=hidden) for role, hidden in roles]
    assert depths(messages) == (2, 1, None, 0)
    assert depths(messages, "swipe") == (1, 0, None, None)
    assert depths(messages[:3], "swipe") == (1, 0, None)
    assert depths(messages, "continue") == (1, 0, None, -1)
    assert depths([], "continue") == ()


def test_written_file_is_the_file_that_was_read() -> None:
    for lines in ([HEADER, HELLO, HI], [HELLO, HI], [HEADER], [{**HELLO, "mes": None}, {**HI, "mes": "\u2028\\"}]):
        assert write_log(read_log(jsonl(*lines), "chat.jsonl")) == jsonl(*lines)


def test_changed_text_and_metadata_are_written() -> None:
    log = read_log(jsonl(HEADER, HELLO))
    message = ChatMessage("New.", "assistant", "Mira", record=log.messages[0].record)
    lines = write_log(ChatLog((message,), {"variables": {"n": 2}}, header=log.header)).splitlines()
    assert json.loads(lines[0]) == {**HEADER, "chat_metadata": {"variables": {"n": 2}}}
    assert json.loads(lines[1]) == {**HELLO, "mes": "New."}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2023-07-04T15:05:01.000Z", datetime(2023, 7, 4, 15, 5, 1, tzinfo=UTC)),
        (1688483101000, datetime(2023, 7, 4, 15, 5, 1, tzinfo=UTC)),
        ("1688483101000", datetime(2023, 7, 4, 15, 5, 1, tzinfo=UTC)),
        ("July 4, 2023 3:05pm", datetime(2023, 7, 4, 15, 5)),
        ("Jul 4, 2023 12:05am", datetime(2023, 7, 4, 0, 5)),
        ("2023-7-4@15h05m01s", datetime(2023, 7, 4, 15, 5, 1)),
        ("2023-7-4 @15h 05m 01s 123ms", datetime(2023, 7, 4, 15, 5, 1)),
        ("yesterday", None),
        ("Foo 40, 2023 3:05pm", None),
        (float("inf"), None),
        (None, None),
        (True, None),
    ],
)
def test_dates_in_all_their_spellings(value: Any, expected: datetime | None) -> None:
    assert sent_at(value) == expected


scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
records = st.dictionaries(st.text(max_size=6), scalars, max_size=4)


@examples(100)
@given(st.lists(st.tuples(records, st.booleans(), st.text(max_size=12)), min_size=1, max_size=5))
def test_any_jsonl_chat_survives_reading_and_writing(lines: list[tuple[dict[str, Any], bool, str]]) -> None:
    messages = [{**rest, "name": "N", "is_user": is_user, "mes": text} for rest, is_user, text in lines]
    data = jsonl(HEADER, *messages)
    assert write_log(read_log(data)) == data


@examples(200)
@given(
    st.binary(max_size=60)
    | st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "mes",
                        "role",
                        "content",
                        "messages",
                        "msg",
                        "histories",
                        "data_visible",
                        "savedsettings",
                        "type",
                        "data",
                        "msgs",
                        "src",
                        "swipes",
                        "extra",
                        "chat_metadata",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_give_a_chat_or_a_format_error(data: bytes) -> None:
    for name in ("chat.json", "chat.jsonl"):
        try:
            log = read_log(data, name)
        except FormatError:
            continue
        read_log(write_log(log), "chat.jsonl") if log.messages else None
        log.to_openai()
