"""core:PresetLoader."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ResourceError
from innkeeper.nodes.library.loaders.preset_loader import definition
from innkeeper.nodes.tavern.environment import FormatError
from innkeeper.nodes.testing import memory_services, run_node

PATH = "user://library/presets/p.json"


def load(content: bytes | None, path: str = PATH) -> Any:
    services = memory_services(files={} if content is None else {path: content})
    return run_node(definition, {}, config={"presetResource": path}, services=services)["presetData"]


def test_preset_comes_out_as_it_stands_in_the_file() -> None:
    raw = {"temperature": 0.8, "odd": [1, None], "prompts": [{"identifier": "main", "own": True}]}
    assert load(json.dumps(raw).encode()) == raw


def test_connection_fields_stay_behind() -> None:
    raw = {"prompts": [], "proxy_password": "hidden", "custom_url": "hidden", "openai_model": "hidden"}
    assert load(json.dumps(raw).encode()) == {"prompts": []}


def test_odd_things_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(b'{"prompts": 3}')
    assert "'prompts' is not a list" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a":[1,2,],}', "not valid JSON"),
        (b'{"a":NaN}', "NaN"),
        (b"[]", "expected an object"),
        (b'{"story_string": ""}', "text-completion"),
        (b"", "empty"),
    ],
)
def test_bad_file_is_named_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        load(content)
    assert PATH in caught.value.message


def test_missing_file_and_no_choice() -> None:
    with pytest.raises(ResourceError, match=r"p\.json"):
        load(None)
    with pytest.raises(NodeInputError, match="presetResource"):
        run_node(definition, {}, config={"presetResource": ""})
