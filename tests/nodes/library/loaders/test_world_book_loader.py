"""core:WorldBookLoader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.loaders.world_book_loader import definition
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

BOOK = {"entries": {"0": {"uid": 0, "key": ["fog"], "content": "Fog.", "odd": None}}, "name": "Coast", "x": [1.5]}


def load(content: bytes | None, path: str = "user://b.json") -> Any:
    services = memory_services(files={} if content is None else {path: content})
    return run_node(definition, {}, config={"worldBookResource": path}, services=services)["worldBookData"]


def test_json_book_comes_out_as_it_stands() -> None:
    assert load(json.dumps(BOOK).encode()) == BOOK


def test_yaml_book_keeps_its_keys_as_text() -> None:
    data = b"entries:\n  0:\n    key: [on, 1, ~]\n    content: yes\n"
    expected = {"entries": {"0": {"key": ["on", "1", "~"], "content": "yes"}}}
    assert load(data, "user://b.yaml") == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"x": 1}', "it has no 'entries'"),
        (b'{"entries": 5}', "its 'entries' is a number"),
        (b'"book"', "no world book but a text"),
        (b"\x89PNG\r\n\x1a\n....", "load it with core:CharacterCardLoader"),
    ],
)
def test_what_is_no_book_is_refused_with_what_was_found(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        load(data)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": NaN}', b"[1,]"])
def test_file_that_is_no_json_names_itself(content: bytes) -> None:
    with pytest.raises(FormatError, match=r"failed to load world book 'user://b\.json'"):
        load(content)


def test_exploding_yaml_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(FormatError, match="more than"):
        load("\n".join(lines).encode(), "user://b.yml")


def test_missing_file_and_no_choice_are_errors() -> None:
    with pytest.raises(ResourceError, match="failed to load world book"):
        load(None)
    with pytest.raises(NodeInputError, match="worldBookResource"):
        run_node(definition, {}, config={"worldBookResource": " "})
