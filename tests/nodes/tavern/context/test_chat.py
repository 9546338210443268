"""The chat in the context: what a chat file holds reaches the prompt, by the loader as well as directly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.history.log import is_true
from innkeeper.nodes.tavern.history.reading import read_messages_json
from tests.effort import examples
from tests.nodes.tavern.test_context import book, built, card, entry, history, preset, texts

STATE = "{{lastMessage}}|{{lastUserMessage}}|{{lastCharMessage}}|{{lastMessageId}}"
CHAT = (
    "{{lastMessage}}|{{lastMessageId}}|{{allChatRange}}|{{lastSwipeId}}|{{currentSwipeId}}|{{idle_duration}}|"
    "{{firstIncludedMessageId}}|{{authorsNote}}|{{getvar::mood}}|{{user}}|{{char}}|{{scenario}}"
)
BOT: dict[str, Any] = {"name": "Bot", "is_user": False, "mes": "Hello {{user}}"}
ALICE: dict[str, Any] = {"name": "Alice", "is_user": True, "mes": "hi"}


def header(**metadata: Any) -> dict[str, Any]:
    return {"user_name": "unused", "character_name": "unused", "chat_metadata": metadata}


def loaded(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages that core:HistoryLoader makes of a chat file."""
    result = read_messages_json("chat.jsonl", "\n".join(map(json.dumps, lines)).encode())
    messages: list[dict[str, Any]] = result["messages"]
    return messages


def prompt(text: str, *order: str, **fields: Any) -> dict[str, Any]:
    main = {"identifier": "main", "content": text, "system_prompt": True}
    made = preset(*(order or ("main", "chatHistory")), **fields)
    return {**made, "prompts": [main, *made["prompts"][1:]]}


NIGHT = "2030-01-31T12:05:00+00:00"
CHATS: dict[str, list[dict[str, Any]]] = {
    "another speaker": [BOT, ALICE, {"name": "Mira", "is_user": False, "mes": "me too", "force_avatar": "/m.png"}],
    "another persona": [BOT, {**ALICE, "name": "Rook", "force_avatar": "/r.png"}],
    "hidden lines": [
        {**BOT, "is_system": True, "mes": "first"},
        BOT,
        ALICE,
        {**BOT, "is_system": True, "mes": "last"},
    ],
    "swipes": [BOT, ALICE, {**BOT, "mes": "b", "swipes": ["a", "b", "c"], "swipe_id": 1}],
    "swipes of a hidden line": [BOT, {**BOT, "is_system": True, "swipes": ["a"], "swipe_id": 0}],
    "files": [BOT, {**ALICE, "mes": "read", "extra": {"files": [{"text": "FILE"}, {"text": "TWO"}, {"url": "/u"}]}}],
    "old file": [BOT, {**ALICE, "extra": {"file": {"text": "FILE"}}}],
    "titles": [BOT, {**ALICE, "extra": {"media": [{"title": "a cat", "append_title": True}, {"title": "no"}]}}],
    "narrator": [BOT, {**BOT, "mes": "night", "extra": {"type": "narrator"}, "force_avatar": "/n.png"}],
    "variables": [header(variables={"mood": "calm"}), BOT, ALICE],
    "note": [header(note_prompt="N {{user}}", note_depth=1, note_role=1, note_position=1, note_interval=1), BOT, ALICE],
    "rare note": [header(note_prompt="N", note_interval=2), BOT, ALICE],
    "overrides": [header(scenario="at sea", system_prompt="Be {{char}}.", mes_example="x"), BOT, ALICE],
    "included": [header(lastInContextMessageId=1), BOT, ALICE],
    "times": [
        {**BOT, "send_date": NIGHT},
        {**ALICE, "send_date": "2030-01-31T09:05:00+00:00"},
        {**ALICE, "send_date": NIGHT},
        {**BOT, "mes": "x"},
    ],
    "names": [{"user_name": "Rook", "character_name": "Mira", "chat_metadata": {}}, BOT, ALICE],
    "line ends": [BOT, {**ALICE, "mes": "a\r\nb"}],
    "one hidden line": [BOT, {**ALICE, "is_system": True}],
}


