"""Answers that are made to hold the event loop, to fill the memory, or to carry a key further."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.node import ChannelTraits, ChatRequest
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.anthropic import AnthropicMessages
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.gathering import MAX_CALLS, MAX_WORD_CHARS
from innkeeper.nodes.services.llm.gemini import GeminiContent
from innkeeper.nodes.services.llm.ollama import OllamaChat
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.services.llm.openai_responses import OpenAIResponses
from innkeeper.nodes.services.llm.wire import WireProtocol
from innkeeper.nodes.services.llm.wire_json import MAX_CONTAINERS, parsed
from tests.nodes.services.llm.wire_server import Mode, Operation, WireServer

LONG = "w" * 5_000
HEAD: Operation = {"send": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"}


async def failure(protocol: WireProtocol, mode: Mode, *operations: Operation, **fields: Any) -> ProviderError:
    """How a request that gets these bytes fails."""
    with pytest.raises(ProviderError) as found:
        await answered(protocol, mode, *operations, **fields)
    return found.value


async def answered(protocol: WireProtocol, mode: Mode, *operations: Operation, **fields: Any) -> dict[str, Any]:
    """The finish reason, model and id of the answer that these bytes make."""
    adapter = ProtocolAdapter(protocol, AddressPolicy(allow_loopback=True))
    responses = {"responses": [list(operations)]}
    async with WireServer({"it": {"stream": responses, "batch": responses}}) as server:
        request = ChatRequest(server.base_url("it"), "m", [{"role": "user", "content": "Hi"}], **fields)
        try:
            if mode == "batch":
                response = await adapter.chat(request)
                words = {"finish_reason": response.finish_reason, "model": response.model}
                return words | {"response_id": response.response_id}
            chunks = [chunk async for chunk in adapter.stream(request)]
            return {name: chunks[-1].content.get(name) for name in ("finish_reason", "model", "response_id")}
        finally:
            await adapter.aclose()


def whole(data: Any) -> Operation:
    body = json.dumps(data)
    return {"send": f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"}


def calls(count: int) -> list[dict[str, Any]]:
    return [{"index": place, "id": f"c{place}", "function": {"name": "f"}} for place in range(count)]


def test_many_calls_of_tools_in_one_event_are_read_in_the_time_of_their_number() -> None:
    events = [json.dumps({"choices": [{"delta": {"tool_calls": calls(count)}}]}) for count in (2_000, 16_000)]
    took = [quickest_s(partial(read, event)) for event in events]
    assert took[1] < 30 * took[0]  # eight times as many; 64 times as long when each looks at all the others


def read(event: str) -> None:
    assert sum(1 for _ in OpenAIChat().reader(ChatRequest("http://h", "m")).event("message", event)) > 1_000


def quickest_s(work: Callable[[], None]) -> float:
    """Seconds of this thread, of three tries: other threads and the garbage of other tests have no part in it."""
    took: list[float] = []
    gc.disable()
    try:
        for _ in range(3):
            began = time.thread_time()
            work()
            took.append(time.thread_time() - began)
    finally:
        gc.enable()
    return min(took)


async def test_a_whole_answer_has_no_more_calls_of_tools_than_a_stream() -> None:
    answer = {"choices": [{"message": {"tool_calls": calls(MAX_CALLS + 1)}}]}
    found = await failure(OpenAIChat(), "batch", whole(answer))
    assert (found.code, found.retryable) == ("bad_answer", False)
    assert "1000 calls of tools" in found.message


@pytest.mark.parametrize("text", ["{},", "[[]],"])
def test_json_of_millions_of_objects_is_refused_before_it_takes_memory(text: str) -> None:
    bomb = "[" + text * MAX_CONTAINERS + "0]"
    for data in (bomb, bomb.encode()):
        began = time.thread_time()
        with pytest.raises(ValueError, match="objects and lists"):
            parsed(data)
        assert time.thread_time() - began < 1.0  # 4 s, and 2 GB, when it is parsed


def test_a_long_text_of_other_characters_is_no_bomb() -> None:
    assert len(parsed(json.dumps(["x" * 3_000_000]))[0]) == 3_000_000


ANSWERS: list[tuple[WireProtocol, Any]] = [
    (
        OpenAIChat(),
        {"id": LONG, "model": LONG, "choices": [{"message": {"content": "a"}, "finish_reason": LONG}]},
    ),
    (
        AnthropicMessages(),
        {"id": LONG, "model": LONG, "content": [{"type": "text", "text": "a"}], "stop_reason": LONG},
    ),
    (
        GeminiContent(),
        {
            "responseId": LONG,
            "modelVersion": LONG,
            "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": LONG}],
        },
    ),
    (OllamaChat(), {"model": LONG, "message": {"content": "a"}, "done": True, "done_reason": LONG}),
    (
        OpenAIResponses(),
        {
            "id": LONG,
            "model": LONG,
            "status": "incomplete",
            "incomplete_details": {"reason": LONG},
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
        },
    ),
]


@pytest.mark.parametrize("mode", ["stream", "batch"])
@pytest.mark.parametrize(("protocol", "answer"), ANSWERS, ids=lambda part: getattr(part, "name", ""))
async def test_words_of_an_answer_are_no_novels_in_any_protocol(
    protocol: WireProtocol, answer: Any, mode: Mode
) -> None:
    words = await answered(protocol, mode, whole(answer))
    assert words["finish_reason"] is not None
    assert {len(word) for word in words.values() if word is not None} == {MAX_WORD_CHARS}


async def test_words_of_a_stream_are_no_novels() -> None:
    line = json.dumps({"model": LONG, "message": {"content": "a"}, "done": True, "done_reason": LONG})
    more = json.dumps({"message": {"content": "b"}, "done": False})
    words = await answered(OllamaChat(), "stream", HEAD, {"send": f"{more}\n"}, {"send": f"{line}\n"})
    assert (len(words["finish_reason"]), len(words["model"])) == (MAX_WORD_CHARS, MAX_WORD_CHARS)


async def test_white_space_before_an_answer_costs_the_same_for_each_byte() -> None:
    blanks: list[Operation] = [{"send": " " * 64_000}] * 200
    event: Operation = {"send": 'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'}
    began = time.thread_time()
    words = await answered(OpenAIChat(), "stream", HEAD, *blanks, event)
    assert words["finish_reason"] == "stop"
    assert time.thread_time() - began < 2.0  # seconds when all of it is looked at again with each piece


@pytest.mark.parametrize("place", ["/x/sk-Canary-Key-77/v1", "http://sk-Canary-Key-77.example/v1"])
async def test_a_redirect_that_repeats_the_key_is_told_without_it(place: str) -> None:
    head: Operation = {"send": f"HTTP/1.1 302 X\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"}
    found = await failure(OpenAIChat(), "batch", head, api_key="sk-Canary-Key-77")
    assert "make that the base URL" in found.message
    assert "canary" not in f"{found!r} {found} {found.details}".lower()


def test_traits_without_keys_are_no_secrets() -> None:
    from innkeeper.nodes.services.llm.request_secrets import keys_of, secrets_of

    traits = ChannelTraits(headers={"X-Title": "Innkeeper", "X-My-Key": "k-123456"}, query={"api-version": "1"})
    ask = ChatRequest("http://h/v1?sig=s-123456&v=2", "m", api_key="a-123456", traits=traits)
    assert set(keys_of(ask)) == {"a-123456", "k-123456", "s-123456"}
    assert set(secrets_of(ask)) == {"a-123456", "k-123456", "s-123456", "Innkeeper"}
