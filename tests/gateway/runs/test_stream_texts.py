"""Texts of open streams, as the status tells them: short enough whatever a run streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson
import pytest

from innkeeper.gateway.events.log import EventLog, StoredEvent
from innkeeper.gateway.runs import stream_texts
from innkeeper.gateway.runs.stream_texts import MAX_PARTS, StreamText, StreamTexts


class OneLog:
    """A log of one run."""

    def __init__(self, events: Sequence[tuple[str, dict[str, Any]]]) -> None:
        self._events = [
            StoredEvent(seq, orjson.dumps({"seq": seq, "ts": 0, "type": kind, "payload": payload}))
            for seq, (kind, payload) in enumerate(events, 1)
        ]

    async def read(self, run: str, after: int, limit: int) -> list[StoredEvent]:
        return self._events[after : after + limit]


def said(node: str, text: str) -> tuple[str, dict[str, Any]]:
    return "NODE_YIELD", {"sourceNodeId": node, "yieldedContent": {"type": "text_chunk", "content": text}}


async def texts_of(*events: tuple[str, dict[str, Any]]) -> dict[str, str]:
    found = await StreamTexts().read_to(cast(EventLog, OneLog(events)), "r", len(events))
    return {node: str(text.to_json()["text"]) for node, text in found.items()}


async def test_of_many_long_streams_the_ends_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_texts, "KEPT_CHARS_OF_RUN", 10_000)
    pieces = [said(f"n{node}", f"{node}:{turn};" * 20) for turn in range(50) for node in range(40)]
    found = await texts_of(*pieces)
    assert len(found) == 40
    assert sum(map(len, found.values())) <= 10_000
    assert all(text.endswith(f"{node[1:]}:49;") for node, text in found.items())


async def test_streams_that_ended_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_texts, "KEPT_CHARS_OF_RUN", 1000)
    turns = [event for _ in range(20) for event in (said("n", "x" * 900), ("NODE_STREAM_RESET", {"nodeId": "n"}))]
    assert await texts_of(*turns, said("n", "y" * 900)) == {"n": "y" * 900}


def test_small_pieces_are_joined() -> None:
    text = StreamText()
    for number in range(10 * MAX_PARTS):
        text.add(chr(0x4E00 + number % 100))
    assert len(text.parts) <= MAX_PARTS
    assert len(str(text.to_json()["text"])) == text.chars == 10 * MAX_PARTS
