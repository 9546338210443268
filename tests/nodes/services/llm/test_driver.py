"""The adapter against real servers: the demo model, one that answers as it is told, and one that hangs up."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import orjson
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from innkeeper.gateway.api.demo import router as demo_router
from innkeeper.nodes.errors import NodeError, NodeInputError, NodeMustWait, ProviderError, RequestRefused
from innkeeper.nodes.json_values import encode_json
from innkeeper.nodes.node import ChatRequest, Chunk
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat

KEY = "sk-canary-1234567890abcdef"
PROMPT = "my secret diary"
HERE = AddressPolicy(allow_loopback=True)


def ask(base_url: str, model: str = "demo-echo@0", text: str = "alpha beta gamma", **fields: Any) -> ChatRequest:
    return ChatRequest(base_url, model, [{"role": "user", "content": text}], **fields)


@asynccontextmanager
async def adapter(policy: AddressPolicy = HERE, **options: Any) -> AsyncIterator[ProtocolAdapter]:
    made = ProtocolAdapter(OpenAIChat(), policy, **options)
    try:
        yield made
    finally:
        await made.aclose()


class Provider:
    """A server that answers every call with one prepared response and remembers what it was sent."""

    def __init__(self, answer: Callable[[], Response]) -> None:
        self.app = FastAPI()
        self.calls: list[tuple[dict[str, str], Any]] = []

        @self.app.post("/v1/chat/completions")
        async def completions(request: Request) -> Response:
            self.calls.append((dict(request.headers), await request.json()))
            return answer()


def completion(text: str = "hello") -> Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return JSONResponse({"id": "c1", "model": "m", "choices": [choice]})


def events(*parts: Any) -> Response:
    lines = [f"data: {part if isinstance(part, str) else json.dumps(part)}\n\n" for part in parts]
    return StreamingResponse(iter(lines), media_type="text/event-stream")


def delta(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    content = {} if text is None else {"content": text}
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": content, "finish_reason": finish}]}


def refusal(status: int, headers: Any = None, **error: Any) -> Response:
    # Providers quote what they were sent; none of it may come back to us.
    message = f"bad key {KEY} for {PROMPT}"
    return JSONResponse({"error": {"message": message, **error}}, status, headers=headers)


async def outcome(serve: Any, answer: Callable[[], Response], *, stream: bool = False) -> NodeError:
    async with serve(Provider(answer).app) as address, adapter() as llm:
        request = ask(f"{address}/v1", text=PROMPT, api_key=KEY)
        with pytest.raises(NodeError) as caught:
            await collected(llm, request) if stream else await llm.chat(request)
    return caught.value


async def collected(llm: ProtocolAdapter, request: ChatRequest) -> list[Chunk]:
    return [chunk async for chunk in llm.stream(request)]


async def test_chat_with_the_demo_model_gives_text_reason_and_usage(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)
    async with serve(app) as address, adapter() as llm:
        response = await llm.chat(ask(f"{address}/demo/v1"))

    assert response.text == "gamma beta alpha"
    assert response.finish_reason == "stop"
    assert response.usage == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert response.choices[0]["message"] == {"role": "assistant", "content": "gamma beta alpha"}


async def test_stream_gives_text_then_usage_then_one_finish_chunk(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)
    async with serve(app) as address, adapter() as llm:
        request = ask(f"{address}/demo/v1", parameters={"stream_options": {"include_usage": True}})
        chunks = await collected(llm, request)

    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert [chunk.to_json() for chunk in chunks] == [
        {"type": "text_chunk", "content": "gamma"},
        {"type": "text_chunk", "content": " beta"},
        {"type": "text_chunk", "content": " alpha"},
        {"type": "usage_chunk", "content": usage},
        {
            "type": "finish_reason_chunk",
            "content": {
                "finish_reason": "stop",
                "accumulated_text": "gamma beta alpha",
                "usage": usage,
                "model": "demo-echo@0",
                "response_id": chunks[-1].content["response_id"],
            },
        },
    ]


async def test_halves_of_a_character_in_two_parts_meet_and_a_single_one_is_replaced(serve: Any) -> None:
    parts = [delta("a\ud83d"), delta("\ude00b"), delta("\ud83d"), delta(finish="stop"), "[DONE]"]
    async with serve(Provider(lambda: events(*parts)).app) as address, adapter() as llm:
        chunks = await collected(llm, ask(f"{address}/v1"))

    assert [chunk.content for chunk in chunks[:-1]] == ["a", "😀b", "\ufffd"]
    assert chunks[-1].content["accumulated_text"] == "a😀b\ufffd"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_with_odd_values_can_be_stored(serve: Any, stream: bool) -> None:
    usage = f'{{"prompt_tokens": {"9" * 5_000}, "completion_tokens": 7, "cost": NaN}}'
    text = r'"half \ud83d"'
    whole = f'{{"model": "m", "choices": [{{"message": {{"content": {text}}}}}], "usage": {usage}}}'
    parts = [
        f'{{"choices": [{{"delta": {{"content": {text}}}, "finish_reason": "stop"}}], "usage": {usage}}}',
        "[DONE]",
    ]
    answer = partial(events, *parts) if stream else partial(Response, whole, media_type="application/json")
    async with serve(Provider(answer).app) as address, adapter() as llm:
        if stream:
            found: Any = [chunk.to_json() for chunk in await collected(llm, ask(f"{address}/v1"))]
        else:
            found = asdict(await llm.chat(ask(f"{address}/v1")))

    written = encode_json(found)
    assert written.changes == ()
    assert "half \ufffd" in written.data.decode()
    assert (found[0]["content"] if stream else found["usage"]) == {"completion_tokens": 7}
    assert orjson.loads(written.data) == orjson.loads(orjson.dumps(found))


@pytest.mark.parametrize("more", ["[" * levels + "]" * levels for levels in (210, 300, 5_000)], ids=range(3))
async def test_an_answer_that_is_nested_without_end_is_refused(serve: Any, more: str) -> None:
    deep = f'{{"model": "m", "choices": [{{"message": {{}}}}], "more": {more}}}'
    error = await outcome(serve, partial(Response, deep, media_type="application/json"))
    assert (error.code, error.retryable) == ("bad_answer", False)
    assert "nested" in error.message


async def test_the_first_chunk_comes_long_before_the_last(serve: Any) -> None:
    app = FastAPI()
    app.include_router(demo_router)
    async with serve(app) as address, adapter() as llm:
        times = [time.monotonic() async for _ in llm.stream(ask(f"{address}/demo/v1", "demo-echo@10"))]

    assert times[-1] - times[0] > 0.1


async def test_the_request_holds_what_was_asked_and_no_key_but_the_given_one(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "operator-value")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Operator: operator-value\nAuthorization: operator-value")
    provider = Provider(completion)
    async with serve(provider.app) as address, adapter() as llm:
        parameters = {"temperature": 0.5, "top_k": 3, "model": "other", "messages": [], "stream": True}
        await llm.chat(ask(f"{address}/v1", "m", "hi", api_key=KEY, parameters=parameters, idempotency_key="once"))
        await llm.chat(ask(f"{address}/v1", "m", "hi"))

    (with_key, body), (without_key, _) = provider.calls
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "temperature": 0.5,
        "top_k": 3,
    }
    assert with_key["authorization"] == f"Bearer {KEY}"
    assert with_key["idempotency-key"] == "once"
    assert "authorization" not in without_key
    assert not [value for headers in (with_key, without_key) for value in headers.values() if "operator" in value]


async def test_cookies_of_one_request_do_not_reach_the_next(serve: Any) -> None:
    def answer() -> Response:
        response = completion()
        response.set_cookie("session", "of-another-user")
        return response

    provider = Provider(answer)
    async with serve(provider.app) as address, adapter() as llm:
        await llm.chat(ask(f"{address}/v1"))
        await llm.chat(ask(f"{address}/v1"))
    assert "cookie" not in provider.calls[1][0]


@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (400, {}, "invalid_request_error", False),
        (400, {"code": "context_length_exceeded"}, "context_length_error", False),
        (400, {"code": "content_filter"}, "content_filter", False),
        (401, {"code": "invalid_api_key"}, "authentication_error", False),
        (403, {}, "permission_error", False),
        (404, {"code": "model_not_found"}, "not_found_error", False),
        (408, {}, "timeout_error", True),
        (409, {}, "server_error", True),
        (422, {}, "invalid_request_error", False),
        (425, {}, "server_error", True),
        (429, {"type": "rate_limit_exceeded"}, "rate_limit_error", True),
        (429, {"code": "insufficient_quota"}, "billing_error", False),
        (500, {}, "server_error", True),
        (503, {}, "overloaded_error", True),
    ],
)
async def test_a_status_becomes_a_code_and_says_whether_trying_again_helps(
    serve: Any, status: int, error: dict[str, str], code: str, retryable: bool
) -> None:
    raised = await outcome(serve, lambda: refusal(status, **error))
    assert isinstance(raised, ProviderError)
    assert (raised.code, raised.retryable) == (code, retryable)
    assert str(status) in raised.message


@pytest.mark.parametrize("stream", [False, True])
async def test_no_key_in_errors(serve: Any, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    raised = await outcome(serve, lambda: refusal(401, code=KEY, type=f"for {PROMPT}", param=KEY), stream=stream)
    told = f"{raised!r} {raised.message} {raised.details} {raised.__cause__!r} {caplog.text}"
    assert KEY not in told
    assert f"bad key *** for {PROMPT}" in raised.message  # the provider's own words, without the key


@pytest.mark.parametrize(("header", "delay_s"), [("7", 7.0), ("0", 1.0), ("86400", 86400.0)])
async def test_429_with_retry_after_is_a_wait_within_bounds(serve: Any, header: str, delay_s: float) -> None:
    raised = await outcome(serve, lambda: refusal(429, {"Retry-After": header}))
    assert isinstance(raised, NodeMustWait)
    assert raised.delay_s == delay_s


async def test_429_without_quota_is_no_wait(serve: Any) -> None:
    raised = await outcome(serve, lambda: refusal(429, {"Retry-After": "7"}, code="insufficient_quota"))
    assert isinstance(raised, ProviderError)
    assert not raised.retryable


@pytest.mark.parametrize("status", [503, 529])
async def test_503_with_retry_after_is_a_wait(serve: Any, status: int) -> None:
    raised = await outcome(serve, lambda: refusal(status, {"Retry-After": "9"}))
    assert isinstance(raised, NodeMustWait)
    assert raised.delay_s == 9.0


async def test_each_request_is_sent_once(serve: Any) -> None:
    provider = Provider(lambda: refusal(500))
    async with serve(provider.app) as address, adapter() as llm:
        with pytest.raises(ProviderError):
            await llm.chat(ask(f"{address}/v1"))
    assert len(provider.calls) == 1


async def test_a_stream_without_finish_reason_broke_off(serve: Any) -> None:
    raised = await outcome(serve, lambda: events(delta("half an ans")), stream=True)
    assert (raised.code, raised.retryable) == ("connection_error", True)


async def test_an_error_in_a_stream_fails_it(serve: Any) -> None:
    answer = [delta("half"), {"error": {"message": KEY, "code": "rate_limit_exceeded"}}]
    raised = await outcome(serve, lambda: events(*answer), stream=True)
    assert (raised.code, raised.retryable) == ("rate_limit_error", True)
    assert KEY not in raised.message


async def test_a_stream_that_is_not_json_fails(serve: Any) -> None:
    raised = await outcome(serve, lambda: events(delta("half"), "{oops"), stream=True)
    assert (raised.code, raised.retryable) == ("bad_answer", False)


async def test_odd_parts_of_a_stream_are_passed_over(serve: Any) -> None:
    odd: list[Any] = [
        {"choices": None},
        {"choices": [{"delta": None}]},
        {},
        [1],
        delta(""),
        delta("a"),
        delta(None, "stop"),
    ]
    async with serve(Provider(lambda: events(*odd, "[DONE]")).app) as address, adapter() as llm:
        chunks = await collected(llm, ask(f"{address}/v1"))
    assert [chunk.type for chunk in chunks] == ["text_chunk", "finish_reason_chunk"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: PlainTextResponse("<html>hello</html>", media_type="text/html"),
        lambda: JSONResponse({"ok": True}),
        lambda: JSONResponse([1]),
        lambda: Response("{oops", media_type="application/json"),
    ],
)
async def test_an_answer_that_is_no_completion_fails_for_good(serve: Any, answer: Callable[[], Response]) -> None:
    raised = await outcome(serve, answer)
    assert (raised.code, raised.retryable) == ("bad_answer", False)


@pytest.mark.parametrize("choices", [[], [{"message": {"content": None}}], [{"message": None}], [None]])
async def test_an_answer_without_text_or_a_reason_is_none(serve: Any, choices: Any) -> None:
    raised = await outcome(serve, lambda: JSONResponse({"choices": choices}))
    assert (raised.code, raised.retryable) == ("bad_answer", False)


async def test_an_empty_answer_with_a_reason_is_empty(serve: Any) -> None:
    async with serve(Provider(lambda: completion("")).app) as address, adapter() as llm:
        assert (await llm.chat(ask(f"{address}/v1"))).text == ""


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_over_the_limit_fails(serve: Any, stream: bool) -> None:
    answer = (lambda: events(delta("x" * 200), delta("x" * 200))) if stream else (lambda: completion("x" * 400))
    async with serve(Provider(answer).app) as address, adapter(max_answer_chars=300) as llm:
        with pytest.raises(ProviderError, match="more than 300 characters") as caught:
            await collected(llm, ask(f"{address}/v1")) if stream else await llm.chat(ask(f"{address}/v1"))
    assert not caught.value.retryable


async def test_nobody_listening_is_a_connection_error() -> None:
    async with adapter() as llm:
        with pytest.raises(ProviderError) as caught:
            await llm.chat(ask("http://127.0.0.1:1/v1"))
    assert (caught.value.code, caught.value.retryable) == ("connection_error", True)


@asynccontextmanager
async def hanging_up(sent: bytes) -> AsyncIterator[str]:
    """A server that sends some bytes of a chunked answer and drops the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _lines(*parts: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts)


