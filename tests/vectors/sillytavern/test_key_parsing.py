"""Keys against SillyTavern: what is a regular expression, and how a list written as one text falls apart."""

from __future__ import annotations

import pytest

from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.world_info.keys import parse_key, split_keys, split_regex
from tests.vectors.sillytavern.recorded import Case, load, name_of


@pytest.mark.parametrize("case", load("key_parsing"), ids=name_of)
def test_key_is_parsed_as_recorded(case: Case) -> None:
    given = case["input"]
    if "keys_text" in given:
        assert list(split_keys(given["keys_text"], engine())) == case["expected"]
    else:
        assert parsed(given["key"]) == case["expected"]


def parsed(key: str) -> dict[str, object]:
    parts = split_regex(key)
    if parts is None or parse_key(key, engine()) is None:
        return {"regex": False}
    return {"regex": True, "source": parts[0], "flags": parts[1]}