@pytest.mark.parametrize("lines", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("kind", ["normal", "continue", "swipe", "regenerate"])
@pytest.mark.parametrize("names", [0, 2])
def test_chat_from_the_loader_gives_the_prompt_of_the_chat_itself(
    lines: list[dict[str, Any]], kind: str, names: int
) -> None:
    shared = {
        "presetData": prompt(CHAT, "main", "scenario", "chatHistory", names_behavior=names),
        "worldBookData": book(entry("calm", scanDepth=9), entry("FILE")),
        "settings": {"type": kind},
        "userName": "",
    }
    direct, by_loader = built(**shared, historyMessages=lines), built(**shared, historyMessages=loaded(lines))
    assert by_loader["finalMessages"] == direct["finalMessages"]
    assert by_loader["chatState"] == direct["chatState"]


LINES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["Bot", "Alice", "Mira", ""]),
            "mes": st.sampled_from(["hi", "", "a {{user}}", " b\n"]),
        },
        optional={
            "is_user": st.booleans(),
            "is_system": st.booleans(),
            "force_avatar": st.sampled_from(["/m.png", "", None]),
            "swipes": st.sampled_from([[], ["x", "y"], None, 5]),
            "swipe_id": st.integers(0, 3),
            "send_date": st.sampled_from([NIGHT, "2030-01-31T09:05:00+00:00", None]),
            "extra": st.sampled_from(
                [
                    None,
                    {"type": "narrator"},
                    {"files": [{"text": "FILE"}]},
                    {"type": "narrator", "file": {"text": "F"}, "append_title": True, "title": "t"},
                    {"files": [{}, {"text": 5}], "media": [None, {"append_title": 1, "title": "t"}]},
                ]
            ),
        },
    ),
    max_size=6,
)
HEADERS = st.sampled_from(
    [
        [],
        [header()],
        [{"user_name": "Rook", "character_name": "Mira"}],
        [header(variables={"mood": "calm"}, note_prompt="N", note_role=2, lastInContextMessageId=1)],
        [header(variables=5, note_prompt=7, timedWorldInfo=[], scenario=None, world_info={})],
    ]
)


@examples(40)
@given(head=HEADERS, lines=LINES, kind=st.sampled_from(["normal", "continue", "swipe", "regenerate"]))
def test_any_chat_from_the_loader_gives_the_prompt_of_the_chat_itself(
    head: list[dict[str, Any]], lines: list[dict[str, Any]], kind: str
) -> None:
    chat = [*head, *lines]
    if not any(not is_true(line.get("is_system")) for line in lines):
        return  # nothing is left that could carry anything
    shared = {"presetData": prompt(CHAT, "main", "scenario", "chatHistory"), "settings": {"type": kind}, "userName": ""}
    direct, by_loader = built(**shared, historyMessages=chat), built(**shared, historyMessages=loaded(chat))
    assert by_loader["finalMessages"] == direct["finalMessages"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("another speaker", "a:Hello Alice u:hi a:Mira: me too"),
        ("another persona", "a:Hello Rook u:hi"),
        ("files", "a:Hello Alice u:FILE\n\nTWO\n\nread"),
        ("old file", "a:Hello Alice u:FILE\n\nhi"),
        ("titles", "a:Hello Alice u:hi\n\na cat"),
        ("narrator", "a:Hello User s:night"),
        ("note", "a:Hello Alice u:N Alice u:hi"),
        ("names", "a:Hello Rook u:hi"),
    ],
)
def test_what_a_chat_file_holds_reaches_the_prompt(name: str, expected: str) -> None:
    assert texts(built(presetData=preset("chatHistory"), historyMessages=loaded(CHATS[name]), userName="")) == expected


@pytest.mark.parametrize(
    ("name", "macro", "expected"),
    [
        ("hidden lines", "{{lastMessageId}} {{allChatRange}} {{lastMessage}}", "3 0-3 last"),
        ("swipes", "{{lastSwipeId}} {{currentSwipeId}}", "3 2"),
        ("variables", "{{getvar::mood}}", "calm"),
        ("note", "{{authorsNote}}", "N {{user}}"),
        ("overrides", "", "Be Bot."),
        ("included", "{{firstIncludedMessageId}}", "1"),
        ("times", "{{idle_duration}}", "2 hours"),
        ("names", "{{user}} {{char}}", "Rook Mira"),
    ],
)
def test_what_a_chat_file_holds_reaches_the_macros(name: str, macro: str, expected: str) -> None:
    result = built(presetData=prompt(macro, "main"), historyMessages=loaded(CHATS[name]), userName="")
    assert result["finalMessages"][0]["content"] == expected


def test_texts_of_a_chat_stand_instead_of_those_of_the_card() -> None:
    raw = card(scenario="on land", mes_example="{{char}}: card")
    chosen = preset("scenario", "dialogueExamples", "chatHistory", new_example_chat_prompt="")
    chat = loaded([header(scenario="at {{char}}'s", mes_example="{{char}}: chat"), BOT, ALICE])
    result = built(presetData=chosen, characterData=raw, historyMessages=chat)
    assert texts(result) == "s:at Bot's s:chat a:Hello Ann u:hi"