async def test_a_connection_lost_in_the_middle_keeps_what_came_and_fails() -> None:
    async with hanging_up(_lines(delta("half"))) as address, adapter() as llm:
        stream = llm.stream(ask(f"{address}/v1"))
        assert (await anext(stream)).content == "half"
        with pytest.raises(ProviderError) as caught:
            await anext(stream)
    assert (caught.value.code, caught.value.retryable) == ("connection_error", True)


async def test_a_connection_lost_after_the_finish_reason_does_not_matter() -> None:
    async with hanging_up(_lines(delta("all"), delta(None, "stop"))) as address, adapter() as llm:
        chunks = await collected(llm, ask(f"{address}/v1"))
    assert [chunk.type for chunk in chunks] == ["text_chunk", "finish_reason_chunk"]


async def test_closing_the_stream_ends_the_request_at_the_provider() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        part = _lines(delta("a"))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + f"{len(part):x}\r\n".encode() + part + b"\r\n")
        while await reader.read(1024):
            pass
        gone.set()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, adapter() as llm:
        stream = llm.stream(ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"))
        assert (await anext(stream)).content == "a"
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(gone.wait(), 30)


async def test_a_refused_address_is_told_as_such(serve: Any) -> None:
    async with serve(Provider(completion).app) as address, adapter(AddressPolicy()) as llm:
        with pytest.raises(RequestRefused, match="loopback"):
            await llm.chat(ask(f"{address}/v1"))


async def test_a_redirect_to_a_refused_address_is_refused(serve: Any) -> None:
    target = Provider(completion)
    async with serve(target.app) as address:
        redirect = Provider(
            lambda: RedirectResponse(address.replace("127.0.0.1", "127.0.0.2") + "/v1/chat/completions")
        )
        async with serve(redirect.app) as first:
            only_first = AddressPolicy(allowed_hosts=frozenset({first.removeprefix("http://")}))
            async with adapter(only_first) as llm:
                with pytest.raises(RequestRefused):
                    await llm.chat(ask(f"{first}/v1", api_key=KEY))
    assert target.calls == []


async def test_a_redirect_to_another_server_does_not_carry_the_key(serve: Any) -> None:
    target = Provider(completion)
    async with serve(target.app) as address:
        redirect = Provider(lambda: RedirectResponse(f"{address}/v1/chat/completions"))
        async with serve(redirect.app) as first, adapter() as llm:
            await llm.chat(ask(f"{first}/v1", api_key=KEY))
    assert "authorization" not in target.calls[0][0]


@pytest.mark.parametrize(
    "url", ["", "api.example.com", "ftp://x/v1", "http://", "http://[::1/v1", "http://x/api?a=", "http://x/api#"]
)
async def test_a_base_url_that_is_none_is_an_input_error(url: str) -> None:
    async with adapter() as llm:
        with pytest.raises(NodeInputError, match="base_url"):
            await llm.chat(ask(url))
