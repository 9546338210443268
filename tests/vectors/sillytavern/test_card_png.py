"""Recorded card files: what SillyTavern reads we read as it does; what it refuses we refuse, or read with a warning."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from innkeeper.nodes.tavern.cards import read_card, to_v2, validate
from innkeeper.nodes.tavern.cards.png import read_png
from innkeeper.nodes.tavern.cards.text import CardText, card_texts
from innkeeper.nodes.tavern.environment import FormatError
from tests.vectors.sillytavern.deviations_card_png import DEVIATIONS
from tests.vectors.sillytavern.recorded import Case, load, name_of

CASES = load("card_png")
OURS: dict[str, Any] = {
    "ccv3 broken base64 text but chara good: no fallback": "Mira",
    "chara in an iTXt chunk plus unrelated tEXt": "Mira",
    "base64 of UTF-16": "Mira",
}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_recorded_card(case: Case) -> None:
    data, expected = base64.b64decode(case["input"]["png_base64"]), case["expected"]
    if "error" in expected or not expected["json_valid"]:
        check_refused_or_warned(data, ours=OURS.get(case["name"]))
        return
    value = json.loads(expected["text"])
    found = next(card_texts(read_png(data)))
    assert isinstance(found, CardText)
    assert found.text == expected["text"]
    validity = validate(value)
    assert (validity.version, validity.problem) == (expected["validator"], expected["validator_error"])
    if not isinstance(value, dict):
        check_not_an_object(data, value)
        return
    assert read_card(data).raw == value
    assert to_v2(value, stamp="NOW") == expected["normalized"]


def check_refused_or_warned(data: bytes, ours: str | None) -> None:
    try:
        card = read_card(data)
    except FormatError:
        assert ours is None
        return
    assert card.warnings
    fields = card.raw.get("data") or card.raw
    assert ours is None or fields["name"] == ours


def check_not_an_object(data: bytes, value: Any) -> None:
    with pytest.raises(FormatError, match="expected an object"):
        read_card(data)
    with pytest.raises(FormatError, match="expected an object"):
        to_v2(value)


def test_what_is_read_where_it_is_refused_is_a_listed_deviation() -> None:
    assert {("card_png", name) for name in OURS} <= set(DEVIATIONS)
