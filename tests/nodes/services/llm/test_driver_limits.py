"""What the driver does with servers that are slow, broken or hostile, and with callers that give up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeInputError, NodeMustWait, ProviderError
from innkeeper.nodes.node import CallTrace, ChannelTraits, ChatRequest, ChatTimes, Chunk
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm import driver, time_limits
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from tests.nodes.services.llm.wire_server import Mode, Operation, WireServer

HEAD = {"send": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"}
HANG = {"hang": 60}
COMMENTS: list[Operation] = [{"send": ": processing\n\n"}, {"sleep": 0.05}] * 40


def event(content: str | None = None, finish: str | None = None, **fields: Any) -> Operation:
    delta = {} if content is None else {"content": content}
    part = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}
    return {"send": f"data: {json.dumps(part)}\n\n"}


DONE = {"send": "data: [DONE]\n\n"}


def whole(status: int, body: str, *headers: str) -> list[Operation]:
    lines = "".join(f"{line}\r\n" for line in headers)
    length = len(body.encode())
    return [{"send": f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{lines}\r\n{body}"}]


@asynccontextmanager
async def playing(*operations: Operation, **options: Any) -> AsyncIterator[tuple[ProtocolAdapter, WireServer]]:
    """An adapter, and a server that answers each request so."""
    responses = {"responses": [list(operations)]}
    adapter = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True), **options)
    await adapter.warm_up()
    async with WireServer({"it": {"stream": responses, "batch": responses}}) as server:
        try:
            yield adapter, server
        finally:
            await adapter.aclose()


def ask(server: WireServer, **fields: Any) -> ChatRequest:
    return ChatRequest(server.base_url("it"), "m", [{"role": "user", "content": "Hi"}], **fields)


async def streamed(llm: ProtocolAdapter, request: ChatRequest) -> list[Chunk]:
    return [chunk async for chunk in llm.stream(request)]


async def failure(llm: ProtocolAdapter, request: ChatRequest, mode: Mode = "stream") -> NodeError:
    with pytest.raises(NodeError) as caught:
        await streamed(llm, request) if mode == "stream" else await llm.chat(request)
    return caught.value


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk")


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "times", "limit"),
    [
        ([HANG], ChatTimes(first=0.6), "first"),
        ([HEAD, HANG], ChatTimes(first=0.6), "first"),
        ([HEAD, *COMMENTS, event("late"), DONE], ChatTimes(first=0.3, silence=0.2), "first"),
        ([HEAD, event("a"), HANG], ChatTimes(first=5, silence=0.2), "silence"),
        ([HEAD, event("a"), *COMMENTS, DONE], ChatTimes(first=0.4, silence=0.3), "silence"),
        ([HEAD, *([event("a"), {"sleep": 0.05}] * 40), DONE], ChatTimes(whole=0.3), "whole"),
        ([HANG], ChatTimes(first=5, whole=0.6), "whole"),
    ],
)
async def test_a_limit_of_time_ends_a_stream(operations: list[Operation], times: ChatTimes, limit: str) -> None:
    async with playing(*operations) as (llm, server):
        began = time.monotonic()
        found = await failure(llm, ask(server, times=times))
        assert (found.code, found.details["limit"], found.retryable) == ("timeout_error", limit, True)
        assert time.monotonic() - began < 10  # what hangs does so for a minute
        if server.requests:  # on a busy machine the limit may be over before
            await asyncio.wait_for(server.closed.wait(), 5)


async def test_comments_break_the_silence_between_two_pieces() -> None:
    async with playing(HEAD, event("a"), *COMMENTS[:16], event("b"), DONE) as (llm, server):
        chunks = await streamed(llm, ask(server, times=ChatTimes(first=5, silence=0.2)))
    assert text_of(chunks) == "ab"


async def test_white_space_of_a_server_that_thinks_is_no_answer_yet() -> None:
    blank: list[Operation] = [{"send": "\n"}, {"sleep": 0.05}] * 40
    head = {"send": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"}
    async with playing(head, *blank, {"send": "{}"}) as (llm, server):
        found = await failure(llm, ask(server, times=ChatTimes(first=0.3)), "batch")
    assert found.details["limit"] == "first"


async def test_a_reader_that_takes_its_time_is_no_silence_of_the_server() -> None:
    async with playing(HEAD, event("a"), event("b"), {"sleep": 0.1}, event("c"), DONE) as (llm, server):
        found = []
        async for chunk in llm.stream(ask(server, times=ChatTimes(silence=0.3))):
            found.append(chunk)
            await asyncio.sleep(0.4)
    assert text_of(found) == "abc"


async def test_usage_after_the_finish_reason_is_waited_for_and_then_the_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_limits, "AFTER_FINISH_S", 0.5)
    usage = {"send": 'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n'}
    comments = [*COMMENTS, *COMMENTS]
    async with playing(HEAD, event("a", "stop"), {"sleep": 0.2}, usage, *comments, HANG) as (llm, server):
        began = time.monotonic()
        chunks = await streamed(llm, ask(server))
        assert time.monotonic() - began < 10
        await asyncio.wait_for(server.closed.wait(), 5)
    assert chunks[-1].content["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert chunks[-1].content["finish_reason"] == "stop"


async def test_the_end_mark_ends_the_answer_at_once() -> None:
    async with playing(HEAD, event("a"), DONE, HANG) as (llm, server):
        began = time.monotonic()
        assert text_of(await streamed(llm, ask(server))) == "a"
        assert time.monotonic() - began < 10


# --- broken answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [[], [{"send": 'data: {"choices": [{"del'}], [{"send": "data: "}], [{"rst": True}], [{"send": ": comment"}]],
    ids=range(5),
)
async def test_an_answer_that_breaks_off_may_be_asked_for_again(tail: list[Operation]) -> None:
    trace = CallTrace()
    async with playing(HEAD, event("half", usage={"prompt_tokens": 5}), {"sleep": 0.05}, *tail) as (llm, server):
        found = await failure(llm, ask(server, trace=trace))
    assert (found.code, found.retryable) == ("connection_error", True)
    assert found.details["kind"] in ("closed", "reset")
    assert trace == CallTrace({}, {"prompt_tokens": 5}, was_sent=True)


@pytest.mark.parametrize(
    "tail", [[{"send": "data: {oops\n\n"}], [{"rst": True}], [{"send": "<html>"}], [HANG]], ids=range(4)
)
async def test_what_comes_behind_the_finish_reason_does_not_matter(
    tail: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "AFTER_FINISH_S", 0.2)
    error = {"send": 'data: {"error": {"message": "late"}}\n\n'}
    async with playing(HEAD, event("all", "stop"), error, *tail) as (llm, server):
        assert text_of(await streamed(llm, ask(server))) == "all"


@pytest.mark.parametrize("size", [6, 17])
async def test_one_event_may_have_megabytes_but_not_without_end(size: int) -> None:
    async with playing(HEAD, event("x" * (size * 1024 * 1024)), DONE, max_answer_chars=10**9) as (llm, server):
        if size == 6:
            assert len(text_of(await streamed(llm, ask(server)))) == size * 1024 * 1024
        else:
            found = await failure(llm, ask(server))
            assert (found.code, found.retryable) == ("bad_answer", False)


@pytest.mark.parametrize("mode", ["stream", "batch"])
async def test_reasoning_and_arguments_of_tools_count_for_the_size_too(mode: Mode) -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": "x" * 60}}
    delta = {"reasoning": "y" * 60, "tool_calls": [call]}
    part = {"send": f"data: {json.dumps({'choices': [{'delta': delta}]})}\n\n"}
    async with playing(HEAD, part, DONE, max_answer_chars=100) as (llm, server):
        found = await failure(llm, ask(server), mode)
    assert (found.code, found.retryable) == ("bad_answer", False)
    assert "100 characters" in found.message


@pytest.mark.parametrize("mode", ["stream", "batch"])
@pytest.mark.parametrize(
    ("body", "code", "retryable", "said"),
    [
        ("", "connection_error", True, "without an answer"),
        (" \n\n ", "connection_error", True, "without an answer"),
        ("<!doctype html><title>Log in &amp; pay</title>", "bad_answer", False, "Log in & pay"),
        ("Service is away", "bad_answer", False, "Service is away"),
        ("data", "bad_answer", False, "data"),
        ('{"ok": true}', "bad_answer", False, "other JSON"),
        ('{"choices": [', "bad_answer", False, "not valid JSON"),
        ('{"detail": "Model is not loaded"}', "not_found_error", False, "Model is not loaded"),
        ('[{"error": {"code": 503, "message": "busy"}}]', "overloaded_error", True, "busy"),
    ],
)
async def test_what_is_no_answer_is_told_as_what_it_is(
    body: str, code: str, retryable: bool, said: str, mode: Mode
) -> None:
    async with playing(*whole(200, body)) as (llm, server):
        found = await failure(llm, ask(server), mode)
    assert (found.code, found.retryable) == (code, retryable)
    assert said in found.message


async def test_a_stream_in_place_of_a_whole_answer_that_breaks_off_may_be_asked_for_again() -> None:
    async with playing(HEAD, event("half"), {"send": 'data: {"choi'}) as (llm, server):
        found = await failure(llm, ask(server), "batch")
    assert (found.code, found.retryable) == ("connection_error", True)


@pytest.mark.parametrize("mode", ["stream", "batch"])
async def test_an_error_at_the_very_end_counts_unless_the_answer_was_whole(mode: Mode) -> None:
    error = {"send": 'data: {"error": {"message": "late", "code": 401}}'}
    async with playing(HEAD, event("half"), error) as (llm, server):
        assert (await failure(llm, ask(server), mode)).code == "authentication_error"
    async with playing(HEAD, event("all", "stop"), error) as (llm, server):
        if mode == "stream":
            assert text_of(await streamed(llm, ask(server))) == "all"
        else:
            assert (await llm.chat(ask(server))).text == "all"


async def test_a_key_in_the_query_is_not_shown_but_a_version_is() -> None:
    body = '{"error": {"message": "key-in-query-1 is wrong for 2024-10-21"}}'
    async with playing(*whole(400, body)) as (llm, server):
        url = f"{server.base_url('it')}?api-key=key-in-query-1&api-version=2024-10-21"
        found = await failure(llm, ChatRequest(url, "m"))
    assert '"*** is wrong for 2024-10-21"' in found.message


async def test_a_whole_answer_without_a_length_that_breaks_off_may_be_asked_for_again() -> None:
    head = {"send": "HTTP/1.0 200 OK\r\n\r\n"}
    async with playing(head, {"send": '{"choices": [{"message": {"content": "ha'}) as (llm, server):
        found = await failure(llm, ask(server), "batch")
    assert (found.code, found.retryable) == ("connection_error", True)


async def test_an_error_whose_body_never_ends_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ERROR_BODY_S", 0.2)
    head = {"send": "HTTP/1.1 401 X\r\nConnection: close\r\n\r\n"}
    async with playing(head, {"send": "{"}, HANG) as (llm, server):
        assert (await failure(llm, ask(server))).code == "authentication_error"
    async with playing(head, {"send": "x" * 1_000_000}, HANG) as (llm, server):
        assert len((await failure(llm, ask(server))).message) < 700


@pytest.mark.parametrize("mode", ["stream", "batch"])
async def test_thoughts_between_tags_are_reasoning_where_the_channel_says_so(mode: Mode) -> None:
    pieces = [event(text) for text in ("<th", "ink>\nHm", "m.\n</thi", "nk>\n\n", "Hello", " world")]
    async with playing(HEAD, *pieces, DONE) as (llm, server):
        request = ask(server, traits=ChannelTraits(think_tags=True))
        if mode == "stream":
            chunks = await streamed(llm, request)
            assert text_of(chunks) == "Hello world"
            assert "".join(chunk.content for chunk in chunks if chunk.type == "reasoning_chunk") == "Hmm.\n"
            assert chunks[-1].content["reasoning"] == "Hmm.\n"
        else:
            answer = await llm.chat(request)
            assert (answer.text, answer.reasoning) == ("Hello world", "Hmm.\n")


async def test_a_continuation_without_text_is_a_whole_answer() -> None:
    async with playing(HEAD, DONE) as (llm, server):
        assert (await streamed(llm, ask(server, prefix="All of it."))).pop().content["accumulated_text"] == ""


# --- who gives up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["stream", "batch"])
@pytest.mark.parametrize(
    "operations",
    [[HANG], [HEAD, HANG], [HEAD, event("a"), HANG], [HEAD, event("a", "stop"), HANG]],
    ids=["before the head", "before the body", "within the body", "after the finish reason"],
)
async def test_a_call_that_is_cancelled_ends_the_providers_within_a_second(
    operations: list[Operation], mode: Mode
) -> None:
    trace = CallTrace()
    async with playing(*operations) as (llm, server):
        request = ask(server, trace=trace)
        task = asyncio.create_task(streamed(llm, request) if mode == "stream" else llm.chat(request))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while not server.requests:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), 1)
    assert trace.was_sent


async def test_connections_serve_again_after_an_answer_that_ended_well() -> None:
    head = {"send": "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"}
    body = event("a", "stop")["send"] + DONE["send"]
    chunked = {"send": f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"}
    opened = 0

    class Counting(WireServer):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            await super()._serve(reader, writer)

    cases = {"it": {"stream": {"responses": [[head, chunked, {"keep": True}]]}}}
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True))
    async with Counting(cases) as server:
        for _ in range(3):
            assert text_of(await streamed(llm, ask(server))) == "a"
        await llm.aclose()
    assert opened == 1


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["kéy", "a\nb", "k\u200bey", "k\x00", "\ud83d"])
async def test_a_key_that_cannot_be_sent_is_refused_before_any_request(key: str) -> None:
    async with playing(*whole(200, "{}")) as (llm, server):
        for mode in ("stream", "batch"):
            found = await failure(llm, ask(server, api_key=key), mode)  # type: ignore[arg-type]
            assert isinstance(found, NodeInputError)
            assert "copy the key again" in found.message
            assert key not in found.message
        with pytest.raises(NodeInputError):
            await llm.list_models(server.base_url("it"), key)
        assert server.requests == []


async def test_a_channel_adds_headers_and_a_query_to_every_request() -> None:
    traits = ChannelTraits(
        headers={"X-Title": "Innkeeper", "authorization": "Basic zzz"},
        query={"api-version": "2"},
        rename={"max_tokens": "max_completion_tokens"},
        drop=("top_p",),
    )
    async with playing(*whole(200, '{"choices": [{"message": {"content": "a"}}]}')) as (llm, server):
        request = ask(server, api_key="key", traits=traits, parameters={"max_tokens": 3, "top_p": 1})
        await llm.chat(request)
        ((_, _, headers, body),) = server.requests
        assert server.targets[0].endswith("/chat/completions?api-version=2")
    assert (headers["x-title"], headers["authorization"]) == ("Innkeeper", "Basic zzz")
    assert (body["max_completion_tokens"], "top_p" in body, "max_tokens" in body) == (3, False, False)


async def test_another_server_gets_neither_key_nor_headers_of_the_channel() -> None:
    answer = whole(200, '{"choices": [{"message": {"content": "a"}}]}')
    async with playing(*answer) as (llm, target):
        to = f"Location: {target.base_url('it')}/chat/completions"
        first_cases = {"it": {"batch": {"responses": [whole(307, "", to)]}}}
        async with WireServer(first_cases) as first:
            azure = f"{first.base_url('it')}/openai/deployments/d"
            traits = ChannelTraits(headers={"X-Secret": "s"})
            request = ChatRequest(azure, "m", [{"role": "user", "content": "Hi"}], "the-key", traits=traits)
            assert (await llm.chat(request)).text == "a"
        ((_, _, headers, body),) = target.requests
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert {"api-key", "authorization", "x-secret"} & headers.keys() == set()


async def test_a_redirect_that_would_lose_the_question_names_the_address_to_use() -> None:
    async with playing(*whole(302, "", "Location: /c/other.x/v2/chat/completions?token=abc")) as (llm, server):
        found = await failure(llm, ask(server))
        assert len(server.requests) == 1
        assert f"{server.address}/c/other.x/v2/chat/completions" in found.message
    assert (found.code, found.retryable) == ("not_found_error", False)
    assert "abc" not in found.message


@pytest.mark.parametrize("location", ["http://[::1/x", "ftp://h/x", "javascript:x", "http://", "//"])
async def test_a_redirect_to_what_is_no_address_is_told(location: str) -> None:
    async with playing(*whole(307, "", f"Location: {location}")) as (llm, server):
        found = await failure(llm, ask(server))
    assert (found.code, found.retryable) == ("not_found_error", False)


async def test_redirects_in_a_circle_end() -> None:
    async with playing(*whole(307, "", "Location: /c/it.y/v1/chat/completions")) as (llm, server):
        found = await failure(llm, ask(server))
        assert len(server.requests) == 6
    assert "redirects more than 5 times" in found.message


async def test_headers_about_limits_are_told_of_answers_and_errors() -> None:
    for status in (200, 429):
        trace = CallTrace()
        body = '{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 3}}'
        async with playing(*whole(status, body, "X-RateLimit-Remaining-Requests: 7")) as (llm, server):
            with suppress(ProviderError):
                await llm.chat(ask(server, trace=trace))
        assert trace.headers == {"x-ratelimit-remaining-requests": "7"}
        assert trace.usage == ({"prompt_tokens": 3} if status == 200 else None)


@pytest.mark.parametrize("mode", ["stream", "batch"])
async def test_calls_of_tools_without_end_end(mode: Mode) -> None:
    calls = [{"id": f"c{number}", "function": {"name": "f", "arguments": ""}} for number in range(1_001)]
    part = {"send": f"data: {json.dumps({'choices': [{'delta': {'tool_calls': calls}}]})}\n\n"}
    async with playing(HEAD, part, DONE) as (llm, server):
        found = await failure(llm, ask(server), mode)
    assert (found.code, found.retryable) == ("bad_answer", False)


async def test_a_model_that_is_being_loaded_is_waited_for_as_long_as_the_server_says() -> None:
    said = '{"error": "Model x is currently loading", "estimated_time": 20.0}'
    async with playing(*whole(503, said)) as (llm, server):
        found = await failure(llm, ask(server))
    assert isinstance(found, NodeMustWait)
    assert (found.delay_s, found.details["code"]) == (20.0, "overloaded_error")
    # By this the engine knows which waits of the node it counts together, and ends.
    assert found.details["kind"] == "loading"


@pytest.mark.parametrize("url", ["http://xn--", "http://a..b/v1", "http://-a-/v1", "http://h/\ud83d", "http://*/v1"])
async def test_a_name_that_no_server_can_have_is_no_fault_of_ours(url: str) -> None:
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy())
    with pytest.raises(InnkeeperError):
        await llm.chat(ChatRequest(url, "m", traits=ChannelTraits(query={"a": "b"})))
    await llm.aclose()


async def test_a_header_of_a_channel_that_is_none_is_told() -> None:
    async with playing(*whole(200, "{}")) as (llm, server):
        found = await failure(llm, ask(server, traits=ChannelTraits(headers={"X Title": "a"})))
        assert server.requests == []
    assert isinstance(found, NodeInputError)
