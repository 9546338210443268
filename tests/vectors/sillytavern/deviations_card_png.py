"""Recorded card files that we treat differently, on purpose."""

from __future__ import annotations

DEVIATIONS = {
    ("card_png", "ccv3 broken base64 text but chara good: no fallback"): "a broken ccv3 falls back to chara",
    ("card_png", "chara in an iTXt chunk plus unrelated tEXt"): "iTXt chunks are read, with a warning",
    ("card_png", "base64 of UTF-16"): "UTF-16 with a byte order mark is read, with a warning",
    ("card_png", "base64 of a JSON array"): "refused: a card is an object",
}