def test_state_of_the_last_turn_counts_instead_of_that_of_the_file() -> None:
    lines = loaded(CHATS["variables"])
    for state, expected in (({"variables": {}}, "[]"), ({"variables": {"mood": "wild"}}, "[wild]"), ({}, "[calm]")):
        result = built(presetData=prompt("[{{getvar::mood}}]", "main"), historyMessages=lines, chatState=state)
        assert result["finalMessages"][0]["content"] == expected


def test_effects_that_run_in_a_chat_file_go_on() -> None:
    timed = {"sticky": {"Coast.0": {"hash": 123, "start": 1, "end": 9, "protected": False}}}
    chat = loaded([header(timedWorldInfo=timed), BOT, ALICE])
    lore = book(entry("nowhere", sticky=5))
    chosen = preset("worldInfoBefore", "chatHistory")
    assert "s:W" in texts(built(presetData=chosen, historyMessages=chat, worldBookData=lore))


def test_book_of_a_chat_that_is_not_given_is_told() -> None:
    result = built(presetData=preset(), historyMessages=loaded([header(world_info="Coast"), BOT]))
    assert any("'Coast'" in warning for warning in result["report"]["warnings"])


def test_text_that_was_changed_on_the_way_counts() -> None:
    chat = loaded(CHATS["files"])
    chat[1]["content"] = "changed"
    assert texts(built(presetData=preset("chatHistory"), historyMessages=chat)).endswith("u:changed")


def test_report_names_the_place_in_the_list_that_was_given() -> None:
    result = built(presetData=preset("chatHistory"), historyMessages=loaded(CHATS["hidden lines"]))
    assert [message["historyIndex"] for message in result["report"]["messages"]] == [0, 1]


def test_old_rules_send_no_trace_of_the_file() -> None:
    sent = built(presetData={"user_prompt": "U"}, historyMessages=loaded(CHATS["files"]))["finalMessages"]
    assert [message.keys() for message in sent] == [{"role", "content", "name"}] * 2 + [{"role", "content"}]


# --- kinds of generation ---


@pytest.mark.parametrize(
    ("kind", "chat", "expected"),
    [
        ("regenerate", ["first", "u1", "old answer"], "u1|u1|first|1"),
        ("regenerate", ["first", "u1"], "u1|u1|first|1"),
        ("swipe", ["first", "u1", "old answer"], "old answer|u1|old answer|2"),
        ("regenerate", ["only"], "|||"),
    ],
)
def test_answer_that_is_thrown_away_is_gone_for_macros(kind: str, chat: list[str], expected: str) -> None:
    lines = [{"role": "assistant" if place % 2 == 0 else "user", "content": text} for place, text in enumerate(chat)]
    result = built(presetData=prompt(STATE), historyMessages=lines, settings={"type": kind})
    assert result["finalMessages"][0]["content"] == expected
    assert "old answer" not in [message["content"] for message in result["finalMessages"]]


def test_idle_time_of_a_chat_without_its_thrown_away_answer() -> None:
    inputs = {"presetData": prompt("{{idle_duration}}", "main"), "historyMessages": loaded(CHATS["times"])}
    assert texts(built(**inputs)) == "s:2 hours"
    assert texts(built(**inputs, settings={"type": "regenerate"})) == "s:5 hours"


def test_thrown_away_greeting_is_not_greeted_again() -> None:
    inputs = {"presetData": preset("chatHistory"), "characterData": card(first_mes="Hi")}
    chat = [{"role": "assistant", "content": "Hi"}]
    assert texts(built(**inputs, historyMessages=chat, settings={"type": "regenerate"})) == ""


def test_quiet_prompt_wakes_lore_and_runs_its_macros_once() -> None:
    quiet = "Describe the {{getvar::what}} {{incvar::count}}"
    inputs = {"presetData": preset("worldInfoBefore", "chatHistory"), "worldBookData": book(entry("lamp"))}
    result = built(
        **inputs,
        historyMessages=history("x"),
        variables={"what": "lamp"},
        settings={"type": "quiet", "quietPrompt": quiet},
    )
    assert texts(result) == "s:W u:x s:Describe the lamp 1"
    assert result["chatState"]["variables"]["count"] == 1
    assert "s:W" not in texts(built(**inputs, historyMessages=history("x"), settings={"type": "quiet"}))


