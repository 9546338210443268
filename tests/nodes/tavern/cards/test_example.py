"""The card in `examples/`: what users try first."""

from __future__ import annotations

import json
from pathlib import Path

from innkeeper.nodes.tavern.cards import normalise, read_card, validate

FOLDER = Path(__file__).parents[4] / "examples" / "cards"


def test_example_card_is_a_small_picture_with_the_card_beside_it_inside() -> None:
    data = (FOLDER / "wenna.png").read_bytes()
    card = read_card(data, "wenna.png")
    assert card.raw == json.loads((FOLDER / "wenna.json").read_text(encoding="utf-8"))
    assert (card.warnings, validate(card.raw).version) == ((), 3)
    assert normalise(card.raw).char_name == "Wenna"
    assert len(data) < 60_000
