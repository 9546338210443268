"""Book conversion against SillyTavern, both ways."""

from __future__ import annotations

import pytest

from innkeeper.nodes.tavern.world_info import to_character_book, to_world_info
from tests.vectors.sillytavern.recorded import Case, load, name_of


@pytest.mark.parametrize("case", load("book_conversion"), ids=name_of)
def test_book_is_converted_as_recorded(case: Case) -> None:
    given = case["input"]
    if "character_book" in given:
        converted = to_world_info(given["character_book"], sillytavern=True)
        assert {"entries": converted["entries"]} == case["expected"]
    else:
        book = to_character_book({"entries": given["entries"]}, name=given["world_name"], sillytavern=True)
        assert book == case["expected"]
