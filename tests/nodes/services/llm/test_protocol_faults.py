"""Hostile and unlucky providers, in each protocol: what the driver makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, ProviderError
from innkeeper.nodes.node import ChatRequest
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from tests.nodes.services.llm.provider_answers import ANSWERS, sse
from tests.nodes.services.llm.test_protocols import NAMES, PROTOCOLS
from tests.nodes.services.llm.wire_server import WireServer

HERE = AddressPolicy(allow_loopback=True)
KEY = "sk-canary-1234567890"
HEAD = "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n"
KINDS = {"ollama": "application/x-ndjson"}
LAST_EVENTS = {"anthropic": 2, "openai-responses": 1, "gemini": 1, "ollama": 1}
"""How many events of the scenario `text` tell of its end."""


def case(body: str, status: int = 200, kind: str = "text/event-stream") -> dict[str, Any]:
    return {"stream": {"responses": [[{"send": HEAD.format(status=status, kind=kind) + body}]]}}


async def outcome(name: str, played: dict[str, Any], *, stream: bool = True) -> tuple[str, NodeError]:
    """The text that came, and the error that ended it."""
    adapter, text = ProtocolAdapter(PROTOCOLS[name], HERE), ""
    async with WireServer({"it": played}) as server:
        request = ChatRequest(server.base_url("it"), "m", [{"role": "user", "content": "Hi"}], KEY)
        try:
            if not stream:
                await adapter.chat(request)
            async for chunk in adapter.stream(request):
                text += chunk.content if chunk.type == "text_chunk" else ""
            raise AssertionError("it was taken for an answer")
        except NodeError as error:
            found = error
        await adapter.aclose()
        assert len(server.requests) == 1
    assert KEY not in str(found) + json.dumps(found.details)
    return text, found


def events_of(name: str, scenario: str) -> list[str]:
    ending = "\n" if name == "ollama" else "\n\n"
    return [event + ending for event in ANSWERS[name][scenario].stream.split(ending) if event.strip()]


@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_that_breaks_off_is_no_answer(name: str) -> None:
    cut = "".join(events_of(name, "text")[: -LAST_EVENTS[name]])
    text, error = await outcome(name, case(cut, kind=KINDS.get(name, "text/event-stream")))
    assert text.startswith("Grüß")
    assert (error.code, error.retryable) == ("connection_error", True)


MID_STREAM: dict[str, tuple[str, str]] = {
    "anthropic": (
        sse([("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]),
        "overloaded_error",
    ),
    "openai-responses": (
        sse([("error", {"type": "error", "code": "rate_limit_exceeded", "message": "Overloaded", "param": None})]),
        "rate_limit_error",
    ),
    "gemini": (
        sse([("", {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})]),
        "overloaded_error",
    ),
    "ollama": (json.dumps({"error": "Overloaded"}) + "\n", "overloaded_error"),
}


@pytest.mark.parametrize("name", NAMES)
async def test_an_error_in_the_middle_keeps_its_words_and_its_kind(name: str) -> None:
    body, code = MID_STREAM[name]
    begun = "".join(events_of(name, "text")[: -LAST_EVENTS[name]])
    text, error = await outcome(name, case(begun + body, kind=KINDS.get(name, "text/event-stream")))
    assert text.startswith("Grüß")
    assert (error.code, error.retryable) == (code, True)
    assert 'the provider says: "Overloaded"' in error.message


REFUSALS: dict[str, tuple[int, Any, str]] = {
    "anthropic": (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}},
        "context_length_error",
    ),
    "openai-responses": (
        401,
        {"error": {"code": "invalid_api_key", "message": f"Incorrect key {KEY}", "type": "invalid_request_error"}},
        "authentication_error",
    ),
    "gemini": (
        404,
        [{"error": {"code": 404, "message": "models/m is not found", "status": "NOT_FOUND"}}],
        "not_found_error",
    ),
    "ollama": (404, {"error": "model 'm' not found"}, "not_found_error"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_say_why(name: str, stream: bool) -> None:
    status, body, code = REFUSALS[name]
    _, error = await outcome(name, case(json.dumps(body), status, "application/json"), stream=stream)
    assert (error.code, error.retryable) == (code, False)
    assert "the provider says" in error.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<!doctype html><title>Sign in</title>", "bad_answer"),
        ('{"hello": "world"}\n', "bad_answer"),
        ("", "connection_error"),
        ('{"a":' * 3_000 + "1" + "}" * 3_000 + "\n", "bad_answer"),
    ],
)
async def test_what_is_no_answer_is_told_as_such(name: str, stream: bool, body: str, code: str) -> None:
    _, error = await outcome(name, case(body, kind="text/html"), stream=stream)
    assert error.code == code
    assert isinstance(error, ProviderError)


@pytest.mark.parametrize("name", NAMES)
async def test_a_whole_answer_in_place_of_a_stream_is_taken(name: str) -> None:
    adapter = ProtocolAdapter(PROTOCOLS[name], HERE)
    played = case(json.dumps(ANSWERS[name]["text"].whole), kind="application/json")
    async with WireServer({"it": played}) as server:
        request = ChatRequest(server.base_url("it"), "m", [{"role": "user", "content": "Hi"}])
        chunks = [chunk async for chunk in adapter.stream(request)]
        assert chunks[-1].content["accumulated_text"] == "Grüß dich 😀"
    await adapter.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_in_place_of_a_whole_answer_is_taken(name: str) -> None:
    adapter = ProtocolAdapter(PROTOCOLS[name], HERE)
    played = case(ANSWERS[name]["text"].stream, kind=KINDS.get(name, "text/event-stream"))
    async with WireServer({"it": played}) as server:
        request = ChatRequest(server.base_url("it"), "m", [{"role": "user", "content": "Hi"}])
        assert (await adapter.chat(request)).text == "Grüß dich 😀"
    await adapter.aclose()
