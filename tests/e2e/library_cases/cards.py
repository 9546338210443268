"""Cards and histories from files on disk, read in the worker's killable process."""

from __future__ import annotations

import json
from pathlib import Path

from innkeeper.nodes.tavern.cards.png import write_png_file
from tests.e2e.library_cases.case import Case

EXAMPLE = Path(__file__).parents[3] / "examples" / "cards" / "wenna.png"
CHAT = [
    {"user_name": "unused", "character_name": "unused", "chat_metadata": {"note_depth": 4}},
    {"name": "Wenna", "is_user": False, "is_system": False, "mes": "There is tea."},
    {"name": "Alice", "is_user": True, "is_system": False, "mes": "Thank you."},
]

CASES = [
    Case(
        "character_card_loader",
        [
            {
                "id": "c",
                "fullType": "core:CharacterCardLoader",
                "configValues": {"cardResource": "user://library/cards/wenna.png"},
            }
        ],
        expect={"c": {"characterData": lambda card: card["data"]["nickname"] == "Wenna"}},
        files={"user://library/cards/wenna.png": EXAMPLE.read_bytes()},
    ),
    Case(
        "character_card_loader_too_large",
        [
            {
                "id": "c",
                "fullType": "core:CharacterCardLoader",
                "configValues": {"cardResource": "shared://library/cards/huge.png"},
            }
        ],
        files={
            "shared://library/cards/huge.png": write_png_file([("IHDR", b""), ("IDAT", bytes(33 << 20)), ("IEND", b"")])
        },
        fails={"c": "'shared://library/cards/huge.png' is over the limit of 33554432 bytes"},
    ),
    Case(
        "character_card_loader_large",
        [
            {
                "id": "c",
                "fullType": "core:CharacterCardLoader",
                "configValues": {"cardResource": "shared://library/cards/large.png"},
            }
        ],
        files={
            "shared://library/cards/large.png": write_png_file(
                [("IHDR", b""), ("IDAT", bytes(31 << 20)), ("IEND", b"")]
            )
        },
        fails={
            "c": "failed to load character card 'shared://library/cards/large.png': this PNG holds no character data"
        },
    ),
    Case(
        "history_loader",
        [
            {
                "id": "h",
                "fullType": "core:HistoryLoader",
                "configValues": {"historyResource": "shared://library/chat.jsonl"},
            }
        ],
        expect={
            "h": {
                "historyMessages": [
                    {"role": "assistant", "content": "There is tea.", "name": "Wenna"},
                    {"role": "user", "content": "Thank you.", "name": "Alice"},
                ]
            }
        },
        files={"shared://library/chat.jsonl": "\n".join(map(json.dumps, CHAT)).encode()},
    ),
]
