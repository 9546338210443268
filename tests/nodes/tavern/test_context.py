"""The whole context: card, preset, books, scripts, state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.tavern.context.builder import build
from innkeeper.nodes.tavern.environment import FormatError

NOW = "2030-01-31T14:05:00+00:00"
ORDER = ("main", "worldInfoBefore", "charDescription", "scenario", "dialogueExamples", "chatHistory", "jailbreak")


def preset(*order: str, **fields: Any) -> dict[str, Any]:
    entries = [{"identifier": name, "enabled": True} for name in order or ORDER]
    prompts = [{"identifier": "main", "content": "M", "system_prompt": True}, *fields.pop("prompts", [])]
    raw = {"prompts": prompts, "prompt_order": [{"character_id": 100001, "order": entries}]}
    return {**raw, "new_chat_prompt": "", "new_example_chat_prompt": "", **fields}


def card(**data: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Bot", **data}}


def history(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if place % 2 == 0 else "assistant", "content": text} for place, text in enumerate(texts)]


def built(**inputs: Any) -> dict[str, Any]:
    seed = inputs.pop("seed", "7")
    result = build({"userName": "Ann", **inputs}, seed, NOW)
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


def texts(result: dict[str, Any]) -> str:
    return " ".join(f"{message['role'][0]}:{message['content']}" for message in result["finalMessages"])


def entry(*keys: str, **fields: Any) -> dict[str, Any]:
    return {"key": list(keys), "content": "W", "constant": not keys, **fields}


def book(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"entries": {str(uid): {"uid": uid, **fields} for uid, fields in enumerate(entries)}}


# --- which rules hold ---


@pytest.mark.parametrize(
    ("inputs", "mode"),
    [
        ({}, "plain"),
        ({"historyMessages": history("hi")}, "plain"),
        ({"characterData": {"name": "x", "description": "d"}}, "plain"),
        ({"presetData": {"user_prompt": "U"}, "worldBookData": book(entry())}, "plain"),
        ({"presetData": {"temperature": 1}}, "plain"),
        ({"presetData": {}}, "plain"),
        ({"presetData": preset()}, "assembled"),
        ({"presetData": {"main_prompt": "old"}}, "assembled"),
        ({"characterData": card(description="d")}, "assembled"),
        ({"characterData": {"name": "x", "personality": "p"}}, "assembled"),
        ({"worldBookData": book(entry())}, "assembled"),
        ({"settings": {"mode": "assemble"}}, "assembled"),
        ({"presetData": preset(), "settings": {"mode": "plain"}}, "plain"),
    ],
)
def test_old_rules_hold_where_nothing_more_is_given(inputs: dict[str, Any], mode: str) -> None:
    assert build(inputs, "1", NOW)["report"]["mode"] == mode


def test_old_rules_use_a_wrapped_card_and_tell_what_they_leave_out() -> None:
    inputs = {"presetData": {"user_prompt": "U"}, "characterData": card(system_prompt="", description="D")}
    result = build({**inputs, "worldBookData": book(entry())}, "1", NOW)
    assert texts(result) == "s:D u:U"
    assert "'worldBookData'" in result["report"]["warnings"][0]


def test_old_rules_keep_messages_as_they_are_and_take_json_text() -> None:
    messages = [{"role": "user", "content": "hi", "extra": 1}]
    for given in (messages, json.dumps(messages)):
        assert build({"historyMessages": given}, "1", NOW)["finalMessages"] == messages


def test_old_rules_leave_out_a_history_that_is_none() -> None:
    result = build({"historyMessages": [{"role": "user"}], "presetData": {"user_prompt": "U"}}, "1", NOW)
    assert texts(result) == "u:U"
    assert "history is not used" in result["report"]["warnings"][0]


def test_text_completion_preset_is_refused() -> None:
    with pytest.raises(FormatError, match="text-completion"):
        built(presetData={"story_string": "x"})


# --- card ---


def test_card_overrides_and_examples_and_greeting() -> None:
    raw = card(
        system_prompt="S {{original}}",
        post_history_instructions="P",
        description="{{char}}",
        mes_example="<START>\n{{user}}: q\n{{char}}: a",
        first_mes="Hi {{user}}",
        alternate_greetings=["Other"],
    )
    result = built(presetData=preset(), characterData=raw)
    assert texts(result) == "s:S M s:Bot s:q s:a a:Hi Ann s:P"
    assert result["finalMessages"][2]["name"] == "example_user"
    assert "a:Other" in texts(built(presetData=preset(), characterData=raw, settings={"greeting": 1}))
    assert "a:" not in texts(built(presetData=preset(), characterData=raw, settings={"greeting": -1}))
    assert texts(built(presetData=preset("main"), characterData=raw, settings={"preferCardPrompts": False})) == "s:M"


def test_greeting_is_for_empty_chats_only() -> None:
    result = built(presetData=preset("chatHistory"), characterData=card(first_mes="Hi"), historyMessages=history("x"))
    assert texts(result) == "u:x"


def test_depth_prompt_of_the_card() -> None:
    raw = card(extensions={"depth_prompt": {"prompt": "D {{char}}", "depth": 1, "role": "user"}})
    result = built(presetData=preset("chatHistory"), characterData=raw, historyMessages=history("x", "y"))
    assert texts(result) == "u:x u:D Bot a:y"
    assert result["report"]["messages"][1]["source"] == "depthPrompt"


def test_nickname_is_the_name() -> None:
    raw = card(description="{{char}}", nickname="Bo")
    assert texts(built(presetData=preset("charDescription"), characterData=raw)) == "s:Bo"


# --- world info ---


def test_books_of_input_and_card_are_both_active() -> None:
    own = {"entries": [{"keys": ["hi"], "content": "C", "enabled": True, "insertion_order": 1, "extensions": {}}]}
    inputs = {
        "presetData": preset("worldInfoBefore", "worldInfoAfter", "chatHistory"),
        "characterData": card(character_book=own),
        "worldBookData": book(entry("hi", order=2, position=1), entry("nothing")),
        "historyMessages": history("hi"),
    }
    result = built(**inputs)
    assert texts(result) == "s:C\nW u:hi"
    reasons = [(item["active"], item["reason"]) for item in result["report"]["worldInfo"]["entries"]]
    assert sorted(reasons) == [(False, "no_key_match"), (True, "key"), (True, "key")]
    assert texts(built(**inputs, settings={"characterBook": False})) == "s:W u:hi"


def test_every_position_has_its_place() -> None:
    entries = [
        entry(content="note top", position=2),
        entry(content="note bottom", position=3),
        entry(content="deep", position=4, depth=1, role=2),
        entry(content="{{user}}: before", position=5),
        entry(content="{{char}}: after", position=6),
        entry(content="out", position=7, outletName="o"),
    ]
    result = built(
        presetData=preset("main", "dialogueExamples", "chatHistory", prompts=[]),
        characterData=card(mes_example="<START>\n{{char}}: own", system_prompt="[{{outlet::o}}]"),
        worldBookData=book(*entries),
        authorsNote={"text": "note", "depth": 0},
        historyMessages=history("x"),
    )
    assert texts(result) == "s:[out] s:before s:own s:after a:deep u:x s:note top\nnote\nnote bottom"


def test_lines_around_the_note_stay_without_a_note_and_go_when_it_is_not_its_turn() -> None:
    inputs = {"presetData": preset("chatHistory"), "worldBookData": book(entry(position=2))}
    inputs["historyMessages"] = history("x")
    assert texts(built(**inputs)) == "s:W u:x"
    assert texts(built(**inputs, authorsNote={"text": "n", "interval": 2})) == "u:x"


def test_timed_effects_and_variables_go_from_turn_to_turn() -> None:
    inputs = {
        "presetData": preset("main", "worldInfoBefore", prompts=[]),
        "characterData": card(system_prompt="{{incvar::turn}}"),
        "worldBookData": book(entry("storm", sticky=5)),
    }
    first = built(**inputs, historyMessages=history("storm"))
    assert texts(first) == "s:1 s:W"
    calm = history("calm", "calm", "calm")
    second = built(**inputs, historyMessages=calm, chatState=first["chatState"])
    assert texts(second) == "s:2 s:W"
    assert texts(built(**inputs, historyMessages=calm)) == "s:1"
    third = built(**inputs, historyMessages=calm, chatState=second["chatState"], variables={"turn": 9})
    assert texts(third) == "s:10 s:W"


def test_world_info_settings_are_used() -> None:
    inputs = {"presetData": preset("worldInfoBefore"), "worldBookData": book(entry("old"))}
    inputs["historyMessages"] = history("old", "x", "y", "z")
    assert texts(built(**inputs)) == ""
    for name in ("world_info_depth", "depth", "scanDepth", "scan_depth"):
        assert texts(built(**inputs, settings={"worldInfo": {name: 4}})) == "s:W", name


def test_unknown_world_info_settings_are_a_warning_that_lists_the_known_ones() -> None:
    raw = {"deepness": 4, "world_info_overflow_alert": False, "budgetCap": 5}
    warnings = built(presetData=preset("chatHistory"), settings={"worldInfo": raw})["report"]["warnings"]
    (warning,) = (text for text in warnings if "world info setting" in text)
    assert "'deepness'" in warning
    assert "budget_cap, case_sensitive" in warning


def test_chance_is_the_seed_s() -> None:
    many = book(*[entry(probability=50, content=str(number)) for number in range(30)])
    inputs = {"presetData": preset("worldInfoBefore"), "worldBookData": many}
    assert built(**inputs, seed="1") == built(**inputs, seed="1")
    assert texts(built(**inputs, seed="1")) != texts(built(**inputs, seed="2"))


# --- history ---


def test_sillytavern_messages_hidden_ones_and_narrators() -> None:
    chat = [
        {"name": "Ann", "is_user": True, "mes": "a\r\nb"},
        {"name": "Bot", "is_user": False, "is_system": True, "mes": "hidden"},
        {"name": "Bot", "is_user": False, "mes": "night", "extra": {"type": "narrator"}},
        {"name": "Bot", "is_user": False, "mes": "c"},
    ]
    result = built(presetData=preset("chatHistory", names_behavior=2), historyMessages=chat)
    assert texts(result) == "u:Ann: a\nb s:night a:Bot: c"
    assert [message["historyIndex"] for message in result["report"]["messages"]] == [0, 2, 3]


def test_broken_history_is_an_error_that_names_the_place() -> None:
    with pytest.raises(FormatError, match="item 1"):
        built(presetData=preset(), historyMessages=[{"role": "user", "content": "x"}, {"role": "user"}])


@pytest.mark.parametrize(
    ("slot", "value", "reader"),
    [
        ("characterData", {"entries": {"0": {"key": ["a"], "content": "c"}}}, "core:WorldBookLoader"),
        ("worldBookData", [{"findRegex": "/a/"}], "core:RegexRuleLoader"),
        ("presetData", {"entries": {}}, "core:WorldBookLoader"),
        ("presetData", {"sysprompt": {}, "preset": {"temp": 1}}, "text-completion"),
        ("historyMessages", {"entries": {}}, "core:WorldBookLoader"),
    ],
)
def test_input_of_another_kind_is_refused_and_named(slot: str, value: Any, reader: str) -> None:
    with pytest.raises(FormatError, match=reader) as failure:
        built(**{"presetData": preset(), slot: value})
    assert slot in failure.value.message or slot == "historyMessages"


def test_macros_run_in_users_messages_only_unless_asked() -> None:
    inputs = {"presetData": preset("chatHistory"), "historyMessages": history("{{char}}", "{{char}}")}
    inputs["characterData"] = card()
    assert texts(built(**inputs)) == "u:Bot a:{{char}}"
    assert texts(built(**inputs, settings={"expandHistory": "all"})) == "u:Bot a:Bot"
    assert texts(built(**inputs, settings={"expandHistory": "none"})) == "u:{{char}} a:{{char}}"


def test_swipe_makes_the_last_answer_anew() -> None:
    inputs = {"presetData": preset("chatHistory"), "historyMessages": history("x", "y")}
    assert texts(built(**inputs, settings={"type": "swipe"})) == "u:x"
    assert texts(built(**inputs)) == "u:x a:y"


def test_pictures_and_tool_calls_stay() -> None:
    chat = [
        {"role": "user", "content": [{"type": "text", "text": "{{char}}"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "r", "tool_call_id": "1"},
    ]
    messages = built(presetData=preset("chatHistory"), historyMessages=chat)["finalMessages"]
    assert messages[0] == chat[0]
    assert messages[1]["tool_calls"] == [{"id": "1"}]
    assert messages[2] == chat[2]


# --- persona and note ---


def test_persona_goes_where_it_is_told() -> None:
    chosen, chat = preset("personaDescription", "chatHistory"), history("x")

    def placed(**fields: Any) -> str:
        persona = {"description": "P {{user}}", **fields}
        return texts(built(presetData=chosen, historyMessages=chat, persona=persona, authorsNote={"text": "N"}))

    assert placed() == "s:P Ann s:N u:x"
    assert placed(position="note_top") == "s:P Ann\nN u:x"
    assert placed(position=3) == "s:N\nP Ann u:x"
    assert placed(position="at_depth", depth=0, role="user") == "s:N u:x u:P Ann"
    assert placed(position="none") == "s:N u:x"


def test_note_before_and_after_the_main_prompt() -> None:
    assert texts(built(presetData=preset("main"), authorsNote={"text": "N", "position": "before_main"})) == "s:N s:M"
    assert texts(built(presetData=preset("main"), authorsNote={"text": "N", "position": "in_main"})) == "s:M s:N"


# --- scripts ---

SCRIPT = {"scriptName": "s", "findRegex": "/a/g", "replaceString": "b", "placement": [1], "promptOnly": True}


def test_scripts_run_by_placement_stage_and_depth() -> None:
    chosen = preset("chatHistory")
    scripts = [
        {**SCRIPT, "maxDepth": 1},
        {**SCRIPT, "scriptName": "ai", "placement": [2], "findRegex": "/y/"},
        {**SCRIPT, "scriptName": "stored", "promptOnly": False, "findRegex": "/b/g", "replaceString": "c"},
    ]
    result = built(presetData=chosen, historyMessages=history("a", "ay", "aa"), regexScripts=scripts)
    assert texts(result) == "u:a a:ab u:bb"
    told = {item["name"]: item for item in result["report"]["regex"]}
    assert told["s"]["matches"] == 2
    assert told["stored"]["skipped"]
    assert [item["source"] for item in result["report"]["regex"]] == ["regexScripts"] * 3


def test_scripts_of_strangers_wait_for_consent() -> None:
    inputs = {
        "presetData": preset("chatHistory", extensions={"regex_scripts": [{**SCRIPT, "replaceString": "P"}]}),
        "characterData": card(extensions={"regex_scripts": [{**SCRIPT, "findRegex": "P", "replaceString": "C"}]}),
        "historyMessages": history("a"),
    }
    refused = built(**inputs)
    assert texts(refused) == "u:a"
    assert sum("Scripts' in 'settings'" in warning for warning in refused["report"]["warnings"]) == 2
    assert texts(built(**inputs, settings={"cardScripts": True, "presetScripts": True})) == "u:C"


def test_scripts_run_on_world_info() -> None:
    script = {**SCRIPT, "findRegex": "/W/", "placement": [5]}
    inputs = {"presetData": preset("worldInfoBefore"), "worldBookData": book(entry())}
    assert texts(built(**inputs, regexScripts=[script])) == "s:b"


def test_bad_script_is_told_and_the_rest_goes_on() -> None:
    scripts = [{**SCRIPT, "scriptName": "bad", "findRegex": "/(/g"}, SCRIPT, {"name": "r", "pattern": "a"}]
    result = built(presetData=preset("chatHistory"), historyMessages=history("a", "x", "a"), regexScripts=scripts)
    assert texts(result) == "u:b a:x u:b"
    assert result["report"]["regex"][0]["failure"]
    assert any("core:ApplyRegex" in warning for warning in result["report"]["warnings"])


# --- budget and settings ---


def test_what_does_not_fit_is_cut_oldest_first_and_told() -> None:
    result = built(presetData=preset("chatHistory"), historyMessages=history(*["x" * 100] * 9), maxContext=400)
    report = result["report"]
    assert len(result["finalMessages"]) == 2
    assert [item["historyIndex"] for item in report["cut"]] == list(range(7))
    assert report["tokens"] | {"counter": ""} == {
        "counter": "",
        "used": 3 + 2 * 33,
        "available": 100,
        "maxContext": 400,
        "maxTokens": 300,
    }
    assert any("maxContext" in warning for warning in report["warnings"])


def test_post_processing_uses_the_names() -> None:
    inputs = {"presetData": preset("main", "chatHistory"), "historyMessages": history("x", "y")}
    result = built(**inputs, characterData=card(), settings={"postProcessing": "single"})
    assert texts(result) == "u:M\n\nAnn: x\n\nBot: y"


def test_clock_is_given() -> None:
    inputs = {"presetData": preset("main"), "characterData": card(system_prompt="{{isodate}} {{isotime}}")}
    assert texts(built(**inputs)) == "s:2030-01-31 14:05"
    assert texts(built(**inputs, settings={"timezone": "Asia/Tokyo"})) == "s:2030-01-31 23:05"
    assert texts(built(**inputs, settings={"now": "2031-02-03T04:05:06Z"})) == "s:2031-02-03 04:05"


def test_parameters_of_the_preset_are_in_the_report() -> None:
    report = built(presetData=preset(temperature=0.5, proxy_password="secret"))["report"]
    assert report["parameters"] == {"temperature": 0.5}
    assert "secret" not in json.dumps(report)


def test_unknown_setting_is_a_warning() -> None:
    warnings = built(presetData=preset(), settings={"pinExample": True})["report"]["warnings"]
    assert any("'pinExample'" in warning and "pinExamples" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"settings": []}, "'settings'"),
        ({"settings": {"type": "other"}}, "'type'"),
        ({"settings": {"postProcessing": "x"}}, "'postProcessing'"),
        ({"settings": {"pinExamples": "yes"}}, "'pinExamples'"),
        ({"settings": {"now": "2030"}}, "'now'"),
        ({"settings": {"greeting": 1.5}}, "'greeting'"),
        ({"settings": {"group": "Bot"}}, "'group'"),
        ({"settings": {"worldInfo": {"depth": "x"}}}, "'depth'"),
        ({"worldBookData": {"x": 1}}, "'worldBookData': this is no world book"),
        ({"worldBookData": "book"}, "'worldBookData': this is no world book but a text"),
        ({"worldBookData": {"entries": 5}}, "its 'entries' is a number"),
        ({"settings": {"worldInfo": {"recursive": 1}}}, "is a number; it must be true or false"),
        ({"maxContext": 0}, "'maxContext'"),
        ({"maxContext": True}, "'maxContext'"),
        ({"characterData": "x"}, "'characterData'"),
        ({"presetData": "x"}, "preset"),
        ({"worldBookData": "x"}, "."),
        ({"persona": 3}, "'persona'"),
        ({"persona": {"position": "x"}}, "'persona.position'"),
        ({"authorsNote": {"role": "boss"}}, "'authorsNote.role'"),
        ({"authorsNote": {"depth": -1}}, "'authorsNote.depth'"),
        ({"chatState": []}, "'chatState'"),
        ({"chatState": {"timed": 1}}, "'chatState.timed'"),
        ({"variables": "x"}, "'variables'"),
        ({"regexScripts": 3}, "regex"),
        ({"historyMessages": 3}, "."),
        ({"userName": 3}, "'userName'"),
    ],
)
def test_bad_input_is_named(inputs: dict[str, Any], words: str) -> None:
    inputs = {"presetData": preset(), **inputs}
    with pytest.raises(FormatError, match=words):
        built(**inputs)
