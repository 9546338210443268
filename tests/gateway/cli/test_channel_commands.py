"""Channels by the command line: made, asked by a real run, and deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.gateway.cli.channel_test import Heard
from tests.gateway.cli.conftest import Innkeeper


async def test_a_channel_is_made_asked_by_the_workers_and_deleted(innkeeper: Innkeeper) -> None:
    code, shown, _ = await innkeeper("channels", "add", "try-me", "demo", "--model", "demo-echo")
    assert (code, b"innkeeper channels test try-me" in shown) == (0, True)
    code, shown, _ = await innkeeper("channels", "test", "try-me", "--json", "--all")
    found = json.loads(shown)
    assert (code, found["ok"], found["model"], found["error"]) == (0, True, "demo-echo", None)
    assert found["answeredBy"] == "demo-echo"
    assert found["finishReason"] == "stop"
    assert 0 <= found["firstMs"] <= found["wholeMs"] < 60_000
    assert found["usage"]["completion_tokens"] > 0
    seen = found["capabilities"]
    assert (seen["stream"], seen["usage"], seen["reasoning"], seen["toolCalls"]) == ("yes", "yes", "not seen", "no")
    assert seen["jsonSchema"].startswith("no ("), "the demo model gives no JSON"
    assert len(found["runs"]) == 3
    code, shown, _ = await innkeeper("channels", "test", "try-me")
    assert code == 0
    for words in ("it answers", "demo-echo", "first piece", "tool calls", "not tried"):
        assert words in shown.decode()
    code, _, _ = await innkeeper("channels", "remove", "try-me")
    assert code == 0
    code, _, said = await innkeeper("channels", "test", "try-me")
    assert (code, "there is no channel 'try-me'" in said) == (2, True)


async def test_a_channel_that_does_not_answer_is_told_with_the_reason(innkeeper: Innkeeper) -> None:
    await innkeeper("channels", "add", "nobody", "http://127.0.0.1:9/v1", "--model", "m")
    code, shown, _ = await innkeeper("channels", "test", "nobody", "--json")
    found = json.loads(shown)
    assert (code, found["ok"], found["error"]["code"]) == (1, False, "connection_error")
    assert set(found["capabilities"].values()) == {"not tried"}
    code, shown, _ = await innkeeper("channels", "test", "nobody", "--model", "other")
    assert (code, b"no answer" in shown) == (1, True)
    await innkeeper("channels", "remove", "nobody")


def event(kind: str, **payload: Any) -> dict[str, Any]:
    return {"type": kind, "payload": {"nodeId": "answer", **payload}}


def chunk(kind: str, content: Any) -> dict[str, Any]:
    return event("NODE_YIELD", sourceNodeId="answer", yieldedContent={"type": kind, "content": content})


@pytest.mark.parametrize("first", ["text_chunk", "reasoning_chunk", "tool_call_chunk"])
def test_the_first_piece_is_the_first_of_the_answer(first: str) -> None:
    heard = Heard()
    for at, told in enumerate([chunk("usage_chunk", {}), chunk(first, "a"), chunk("text_chunk", "b")]):
        heard.add(told, at * 10)
    heard.add(event("NODE_COMPLETE", output={"data": None}), 50)
    assert (heard.first_ms, heard.whole_ms, heard.is_answered) == (10, 50, True)


def test_why_a_node_waits_is_the_error_until_it_ends() -> None:
    heard = Heard()
    heard.add(event("NODE_RETRY", code="waiting", message="the channel is full"), 1)
    assert heard.error == {"code": "waiting", "message": "the channel is full"}
    heard.add(event("NODE_ERROR", errorDetails={"code": "authentication_error", "message": "no"}), 2)
    assert (heard.is_answered, (heard.error or {})["code"]) == (False, "authentication_error")
