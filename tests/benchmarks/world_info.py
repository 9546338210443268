"""World info: 10,000 entries against a chat of 200 messages, all of them scanned, recursion on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.world_info import Books, Scan, ScanMessage, Settings, activate, read_book

ENTRIES = 10_000
MESSAGES = 200


def reading() -> Callable[[], object]:
    """Reads the book, which is not part of an activation."""
    raw = dict(_scan().books.global_[0].raw)
    return lambda: read_book(raw, "bench")


def whole_words() -> Callable[[], object]:
    scan = _scan()
    return lambda: activate(scan)


def parts_of_words() -> Callable[[], object]:
    scan = _scan()
    parts = replace(scan, settings=replace(scan.settings, match_whole_words=False))
    return lambda: activate(parts)


def _scan() -> Scan:
    draw = random.Random("world info")
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(4, 9))) for _ in range(30_000)]
    entries = {str(uid): _entry(uid, words, draw) for uid in range(ENTRIES)}
    return Scan(
        books=Books(global_=(read_book({"entries": entries}, "bench"),)),
        messages=tuple(ScanMessage(" ".join(draw.choices(words, k=14)), "Mira") for _ in range(MESSAGES)),
        max_context=32_768,
        expand=_unchanged,
        count_tokens=lambda text: -(-len(text) * 100 // 335),
        draw=lambda: 0.5,
        regexes=engine(),
        settings=Settings(depth=MESSAGES, recursive=True, match_whole_words=True),
    )


def _entry(uid: int, words: list[str], draw: random.Random) -> dict[str, Any]:
    return {
        "uid": uid,
        "key": [draw.choice(words), " ".join(draw.choices(words, k=1 + uid % 2))],
        "keysecondary": [draw.choice(words)] if uid % 3 == 0 else [],
        "content": " ".join(draw.choices(words, k=30)),
        "order": draw.randint(1, 200),
        "position": uid % 5,
    }


def _unchanged(text: str, *, original: str | None = None) -> str:
    return text
