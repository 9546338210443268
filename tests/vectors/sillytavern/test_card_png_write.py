"""Recorded results of writing a card into a PNG: the same bytes."""

from __future__ import annotations

import base64
import json

import pytest

from innkeeper.nodes.tavern.cards import read_card, write_png
from innkeeper.nodes.tavern.cards.png import read_png
from tests.vectors.sillytavern.recorded import Case, load, name_of


@pytest.mark.parametrize("case", load("card_png_write"), ids=name_of)
def test_recorded_write(case: Case) -> None:
    picture, text = base64.b64decode(case["input"]["png_base64"]), case["input"]["data"]
    written = write_png(picture, text)
    expected = base64.b64decode(case["expected"]["png_base64"])
    assert [chunk.kind for chunk in read_png(written).chunks] == case["expected"]["chunks"]
    assert _texts(written) == _texts(expected)
    assert written == expected
    value = _json_of(text)
    if isinstance(value, dict):
        assert read_card(written).raw == {**value, "spec": "chara_card_v3", "spec_version": "3.0"}


def _texts(png: bytes) -> list[bytes]:
    return [bytes(chunk.data) for chunk in read_png(png).chunks if chunk.kind == "tEXt"]


def _json_of(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
