"""Reading books of every shape, and turning one shape into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.world_info import (
    Settings,
    WorldBook,
    book_settings,
    read_book,
    read_settings,
    to_character_book,
    to_world_info,
)
from innkeeper.nodes.tavern.world_info.book_file import read_book_file
from innkeeper.nodes.tavern.world_info.keys import split_keys, split_regex
from tests.effort import examples

EXAMPLE = Path(__file__).parents[4] / "examples" / "world_book.json"


def first(raw: Any, **options: Any) -> Any:
    return read_book(raw, "b", **options).entries[0]


@pytest.mark.parametrize(
    "raw",
    [
        {"entries": {"0": {"key": ["fog"], "comment": "t", "content": "c", "order": 7}}},
        {"entries": [{"key": ["fog"], "comment": "t", "content": "c", "order": 7}]},
        [{"keys": ["fog"], "comment": "t", "content": "c", "insertion_order": 7}],
        {"entries": {"0": {"keys": ["fog"], "comment": "t", "content": "c", "insertion_order": 7}}},
        {
            "spec": "lorebook_v3",
            "data": {"entries": [{"keys": ["fog"], "name": "t", "content": "c", "insertion_order": 7}]},
        },
        {
            "data": {
                "character_book": {"entries": [{"keys": ["fog"], "comment": "t", "content": "c", "insertion_order": 7}]}
            }
        },
        {
            "lorebookVersion": 5,
            "entries": [{"text": "c", "keys": ["fog"], "displayName": "t", "contextConfig": {"budgetPriority": 7}}],
        },
        {"kind": "memory", "entries": [{"entry": "c", "keywords": ["fog"], "name": "t", "weight": 7}]},
        {"type": "risu", "data": [{"key": "fog, ", "secondkey": "", "comment": "t", "content": "c", "insertorder": 7}]},
    ],
    ids=["silly", "list", "bare", "object_of_keys", "v3", "card", "novel", "agnai", "risu"],
)
def test_every_shape_gives_the_same_entry(raw: Any) -> None:
    entry = first(raw)
    assert (entry.keys, entry.title, entry.content, entry.order) == (("fog",), "t", "c", 7)
    assert not entry.disabled


def test_risu_fields() -> None:
    raw = {"type": "risu", "data": [{"key": "a,b", "secondkey": "c", "selective": True, "activationPercent": 30}]}
    entry = first(raw)
    assert (entry.keys, entry.secondary_keys, entry.selective, entry.probability) == (("a", "b"), ("c",), True, 30)


def test_missing_fields_get_defaults_unless_read_as_sillytavern() -> None:
    raw = {"entries": {"3": {"key": "fog, sea"}}}
    kind, strict = first(raw), first(raw, sillytavern=True)
    assert (kind.uid, kind.keys, kind.selective, kind.position, kind.depth) == (3, ("fog", "sea"), True, 0, 4)
    assert (strict.keys, strict.selective, strict.position, strict.depth) == ((), False, None, None)


def test_entries_of_one_id_are_kept_with_a_number_of_their_own() -> None:
    raw = {"entries": [{"id": 1, "keys": ["a"]}, {"id": 1, "keys": ["b"]}, {"keys": ["c"]}]}
    book = read_book(raw, "b")
    assert [(one.uid, one.keys[0]) for one in book.entries] == [(0, "b"), (1, "a"), (2, "c")]
    assert len(book.warnings) == 1
    both = {"entries": {"0": {"uid": 4, "key": ["a"]}, "1": {"uid": 4, "key": ["b"]}, "2": 5}}
    book = read_book(both, "b")
    assert [one.uid for one in book.entries] == [4, 0]
    assert len(book.warnings) == 2


def test_entries_stand_in_the_order_of_their_numbers() -> None:
    raw = {"entries": {"10": {"uid": 10}, "9": {"uid": 9}, "x": {"uid": 1}}}
    assert [one.uid for one in read_book(raw, "b").entries] == [9, 10, 1]


@pytest.mark.parametrize("raw", [None, 5, "x", {}, {"entries": 5}, {"lorebookVersion": 1}, {"entries": None}])
def test_what_is_no_book_is_refused_with_the_known_shapes(raw: Any) -> None:
    with pytest.raises(FormatError):
        read_book(raw, "b")


def test_fields_of_wrong_types_get_their_default() -> None:
    raw = {"key": [1, True, None, {}], "order": "12", "depth": [], "position": "after_char", "sticky": True, "role": {}}
    entry = first({"entries": {"0": raw}})
    assert (entry.keys, entry.order, entry.depth, entry.position) == (("1", "true", "null"), 12, 4, 1)
    assert (entry.sticky, entry.role) == (1, 0)


def test_keys_of_yaml_keep_their_own_text() -> None:
    data = b"entries:\n  0:\n    key: [on, 007, ~, 1.50, True]\n    content: fog\n  1: {key: 12}\n"
    raw = read_book_file("b.yaml", data=data)["raw"]
    assert raw["entries"]["0"]["key"] == ["on", "007", "~", "1.50", "True"]
    assert read_book(raw, "b").entries[1].keys == ("12",)


def test_settings_are_read_by_both_names_and_checked() -> None:
    assert read_settings({"world_info_depth": 7, "recursive": False, "other": 1}) == Settings(depth=7, recursive=False)
    for bad in ({"depth": "x"}, {"depth": -1}, {"budget": float("nan")}, {"recursive": 1}):
        with pytest.raises(FormatError):
            read_settings(bad)


def test_wishes_of_a_book_are_followed_by_choice() -> None:
    book = read_book({"scan_depth": 9, "token_budget": 50, "recursive_scanning": False, "entries": []}, "b")
    assert book_settings([WorldBook("x"), book], Settings()) == Settings(depth=9, budget_cap=50, recursive=False)


def test_unchanged_character_book_comes_back_as_it_was() -> None:
    raw = {
        "name": "Coast",
        "scan_depth": 3,
        "extensions": {"x": 1},
        "odd": [1],
        "entries": [
            {"keys": ["fog"], "priority": 5, "case_sensitive": True, "mine": {"a": 1}},
            {"id": 0, "keys": ["b"]},
        ],
    }
    world_info = json.loads(json.dumps(to_world_info(raw)))
    assert to_character_book(world_info) == raw
    uid = next(uid for uid, one in world_info["entries"].items() if one["key"] == ["fog"])
    world_info["entries"][uid]["content"] = "new"
    changed = to_character_book(world_info)["entries"]
    edited = next(one for one in changed if one["keys"] == ["fog"])
    assert (edited["content"], edited["priority"], edited["mine"]) == ("new", 5, {"a": 1})


def test_key_list_and_regex_keys() -> None:
    assert split_keys("a, /b,c/i , , d") == ("a", "/b,c/i", "d")
    assert split_keys("a,,b") == ("a", ",b")
    assert split_keys("/a,b/x,c") == ("/a", "b/x", "c")
    assert split_regex("/[\\/]\n\\/x/gi") == ("[/]\\n\\/x", "gi")
    assert split_regex("/a/gg") is None
    assert split_regex("/a\\/b/ig") == ("a\\/b", "gi")
    assert split_regex("/a/x") is None


def test_example_book_is_whole() -> None:
    book = read_book(json.loads(EXAMPLE.read_text(encoding="utf-8")), "world_book")
    assert not book.warnings
    assert any(one.constant for one in book.entries)
    assert any(one.secondary_keys for one in book.entries)
    assert any(one.position == 4 for one in book.entries)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SOME = {
    "key": st.lists(st.text(max_size=4), max_size=2),
    "keysecondary": st.lists(st.text(max_size=4), max_size=2),
    "comment": st.text(max_size=4),
    "content": st.text(max_size=4),
    "selective": st.booleans() | st.none(),
    "constant": st.booleans(),
    "disable": st.booleans(),
    "order": st.integers(0, 300),
    "position": st.integers(0, 9) | st.none(),
    "depth": st.integers(0, 9),
    "role": st.integers(0, 2),
    "probability": st.integers(0, 100),
    "useGroupScoring": st.booleans() | st.none(),
    "delayUntilRecursion": st.booleans() | st.integers(0, 3),
    "sticky": st.integers(0, 3) | st.none(),
    "matchScenario": st.booleans(),
    "triggers": st.lists(st.sampled_from(["normal", "swipe"]), max_size=2),
    "characterFilter": st.fixed_dictionaries({"isExclude": st.booleans(), "names": st.lists(st.text(max_size=3))}),
    "addMemo": st.booleans(),
    "mine": JSON,
    "extensions": st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2),
}


@examples(150)
@given(st.lists(st.fixed_dictionaries({}, optional=SOME), max_size=4))
def test_book_through_a_character_book_and_back_is_the_same(entries: list[dict[str, Any]]) -> None:
    raw: dict[str, Any] = {"name": "b", "entries": {str(uid): {"uid": uid, **one} for uid, one in enumerate(entries)}}
    back = to_world_info(json.loads(json.dumps(to_character_book(raw))))
    assert read_book(back, "b").entries == read_book(raw, "b").entries
    for uid, one in raw["entries"].items():
        kept = {key: value for key, value in one.items() if key != "extensions" and value is not None}
        assert {key: back["entries"][uid][key] for key in kept} == kept


BOOKISH = st.sampled_from(
    ["entries", "data", "keys", "key", "character_book", "kind", "type", "lorebookVersion", "uid"]
)
VALUES = st.recursive(
    JSON | st.sampled_from(["memory", "risu"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BOOKISH | st.sampled_from("01"), inner, max_size=4),
    max_leaves=12,
)


@examples(200)
@given(VALUES, st.booleans())
def test_any_value_is_a_book_or_refused(value: Any, sillytavern: bool) -> None:
    try:
        book = read_book(value, "b", sillytavern=sillytavern)
    except FormatError:
        return
    assert len({one.uid for one in book.entries}) == len(book.entries)


@examples(150)
@given(
    st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()), st.sampled_from(["b.json", "b.yml"])
)
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    try:
        json.dumps(read_book_file(name, data=data))
    except FormatError:
        return


def test_as_sillytavern_sparse_entries_stay_sparse() -> None:
    entry = to_world_info({"entries": [{"id": None}]}, sillytavern=True)["entries"]["null"]
    assert not {"key", "content", "order"} & set(entry)
    written = to_character_book({"entries": {"0": {"key": ["fog"]}}}, sillytavern=True)["entries"][0]
    assert written["keys"] == ["fog"]
    assert not {"id", "content", "comment", "selective", "insertion_order"} & set(written)
    extensions = written["extensions"]
    assert (extensions["depth"], extensions["probability"], extensions["useProbability"]) == (4, None, False)
    assert not {"position", "exclude_recursion", "display_index"} & set(extensions)


def test_as_sillytavern_a_place_is_not_taken_from_the_extensions() -> None:
    book = to_character_book({"entries": {"0": {"uid": 0, "extensions": {"position": 4, "x": 1}}}}, sillytavern=True)
    extensions = book["entries"][0]["extensions"]
    assert "position" not in extensions
    assert extensions["x"] == 1


def test_key_list_is_split_inside_what_is_no_valid_pattern() -> None:
    assert split_keys("/(,/,b", engine()) == ("/(", "/", "b")
    assert split_keys("/a,b/,c", engine()) == ("/a,b/", "c")


def test_entry_that_novel_ai_forces_is_always_active() -> None:
    forced = {"text": "c", "keys": ["a"], "forceActivation": True}
    book = read_book({"lorebookVersion": 5, "entries": [forced, {"text": "d", "keys": ["b"]}]}, "b")
    assert [entry.constant for entry in book.entries] == [True, False]


def test_list_of_other_things_is_no_book() -> None:
    with pytest.raises(FormatError, match="no item of the list"):
        read_book([{"a": 1}], "b")
