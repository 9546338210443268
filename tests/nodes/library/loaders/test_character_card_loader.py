"""core:CharacterCardLoader."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError, ResourceError
from innkeeper.nodes.library.loaders.character_card_loader import definition
from innkeeper.nodes.tavern.cards import write_png
from innkeeper.nodes.tavern.cards.png import write_png_file
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

PATH = "user://library/cards/mira.png"
CARD: dict[str, Any] = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Mira", "odd": [1, None]}}
PICTURE = write_png_file([("IHDR", b"\0" * 13), ("IDAT", b"x"), ("IEND", b"")])


def load(content: bytes | None, path: str = PATH) -> Any:
    services = memory_services(files={} if content is None else {path: content})
    return run_node(definition, {}, config={"cardResource": path}, services=services)["characterData"]


def test_png_card_comes_out_as_written() -> None:
    assert load(write_png(PICTURE, CARD)) == {**CARD, "spec": "chara_card_v3", "spec_version": "3.0"}


def test_json_card_keeps_every_key_and_number() -> None:
    card = {"name": "咕咕", "data": {"n": 1.5, "big": 12345678901, "nul": None}}
    assert load(json.dumps(card).encode(), "user://c.json") == card


def test_json_that_is_no_object_passes_as_it_is() -> None:
    assert load(b"42", "user://c.json") == 42


def test_yaml_card_is_read_by_its_name() -> None:
    assert load(b"name: Mira\ncontext: A keeper.\n", "user://c.yaml") == {"name": "Mira", "context": "A keeper."}


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        (b"", "user://c.json", "the file is empty"),
        (b'{"name": "x",', "user://c.json", "line 1, column 14"),
        (b'\xef\xbb\xbf{"name":"x"}', "user://c.json", "byte order mark"),
        (PICTURE, PATH, "no character data"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, PATH, "JPEG"),
        (b"a: &a [*a]", "user://c.yml", "an alias"),
    ],
)
def test_bad_file_fails_with_its_name_and_the_reason(content: bytes, path: str, reason: str) -> None:
    with pytest.raises(FormatError) as failure:
        load(content, path)
    assert failure.value.message.startswith(f"failed to load character card {path!r}: ")
    assert reason in failure.value.message
    assert not failure.value.retryable


def test_missing_file_fails_as_a_resource() -> None:
    with pytest.raises(ResourceError, match=r"failed to load character card 'user://library/cards/mira\.png'"):
        load(None)


def test_path_comes_before_the_setting_unless_it_is_empty() -> None:
    services = memory_services(files={PATH: write_png(PICTURE, CARD), "user://c.json": b'{"name": "Ann"}'})
    for path, name in (("user://c.json", "Ann"), ("  ", "Mira")):
        found = run_node(definition, {"path": path}, config={"cardResource": PATH}, services=services)["characterData"]
        assert (found.get("data") or found)["name"] == name


def test_path_that_is_too_long_fails_before_anything_is_read() -> None:
    with pytest.raises(NodeInputError, match="'path' must be a text of at most 1024 characters"):
        run_node(definition, {"path": "x" * 1025}, config={"cardResource": PATH}, services=memory_services(files={}))


@pytest.mark.parametrize("config", [{}, {"cardResource": ""}, {"cardResource": "  "}, {"cardResource": 3}])
def test_nothing_chosen_fails_and_names_the_setting(config: dict[str, Any]) -> None:
    with pytest.raises(NodeInputError, match="cardResource"):
        run_node(definition, {}, config=config)


def test_what_was_overlooked_is_logged_without_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="innkeeper.node"):
        load('{"name": "René"}'.encode("latin-1"), "user://c.json")
    assert "byte 13" in caplog.text
    assert "Ren" not in caplog.text


def test_errors_of_a_reader_may_be_told_from_each_other() -> None:
    with pytest.raises(NodeError) as failure:
        load(b"[", "user://c.json")
    assert failure.value.code == "invalid_format"
    assert str(failure.value) == failure.value.message
