"""The versions of a card, and the one shape that prompts are built of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.cards import DepthPrompt, normalise, to_v2, to_v3, validate
from innkeeper.nodes.tavern.environment import FormatError
from tests.effort import examples

V1: dict[str, Any] = {
    "name": "Mira",
    "description": "A keeper.",
    "personality": "calm",
    "scenario": "A storm.",
    "first_mes": "Hello.",
    "mes_example": "<START>",
}
V2_DATA: dict[str, Any] = {
    **V1,
    "creator_notes": "n",
    "system_prompt": "s",
    "post_history_instructions": "p",
    "alternate_greetings": ["Hey."],
    "tags": ["sea"],
    "creator": "c",
    "character_version": "1",
    "extensions": {"odd": 1},
}
V2: dict[str, Any] = {"spec": "chara_card_v2", "spec_version": "2.0", "data": V2_DATA}
V3: dict[str, Any] = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**V2_DATA, "nickname": "Mi"}}


def v2(**changes: Any) -> dict[str, Any]:
    return {**V2, "data": {**V2_DATA, **changes}}


def test_all_versions_give_the_same_character() -> None:
    for raw in (V2, V3, {**V2_DATA}, {"data": V2_DATA}, {**V2, "name": "stale"}):
        card = normalise(raw)
        assert (card.name, card.description, card.system_prompt) == ("Mira", "A keeper.", "s")
        assert (card.alternate_greetings, card.tags, card.extensions) == (("Hey.",), ("sea",), {"odd": 1})
    assert normalise(V3).char_name == "Mi"
    assert normalise(V2).char_name == "Mira"


def test_v1_has_empty_values_for_what_it_lacks() -> None:
    card = normalise({**V1, "creatorcomment": "c"})
    assert card.creator_notes == "c"
    assert (card.system_prompt, card.alternate_greetings, card.tags, dict(card.extensions)) == ("", (), (), {})
    assert card.character_book is None
    assert card.depth_prompt == DepthPrompt("", 4, "system")
    assert card.warnings == ()


def test_old_tools_have_names_of_their_own() -> None:
    pygmalion = {
        "char_name": "Mira",
        "char_persona": "A keeper.",
        "char_greeting": "Hello.",
        "example_dialogue": "<START>",
        "world_scenario": "A storm.",
    }
    card = normalise(pygmalion)
    assert (card.name, card.description, card.first_mes) == ("Mira", "A keeper.", "Hello.")
    assert (card.mes_example, card.scenario) == ("<START>", "A storm.")
    oobabooga = normalise({"name": "Mira", "context": "A keeper.", "greeting": "Hello."})
    assert (oobabooga.name, oobabooga.description, oobabooga.first_mes) == ("Mira", "A keeper.", "Hello.")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("alternate_greetings", "one", ("one",)),
        ("alternate_greetings", None, ()),
        ("alternate_greetings", "", ()),
        ("alternate_greetings", ["a", None, 5, {}], ("a", "5")),
        ("group_only_greetings", ["a"], ("a",)),
        ("tags", "sea, storm ,,", ("sea", "storm")),
        ("tags", None, ()),
        ("tags", [" a ", ""], ("a",)),
        ("description", None, ""),
        ("description", 5, "5"),
        ("description", ["x"], ""),
        ("description", "a\r\nb\r", "a\nb"),
        ("extensions", None, {}),
        ("extensions", [], {}),
        ("character_book", None, None),
        ("character_book", {"entries": []}, {"entries": []}),
    ],
)
def test_what_is_seen_in_the_wild_is_brought_into_shape(field: str, value: Any, expected: Any) -> None:
    assert getattr(normalise(v2(**{field: value})), field) == expected


def test_extensions_that_prompts_need_are_taken_out() -> None:
    card = normalise(
        v2(
            extensions={
                "world": "Sea",
                "regex_scripts": [{"id": 1}],
                "depth_prompt": {"prompt": "Be calm.", "depth": "2", "role": "user"},
            }
        )
    )
    assert (card.world, card.regex_scripts) == ("Sea", ({"id": 1},))
    assert card.depth_prompt == DepthPrompt("Be calm.", 2, "user")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"prompt": "x"}, DepthPrompt("x", 4, "system")),
        ({"prompt": "x", "depth": 0, "role": 2}, DepthPrompt("x", 0, "assistant")),
        ({"prompt": None, "depth": -1, "role": "king"}, DepthPrompt()),
        ({"depth": "deep"}, DepthPrompt()),
        ([], DepthPrompt()),
    ],
)
def test_depth_prompt_has_defaults(found: Any, expected: DepthPrompt) -> None:
    assert normalise(v2(extensions={"depth_prompt": found})).depth_prompt == expected


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"spec": "chara_card_v9", "data": V2_DATA}, "'spec' is unknown"),
        ({**V3, "spec_version": "3.5"}, "newer than"),
        ({**V1, "spec": "chara_card_v2", "spec_version": "2.0"}, "no object 'data'"),
        ({**V2, "description": "stale"}, "flat copies of description"),
        (v2(name=""), "no name"),
        (v2(character_book=[]), "'character_book' is an array"),
    ],
)
def test_odd_card_is_read_with_a_warning(raw: dict[str, Any], word: str) -> None:
    card = normalise(raw, "Mira.png")
    assert any(word in warning for warning in card.warnings), card.warnings
    assert (card.name, card.description) == ("Mira", "A keeper.")


def test_character_without_name_and_file_has_none() -> None:
    assert normalise({}).name == ""


@pytest.mark.parametrize(
    ("raw", "version", "problem"),
    [
        (V1, 1, None),
        ({**V2, **V1}, 1, None),
        (V2, 2, "name"),
        (V3, 3, "spec"),
        ({**V3, "spec_version": "3.9"}, 3, "spec"),
        ({**V3, "spec_version": 3}, 3, "spec"),
        ({**V3, "spec_version": "4.0"}, False, "spec_version"),
        ({**V3, "spec_version": "new"}, False, "spec_version"),
        ({**V3, "data": None}, False, "data"),
        (v2(tags=None), False, "spec"),
        (v2(character_book={"entries": []}), False, "spec"),
        (v2(character_book={"entries": [], "extensions": {}}), 2, "name"),
        (v2(character_book={"entries": {}, "extensions": {}}), False, "spec"),
        ({**V2, "spec_version": "2.1"}, False, "spec"),
        ([1], False, "spec"),
        (None, False, "spec"),
    ],
)
def test_strict_validation(raw: Any, version: int, problem: str | None) -> None:
    found = validate(raw)
    assert (found.version, found.problem) == (version, problem)


def test_v1_is_lifted_to_v2_and_v3_and_keeps_unknown_keys() -> None:
    raw = {**V1, "tags": "sea, storm", "odd": {"x": 1}, "creatorcomment": "c"}
    lifted = to_v2(raw)
    assert lifted["odd"] == {"x": 1}
    assert lifted["data"]["tags"] == ["sea", "storm"]
    assert lifted["data"]["creator_notes"] == "c"
    assert validate({key: lifted[key] for key in ("spec", "spec_version", "data")}).version == 2
    newest = to_v3(raw)
    assert newest["odd"] == {"x": 1}
    assert newest["data"]["group_only_greetings"] == []
    assert validate(newest).version == 3
    assert "chat" not in lifted
    assert to_v2(raw, stamp="NOW")["chat"] == "Mira - NOW"
    assert raw == {**V1, "tags": "sea, storm", "odd": {"x": 1}, "creatorcomment": "c"}


def test_flat_copies_are_set_from_data() -> None:
    stale = {**V2, "name": "old", "talkativeness": 1, "json_data": "{}", "odd": 1}
    card = to_v2(stale)
    assert (card["name"], card["tags"], card["odd"]) == ("Mira", ["sea"], 1)
    assert "talkativeness" not in card
    assert "json_data" not in card
    assert to_v2({"spec": "chara_card_v2", "name": "x"}, "NOW") == {"spec": "chara_card_v2", "name": "x"}


@pytest.mark.parametrize("lift", [to_v2, to_v3])
def test_only_objects_are_lifted(lift: Any) -> None:
    with pytest.raises(FormatError, match="got an array"):
        lift([1])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [*V2_DATA, "spec", "spec_version", "data", "fav", "character_book", "char_name", "context", "chat"]
any_card = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), json_values, max_size=8)


@examples(150)
@given(any_card, st.booleans(), any_card)
def test_any_object_can_be_normalised_and_lifted(raw: dict[str, Any], has_data: bool, data: dict[str, Any]) -> None:
    raw = {**raw, "data": data} if has_data else raw
    before = json.dumps(raw)
    normalise(raw, "x.png")
    validate(raw)
    lifted, newest = to_v2(raw, "NOW"), to_v3(raw)
    assert set(raw) - set(lifted) <= {"json_data", "talkativeness", "fav"}
    assert validate(newest).version == 3
    assert {key for key in data if has_data} <= set(newest["data"])
    assert json.dumps(raw) == before


@pytest.mark.parametrize(("given_fav", "fav"), [("true", True), (True, False), ("false", False), (None, False)])
def test_flat_favourite_is_a_text(given_fav: Any, fav: bool) -> None:
    flat = dict.fromkeys(("description", "personality", "scenario", "first_mes", "mes_example"), "")
    assert to_v2({"name": "Mira", **flat, "fav": given_fav})["data"]["extensions"]["fav"] is fav


def test_card_of_agnai_has_its_persona_and_says_what_is_not_used() -> None:
    raw = {
        "kind": "character",
        "name": "Mira",
        "description": "For people.",
        "persona": {"kind": "attributes", "attributes": {"species": ["owl", "spirit"], "age": []}},
        "greeting": "Hoo!",
        "sampleChat": "{{user}}: hi",
        "systemPrompt": "Be an owl.",
        "insert": {"prompt": "Owls fly.", "depth": 2},
        "voice": {"service": "x"},
    }
    card = normalise(raw)
    assert (card.name, card.description, card.first_mes) == ("Mira", "species: owl, spirit", "Hoo!")
    assert (card.mes_example, card.system_prompt, card.creator_notes) == ("{{user}}: hi", "Be an owl.", "For people.")
    assert (card.depth_prompt.prompt, card.depth_prompt.depth) == ("Owls fly.", 2)
    assert [warning for warning in card.warnings if "voice" in warning]
    text = normalise({"name": "M", "persona": {"kind": "text", "attributes": {"text": ["An owl."]}}})
    assert (text.description, text.warnings) == ("An owl.", ())
