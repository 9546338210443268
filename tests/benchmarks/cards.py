"""Reading a large PNG card."""

from __future__ import annotations

import random
from collections.abc import Callable

from innkeeper.nodes.tavern.cards import read_card, write_png
from innkeeper.nodes.tavern.cards.png import write_png_file

BYTES = 2 * 1024 * 1024


def reading() -> Callable[[], object]:
    """Reads a PNG card of 2 MB: 1 MB of picture, the rest card with a book of 300 entries."""
    data = sample()
    return lambda: read_card(data, "card.png")


def sample() -> bytes:
    """A PNG card of about `BYTES`."""
    numbers = random.Random(1)
    picture = write_png_file([("IHDR", b"\0" * 13), ("IDAT", numbers.randbytes(BYTES // 2)), ("IEND", b"")])
    entries = [
        {"id": number, "keys": [f"key {number}"], "content": "The lamp turns. " * 70, "extensions": {}, "enabled": True}
        for number in range(300)
    ]
    data = {"name": "Mira", "description": "x" * 8_000, "character_book": {"entries": entries, "extensions": {}}}
    return write_png(picture, {"spec": "chara_card_v2", "spec_version": "2.0", "data": data})
