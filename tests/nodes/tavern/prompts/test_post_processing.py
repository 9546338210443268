"""Post-processing: shapes that must hold whatever comes in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.prompts.post_processing import MODES, PLACEHOLDER, Names, post_process
from tests.effort import examples

NAMES = Names("Ann", "Bot", ("Zoe",))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text("ab :", max_size=5)},
        optional={"name": st.sampled_from(["Ann", "example_user", "example_assistant"])},
    ),
    max_size=8,
)


@examples(150)
@given(MESSAGES, st.sampled_from(MODES))
def test_every_mode_keeps_its_promise(messages: list[dict[str, Any]], mode: str) -> None:
    before = [dict(message) for message in messages]
    result = post_process(messages, mode, NAMES)
    assert messages == before
    roles = [message["role"] for message in result]
    if any(not message["content"] for message in messages):
        return  # an empty message stays by itself, whatever its neighbours are
    if not mode:
        assert result == messages
        return
    assert result
    assert all(first != second for first, second in pairwise(roles))
    assert all("name" not in message for message in result)
    if mode == "single":
        assert roles == ["user"]
    if mode.startswith(("semi", "strict")):
        assert "system" not in roles[1:]
    if mode.startswith("strict"):
        assert roles[0] == "user" or roles[:2] == ["system", "user"]
    assert post_process(result, mode, Names()) == result


def test_old_name_of_merge() -> None:
    pair = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert post_process(pair, "claude", NAMES) == [{"role": "user", "content": "a\n\nb"}]


def test_tool_calls_go_or_stay_with_the_mode() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}
    results = [{"role": "tool", "content": number, "tool_call_id": number} for number in "12"]
    chat = [{"role": "user", "content": "q"}, call, *results]
    assert post_process(chat, "merge_tools", NAMES) == chat
    assert post_process(chat, "merge", NAMES) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "1\n\n2"},
    ]


def test_pictures_stay_between_the_texts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    chat = [
        {"role": "user", "content": "a", "name": "Ann"},
        {"role": "user", "content": [{"type": "text", "text": "b"}, picture]},
        {"role": "user", "content": "c"},
    ]
    parts = [{"type": "text", "text": "Ann: a\n\nb"}, picture, {"type": "text", "text": "c"}]
    assert post_process(chat, "merge", NAMES) == [{"role": "user", "content": parts}]


def test_names_of_a_group_are_not_put_in_front_twice() -> None:
    chat = [{"role": "assistant", "content": "Zoe: hi"}]
    assert post_process(chat, "single", NAMES) == [{"role": "user", "content": "Zoe: hi"}]


def test_nothing_becomes_a_placeholder() -> None:
    assert post_process([], "merge", NAMES) == [{"role": "user", "content": PLACEHOLDER}]
    assert post_process([], "", NAMES) == []


def test_an_empty_message_is_not_joined_but_the_next_one_is() -> None:
    said = [{"role": "user", "content": text} for text in ("a", "", "b", "")]
    contents = [message["content"] for message in post_process(said, "merge", Names())]
    assert contents == ["a", "\n\nb", ""]


def test_texts_in_parts_become_one_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    plain, mixed = [{"role": "user", "content": parts}], [{"role": "user", "content": [*parts, picture]}]
    assert post_process(plain, "merge", Names()) == [{"role": "user", "content": "a\n\nb"}]
    assert post_process(mixed, "merge", Names())[0]["content"] == [{"type": "text", "text": "a\n\nb"}, picture]


def test_parts_after_an_empty_message_keep_its_blank_line() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:x"}}
    given = [{"role": "user", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "p"}, picture]}]
    assert post_process(given, "merge_tools", Names("", ""))[0]["content"] == [
        {"type": "text", "text": "\n\np"},
        picture,
    ]
