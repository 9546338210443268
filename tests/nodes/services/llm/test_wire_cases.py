"""Every case of `tests/vectors/llm_wire.json` against the adapter: what it gives, and how many requests that takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from openai import AsyncOpenAI

from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import ChatRequest, ChatTimes
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from tests.nodes.services.llm.wire_server import Mode, WireServer, wire_cases

CASES = wire_cases()
MAX_TRIES = 4
TRIES_AGAIN = {"rst_mid": 2, "rst_first": 2, "eof_mid": 2, "err200_once": 2, "cf524": 2, "over529": 3}
TRIES_AGAIN |= {"ra_seconds": 2, "ra_date": 2, "ra_ms": 2}
LASTS = {"slow_first": 26.0, "slowstream": 31.0}
"""Seconds: played as they are only in the long form."""
FOR_EVER = {"loading", "ra_day", "ra_loop", "ra_zero", "always503", "hang"}
"""Never give an answer, however often they are asked."""

# Cases whose `want` leaves open what comes of them: code of the error, or the text.
OPEN: dict[tuple[str, Mode], str] = {
    ("think_tags", "stream"): "<think>\nLet me think.\n</think>\n\nHello world",
    ("think_tags", "batch"): "<think>\nLet me think.\n</think>\n\nHello world",
    ("reasoning_only", "stream"): "!bad_answer",
    ("reasoning_only", "batch"): "!bad_answer",
    ("tool_calls", "stream"): "",
    ("tool_calls", "batch"): "",
    ("fr_filter", "stream"): "!content_filter",
    ("fr_filter", "batch"): "!content_filter",
    ("max_tokens", "stream"): "Hello world",
    ("max_tokens", "batch"): "Hello world",
    ("temp_top_p", "stream"): "Hello world",
    ("temp_top_p", "batch"): "Hello world",
    ("temp_fixed", "stream"): "Hello world",
    ("temp_fixed", "batch"): "Hello world",
    ("ra_day", "stream"): "~86400",
    ("ra_day", "batch"): "~86400",
    ("ra_loop", "stream"): "~3",
    ("ra_loop", "batch"): "~3",
    ("ra_zero", "stream"): "~1",
    ("ra_zero", "batch"): "~1",
    ("always503", "stream"): "!overloaded_error",
    ("always503", "batch"): "!overloaded_error",
    ("always401", "stream"): "!authentication_error",
    ("always401", "batch"): "!authentication_error",
    ("getonly", "stream"): "!not_found_error",
    ("getonly", "batch"): "Hello world",
    ("paced", "stream"): "".join(f"w{number} " for number in range(40)),
    ("paced", "batch"): "Hello world",
    ("slowstream", "stream"): "".join(f"w{number} " for number in range(60)),
    ("hang", "stream"): "!timeout_error",
    ("hang", "batch"): "!timeout_error",
    ("usage_rich", "stream"): "Hello world",
    ("usage_rich", "batch"): "Hello world",
    ("echo", "batch"): "headers: {}",
    ("ctx400", "stream"): "!context_length_error",
    ("ctx400", "batch"): "!context_length_error",
    ("param400", "batch"): "!invalid_request_error",
    ("loading", "stream"): "~2",
    ("loading", "batch"): "~2",
}


@dataclass
class Got:
    text: str = ""
    reason: str | None = None
    usage: Any = None
    error: NodeError | None = None
    reasoning: str = ""
    tool_calls: Any = ()

    def __str__(self) -> str:
        if isinstance(self.error, NodeMustWait):
            return f"~{self.error.delay_s:g}"
        return f"!{self.error.code}" if self.error else self.text


@pytest.fixture(scope="module")
async def llm() -> AsyncIterator[ProtocolAdapter]:
    made = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True))
    yield made
    await made.aclose()


async def ask_once(llm: ProtocolAdapter, base_url: str, mode: Mode, **fields: Any) -> Got:
    request = ChatRequest(
        base_url, "m", [{"role": "user", "content": "Hi"}], "sk-canary-gen-0123456789abcdef", **fields
    )
    try:
        if mode == "batch":
            answer = await llm.chat(request)
            return Got(answer.text, answer.finish_reason, answer.usage, None, answer.reasoning, list(answer.tool_calls))
        chunks = [chunk async for chunk in llm.stream(request)]
    except NodeError as error:
        return Got(error=error)
    end = chunks[-1].content
    assert chunks[-1].type == "finish_reason_chunk"
    assert "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk") == end["accumulated_text"]
    return Got(
        end["accumulated_text"], end["finish_reason"], end["usage"], None, end.get("reasoning", ""),
        end.get("tool_calls", ()),
    )  # fmt: skip


async def ask(llm: ProtocolAdapter, base_url: str, mode: Mode, tries: int) -> Got:
    """As the engine asks: again after what may pass, without its pauses."""
    for _ in range(tries):
        got = await ask_once(llm, base_url, mode, times=ChatTimes(first=40, silence=40))
        if got.error is None or not got.error.retryable:
            break
    return got


def params(names: set[str]) -> list[Any]:
    return [
        (name, mode) for name, case in CASES.items() for mode in ("stream", "batch") if mode in case if name in names
    ]


FAST = set(CASES) - LASTS.keys() - {"hang", "paced"}


async def check(llm: ProtocolAdapter, name: str, mode: Mode, pace: float = 1.0) -> None:
    want = CASES[name][mode]["want"]
    async with WireServer(pace=pace) as server:
        got = await ask(llm, server.base_url(name), mode, 1 if name in FOR_EVER else MAX_TRIES)
        asked = server.count(name, mode)
        redirected = len(server.requests) - server.count(name)
    assert redirected == (1 if name == "r307" else 0)
    match want:
        case ["text" | "either", text] if name not in FOR_EVER:
            assert (str(got), got.reason) == (text, "length" if name == "fr_length" else "stop")
            assert asked == TRIES_AGAIN.get(name, 1)
        case ["error", *kind]:
            assert got.error is not None
            assert not isinstance(got.error, NodeMustWait) or kind == ["retry"]
            if kind:
                assert got.error.retryable is (kind == ["retry"])
            assert asked == (MAX_TRIES if got.error.retryable else 1)
        case _:
            assert str(got) == OPEN[name, mode]
            assert asked == (1 if name in FOR_EVER or not (got.error and got.error.retryable) else MAX_TRIES)


@pytest.mark.parametrize(("name", "mode"), params(FAST))
async def test_case(llm: ProtocolAdapter, name: str, mode: Mode) -> None:
    began = time.monotonic()
    await check(llm, name, mode)
    assert time.monotonic() - began < 8  # whatever the server does behind the end


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), params(set(LASTS)))
async def test_slow_case(llm: ProtocolAdapter, name: str, mode: Mode) -> None:
    await check(llm, name, mode)


@pytest.mark.parametrize(("name", "mode"), params({*LASTS, "paced"}))
async def test_slow_case_played_faster(llm: ProtocolAdapter, name: str, mode: Mode) -> None:
    await check(llm, name, mode, pace=0.02)


NOT_FOR_THE_LIBRARY = frozenset(
    [
        "azure",
        "bom",
        "cr_split",
        "json_for_stream",
        "leaked_comment",
        "message_in_stream",
        "mistral_parts",
        "n2",
        "nulls",
        "open_after_finish",
        "retry_field",
        "sse_for_batch",
        "surrogate_split",
    ]
)
"""Cases that the client library reads otherwise, or not at all."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), params(FAST - NOT_FOR_THE_LIBRARY - TRIES_AGAIN.keys()))
async def test_the_providers_client_library_reads_the_same_text(llm: ProtocolAdapter, name: str, mode: Mode) -> None:
    """Both ends of the other cases are ours: what the wire says is read by somebody else here."""
    if CASES[name][mode]["want"] is None or CASES[name][mode]["want"][0] != "text" or name in FOR_EVER:
        pytest.skip("no text comes of it")
    messages: Any = [{"role": "user", "content": "Hi"}]
    async with WireServer() as server:
        options: Any = {"base_url": server.base_url(name), "api_key": "k", "max_retries": 0}
        async with AsyncOpenAI(**options) as client:
            if mode == "batch":
                answer = await client.chat.completions.create(model="m", messages=messages)
                theirs = answer.choices[0].message.content
            else:
                parts = await client.chat.completions.create(model="m", messages=messages, stream=True)
                theirs = "".join([part.choices[0].delta.content or "" async for part in parts if part.choices])
    async with WireServer() as server:
        assert (await ask(llm, server.base_url(name), mode, MAX_TRIES)).text == theirs


def test_every_case_is_asked() -> None:
    assert FAST | LASTS.keys() | {"paced", "hang"} == set(CASES)
    assert len(CASES) == 93


@pytest.mark.parametrize("mode", ["stream", "batch"])
async def test_a_server_that_never_answers_is_given_up_in_time(llm: ProtocolAdapter, mode: Mode) -> None:
    async with WireServer() as server:
        got = await ask_once(llm, server.base_url("hang"), mode, times=ChatTimes(first=0.2))
        await asyncio.wait_for(server.closed.wait(), 5)
    assert str(got) == "!timeout_error"
    assert got.error is not None
    assert got.error.details == {"host": "127.0.0.1", "limit": "first", "seconds": 0.2}
