"""The text of an output as the events of its run tell it."""

from __future__ import annotations

from typing import Any

import orjson

from innkeeper.gateway.api.hook_answers import OutputText, Piece
from innkeeper.gateway.events.hub import Frames


def page(*events: tuple[str, dict[str, Any]]) -> Frames:
    return [
        (seq, orjson.dumps({"seq": seq, "ts": 0, "type": kind, "payload": payload}))
        for seq, (kind, payload) in enumerate(events, 1)
    ]


def chunk(text: str, key: str = "line", **more: Any) -> tuple[str, dict[str, Any]]:
    content = {"type": "text_chunk", "content": text}
    return "WORKFLOW_INTERFACE_YIELD", {"interfaceOutputKey": key, "yieldedContent": content, **more}


RESET = ("WORKFLOW_INTERFACE_RESET", {"interfaceOutputKey": "line", "attempt": 2})
GAP = ("WORKFLOW_INTERFACE_YIELD", {"interfaceOutputKey": "line", "gap": {"from": 1, "to": 9}})


def test_chunks_of_the_output_and_of_no_other_come_in_order() -> None:
    text = OutputText("line")
    other = ("NODE_YIELD", {"sourceNodeId": "n", "yieldedContent": {"type": "text_chunk", "content": "no"}})
    found = text.take(page(chunk("a"), other, chunk("no", "other"), chunk("b")))
    assert found == [Piece("chunk", "a"), Piece("chunk", "b")]
    assert not text.is_missing


def test_what_is_no_text_is_left_out() -> None:
    text = OutputText("line")
    end = {"interfaceOutputKey": "line", "yieldedContent": {"type": "finish_reason_chunk", "content": ""}}
    assert text.take(page(("WORKFLOW_INTERFACE_YIELD", end))) == []
    assert text.is_missing


def test_a_new_attempt_makes_what_came_void() -> None:
    text = OutputText("line")
    assert text.take(page(chunk("a"), RESET)) == [Piece("chunk", "a"), Piece("reset")]
    assert text.is_missing
    assert text.take(page(chunk("b"))) == [Piece("chunk", "b")]
    assert not text.is_missing


def test_after_a_gap_only_the_whole_text_will_do() -> None:
    text = OutputText("line")
    assert text.take(page(chunk("a"), GAP, chunk("b"), GAP)) == [Piece("chunk", "a"), Piece("reset")]
    assert text.is_missing