@pytest.mark.parametrize(
    ("last", "postfix", "is_nudged"), [("", " ", True), ("", "", False), ("x", "", True), ("x ", "", True)]
)
def test_empty_message_is_gone_on_with(last: str, postfix: str, is_nudged: bool) -> None:
    chosen = preset("chatHistory", continue_nudge_prompt="GO", continue_postfix=postfix)
    chat = [{"role": "user", "content": "u"}, {"role": "assistant", "content": last}]
    found = texts(built(presetData=chosen, historyMessages=chat, settings={"type": "continue"}))
    assert ("s:GO" in found) is is_nudged


# --- greeting, names, fields ---


@pytest.mark.parametrize("by_loader", [False, True])
def test_stored_greeting_is_expanded_at_every_generation(by_loader: bool) -> None:
    chat = [BOT, ALICE, {**BOT, "mes": "still {{user}}"}]
    given = loaded(chat) if by_loader else chat
    inputs = {"presetData": prompt("{{lastCharMessage}}"), "historyMessages": given, "userName": "Ann"}
    assert texts(built(**inputs)) == "s:still {{user}} a:Hello Ann u:hi a:still {{user}}"
    first = {**inputs, "historyMessages": given[:1]}
    assert texts(built(**first)) == "s:Hello Ann a:Hello Ann"
    none = texts(built(**first, settings={"expandHistory": "none"}))
    assert none == "s:Hello {{user}} a:Hello {{user}}"


def test_greeting_is_expanded_once_and_before_world_info_is_scanned() -> None:
    chat = [{**BOT, "mes": "{{setvar::a::{{user}}}}lamp of {{getvar::a}}{{incvar::n}}"}]
    chosen = preset("worldInfoBefore", "chatHistory")
    result = built(
        presetData=chosen,
        historyMessages=chat,
        worldBookData=book(entry("lamp of Ann1")),
        settings={"expandHistory": "all"},
    )
    assert texts(result) == "s:W a:lamp of Ann1"


@pytest.mark.parametrize("speaker", ["Diana Holt", "Di", "{{char}}"])
def test_nickname_replaces_only_the_macro(speaker: str) -> None:
    examples = f"<START>\n{{{{user}}}}: hey\n{speaker}: hello"
    raw = {**card(name="Diana Holt", nickname="Di", mes_example=examples), "spec": "chara_card_v3"}
    chosen = prompt("{{char}}", "main", "dialogueExamples", "chatHistory", names_behavior=2)
    result = built(presetData=chosen, characterData=raw, historyMessages=[{"role": "assistant", "content": "x"}])
    assert [(message.get("name"), message["content"]) for message in result["finalMessages"]] == [
        (None, "Di"),
        ("example_user", "hey"),
        ("example_assistant", "hello"),
        (None, "Diana Holt: x"),
    ]


def test_lore_hears_the_character_by_its_own_name() -> None:
    raw = {**card(name="Diana Holt", nickname="Di"), "spec": "chara_card_v3"}
    result = built(
        presetData=preset("worldInfoBefore", "chatHistory"),
        characterData=raw,
        historyMessages=[{"role": "assistant", "content": "x"}],
        worldBookData=book(entry("Diana Holt: x")),
    )
    assert texts(result) == "s:W a:x"


@pytest.mark.parametrize(
    ("field", "macro", "place"),
    [
        ("description", "description", "charDescription"),
        ("personality", "personality", "charPersonality"),
        ("scenario", "scenario", "scenario"),
        ("system_prompt", "charPrompt", "main"),
        ("post_history_instructions", "charInstruction", "jailbreak"),
    ],
)
def test_card_field_is_nothing_inside_of_itself(field: str, macro: str, place: str) -> None:
    raw = card(**{field: f"x {{{{{macro}}}}} y"})
    assert texts(built(presetData=preset(place), characterData=raw)) == "s:x  y"


def test_persona_is_nothing_inside_of_itself() -> None:
    assert texts(built(presetData=preset("personaDescription"), persona="x {{persona}} y")) == "s:x  y"


def test_override_still_holds_what_it_replaces() -> None:
    raw = card(system_prompt="{{original}} and {{char}}")
    assert texts(built(presetData=preset("main"), characterData=raw)) == "s:M and Bot"


def test_card_prompt_that_is_not_wanted_does_not_come_back_by_its_macro() -> None:
    raw = card(system_prompt="S")
    inputs = {"presetData": prompt("[{{charPrompt}}{{systemPrompt}}]", "main"), "characterData": raw}
    assert texts(built(**inputs, settings={"preferCardPrompts": False})) == "s:[]"
