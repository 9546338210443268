"""All loaders: a file of another kind is refused by its name, and what was overlooked is a warning."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

import pytest

from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.library.loaders import (
    character_card_loader,
    history_loader,
    preset_loader,
    regex_rule_loader,
    world_book_loader,
)
from innkeeper.nodes.tavern.cards import write_png
from innkeeper.nodes.tavern.cards.png import write_png_file
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

LOADERS = {
    "core:CharacterCardLoader": character_card_loader.definition,
    "core:HistoryLoader": history_loader.definition,
    "core:PresetLoader": preset_loader.definition,
    "core:RegexRuleLoader": regex_rule_loader.definition,
    "core:WorldBookLoader": world_book_loader.definition,
}
CARD = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Mira", "description": "A keeper."}}
OTHER = [
    ("core:CharacterCardLoader", CARD),
    ("core:CharacterCardLoader", {"name": "Mira", "description": "A keeper.", "first_mes": "Hi."}),
    ("core:CharacterCardLoader", {"char_name": "Mira", "char_persona": "A keeper."}),
    ("core:WorldBookLoader", {"entries": {}}),
    ("core:WorldBookLoader", {"entries": [{"keys": ["fog"], "content": "Fog."}], "name": "Coast"}),
    ("core:WorldBookLoader", {"lorebookVersion": 5, "entries": []}),
    ("core:WorldBookLoader", [{"key": ["fog"], "content": "Fog."}]),
    ("core:PresetLoader", {"prompts": [], "prompt_order": []}),
    ("core:PresetLoader", {"chat_completion_source": "openai", "temperature": 1}),
    ("core:RegexRuleLoader", [{"findRegex": "/a/"}]),
    ("core:RegexRuleLoader", {"scriptName": "s", "findRegex": "/a/", "replaceString": ""}),
    ("core:RegexRuleLoader", [{"name": "r", "pattern": "a", "replacement": "b"}]),
    ("core:HistoryLoader", [{"role": "user", "content": "hi"}]),
    ("core:HistoryLoader", [{"name": "Mira", "is_user": False, "mes": "hi"}]),
    ("core:HistoryLoader", {"type": "risuChat", "data": {"message": []}}),
    ("core:HistoryLoader", {"messages": [{"msg": "Hi.", "userId": "u"}], "data_visible": []}),
    ("", {"instruct": {}, "context": {"story_string": "b"}, "sysprompt": {}, "preset": {"temp": 1}}),
    ("", {"input_sequence": "", "output_sequence": ""}),
    ("", {"name": "Neutral", "content": "Write."}),
    ("", {"nodes": [], "edges": []}),
    ("", {"version": 2, "name": "q", "qrList": []}),
]
ALSO_READ = {
    # A card or preset brings its scripts along, a card its book.
    "core:RegexRuleLoader": ("core:CharacterCardLoader", "core:PresetLoader"),
    "core:WorldBookLoader": ("core:CharacterCardLoader",),
}


def load(loader: str, content: bytes, name: str = "f.json") -> tuple[Any, list[dict[str, str]]]:
    definition: NodeDefinition = LOADERS[loader]
    ((key, _),) = definition.config_schema.items()
    warnings: list[dict[str, str]] = []
    services = memory_services(files={f"user://{name}": content})
    outputs = run_node(definition, {}, config={key: f"user://{name}"}, services=services, warnings=warnings)
    return next(iter(outputs.values())), warnings


def codes(warnings: list[dict[str, str]]) -> list[str]:
    return [warning["code"] for warning in warnings]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(("reader", "document"), OTHER)
def test_file_of_another_kind_is_refused_and_the_node_that_reads_it_named(
    loader: str, reader: str, document: Any
) -> None:
    if loader == reader:
        load(loader, json.dumps(document).encode())
        return
    if reader in ALSO_READ.get(loader, ()):
        return
    with pytest.raises(FormatError) as failure:
        load(loader, json.dumps(document).encode())
    assert reader in failure.value.message


def test_document_that_may_be_of_two_kinds_is_what_is_expected() -> None:
    chat = {"name": "c", "scenario": "at sea", "greeting": "Hi.", "messages": [{"msg": "Hi.", "userId": "u"}]}
    messages, _ = load("core:HistoryLoader", json.dumps(chat).encode())
    assert messages == [{"role": "user", "content": "Hi."}]


@pytest.mark.parametrize("loader", ["core:CharacterCardLoader", "core:PresetLoader", "core:WorldBookLoader"])
def test_chat_of_several_lines_is_refused_as_a_chat(loader: str) -> None:
    lines = [{"user_name": "Alice", "character_name": "Mira", "chat_metadata": {}}, {"name": "Mira", "mes": "hi"}]
    with pytest.raises(FormatError, match="core:HistoryLoader"):
        load(loader, "\n".join(map(json.dumps, lines)).encode(), "chat.jsonl")


@pytest.mark.parametrize("loader", ["core:CharacterCardLoader", "core:PresetLoader"])
@pytest.mark.parametrize("document", [{"a": 2}, {"user_prompt": "Go on."}, {"temperature": 1}, {}])
def test_object_of_no_known_kind_passes_as_it_is(loader: str, document: Any) -> None:
    assert load(loader, json.dumps(document).encode())[0] == document


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", ["f.json", "f.png", "f.yaml"])
def test_pointer_of_git_lfs_is_called_so(loader: str, name: str) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    with pytest.raises(FormatError, match="Git LFS pointer"):
        load(loader, pointer, name)


@pytest.mark.parametrize(
    ("start", "name"), [(b"\0\0\0\x20ftypavif", "an AVIF;"), (b"\xff\xd8\xff", "a JPEG;"), (b"GIF89a", "a GIF;")]
)
def test_pictures_of_another_kind_have_the_right_article(start: bytes, name: str) -> None:
    with pytest.raises(FormatError, match=f"this is {name}"):
        load("core:CharacterCardLoader", start + b"\0" * 40, "card.png")


# --- cards without a name ---

NAMELESS: list[dict[str, Any]] = [
    {"name": "", "spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "", "description": "d"}},
    {"spec": "chara_card_v3", "spec_version": "3.0", "data": {"name": None, "description": None, "tags": None}},
    {"spec": "chara_card_v2", "data": {"description": "d"}},
    {"name": None, "description": None, "personality": None},
    {"name": "  ", "description": "d"},
    {"char_name": "", "char_persona": "p"},
    {"description": "d"},
]


@pytest.mark.parametrize("card", NAMELESS)
def test_card_without_a_name_is_called_like_its_file(card: dict[str, Any]) -> None:
    named, warnings = load("core:CharacterCardLoader", json.dumps(card).encode(), "main_orla_spec_v2.json")
    fields = named["data"] if "data" in card else named
    assert fields["char_name" if "char_name" in card else "name"] == "main_orla_spec_v2"
    assert named.keys() - {"name"} == card.keys() - {"name"}
    assert "card_without_name" in codes(warnings)


def test_nameless_cards_in_png_charx_and_yaml_are_named_too() -> None:
    picture = write_png_file([("IHDR", b"\0" * 13), ("IEND", b"")])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("card.json", json.dumps(NAMELESS[0]))
    for name, content in (
        ("orla.png", write_png(picture, NAMELESS[0])),
        ("orla.charx", archive.getvalue()),
        ("orla.yaml", b"context: d\n"),
    ):
        card, warnings = load("core:CharacterCardLoader", content, name)
        assert card.get("data", card)["name"] == "orla"
        assert codes(warnings) == ["card_without_name"]


def test_card_with_a_name_stays_as_it_is() -> None:
    assert load("core:CharacterCardLoader", json.dumps(CARD).encode()) == (CARD, [])


# --- what was overlooked ---


def broken_ccv3() -> bytes:
    good = write_png(write_png_file([("IHDR", b"\0" * 13), ("IEND", b"")]), CARD)
    at = good.index(b"ccv3\0") + 5
    return good[:at] + b"!!!!" + good[at + 4 :]


@pytest.mark.parametrize(
    ("loader", "name", "content", "code"),
    [
        ("core:CharacterCardLoader", "c.json", '{"name":"Мира","description":"d"}'.encode("cp1251"), "not_utf8"),
        ("core:CharacterCardLoader", "c.png", broken_ccv3(), "broken_card_chunk"),
        ("core:CharacterCardLoader", "c.png", json.dumps(CARD).encode(), "wrong_file_ending"),
        ("core:CharacterCardLoader", "c.json", b"{}", "no_card"),
        (
            "core:HistoryLoader",
            "c.jsonl",
            b'{"name":"A","mes":"x"}\n{"name":"B","me',
            "broken_last_line",
        ),
        ("core:HistoryLoader", "c.json", '[{"role":"user","content":"Мира"}]'.encode("cp1251"), "not_utf8"),
        ("core:PresetLoader", "p.json", b'{"prompts":[{"identifier":"a"},{"identifier":"a"}]}', "duplicate_id"),
        (
            "core:WorldBookLoader",
            "b.json",
            b'{"entries":[{"id":1,"keys":["a"],"content":"x"},{"id":1,"keys":["b"],"content":"y"}]}',
            "duplicate_id",
        ),
        (
            "core:RegexRuleLoader",
            "r.json",
            b'[{"name":"a","pattern":"x","replacement":""},{"name":"a","pattern":"y","replacement":""}]',
            "duplicate_id",
        ),
        ("core:RegexRuleLoader", "r.json", b'[{"pattern":"x","replacement":""}]', "rule_left_out"),
        ("core:RegexRuleLoader", "r.json", b'[{"scriptName":"s","findRegex":"x"}]', "odd_regex_script"),
    ],
)
def test_what_a_loader_overlooked_is_a_warning(loader: str, name: str, content: bytes, code: str) -> None:
    warnings = load(loader, content, name)[1]
    assert code in codes(warnings)
    assert all(warning["message"] and "Мира" not in warning["message"] for warning in warnings)


@pytest.mark.parametrize(
    ("book", "code", "words"),
    [
        (
            {"lorebookVersion": 5, "entries": [{"text": "c", "keys": [], "forceActivation": True}]},
            "force_activation",
            "(1)",
        ),
        (
            {"lorebookVersion": 5, "entries": [{"text": "c", "keys": ["a"], "contextConfig": {"prefix": "Note: "}}]},
            "fields_not_used",
            "contextConfig.prefix",
        ),
        (
            {
                "kind": "memory",
                "entries": [
                    {"entry": "c", "keywords": ["a"], "priority": 1},
                    {"entry": "d", "keywords": ["b"], "priority": 2},
                ],
            },
            "fields_not_used",
            "'priority' of 2 entries",
        ),
    ],
)
def test_what_another_tools_book_says_in_vain_is_told(book: dict[str, Any], code: str, words: str) -> None:
    warnings = load("core:WorldBookLoader", json.dumps(book).encode())[1]
    assert codes(warnings) == [code]
    assert words in warnings[0]["message"]


def test_book_in_a_picture_of_novel_ai_is_read_by_the_loader_of_books() -> None:
    book = {"lorebookVersion": 5, "entries": [{"text": "Fog.", "keys": ["fog"]}]}
    hidden = b"naidata\0" + base64.b64encode(json.dumps(book).encode())
    picture = write_png_file([("IHDR", b"\0" * 13), ("tEXt", hidden), ("IEND", b"")])
    assert load("core:WorldBookLoader", picture, "b.png") == (book, [])
    with pytest.raises(FormatError, match="core:WorldBookLoader"):
        load("core:CharacterCardLoader", picture, "b.png")
    with pytest.raises(FormatError, match="core:CharacterCardLoader"):
        load("core:WorldBookLoader", write_png(picture[:33] + picture[-12:], CARD), "c.png")
