"""Adapters of plugins: what fails or blocks in one fails its own calls, and holds nobody else up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ProviderError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.llm.adapter import NO_TRAITS
from innkeeper.nodes.services.llm.plugin_adapter import MAX_LOST_THREADS, ThreadedAdapter

ASK = ChatRequest("https://h", "m", [{"role": "user", "content": "Hi"}])


class Toy:
    """An adapter whose every step does what a test wants."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act
        self.thread = ""
        self.is_closed = threading.Event()
        self.stream_closed = threading.Event()

    async def chat(self, request: ChatRequest) -> ChatResponse:
        self.thread = threading.current_thread().name
        self.act()
        return ChatResponse("Hello", request.model)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        try:
            yield Chunk("text_chunk", "Hel")
            self.act()
            await asyncio.sleep(0)
            yield Chunk("text_chunk", "lo")
        finally:
            self.stream_closed.set()

    async def list_models(
        self, base_url: str, api_key: str = "", traits: ChannelTraits = NO_TRAITS
    ) -> tuple[Mapping[str, Any], ...]:
        self.act()
        return ({"id": "m"},)

    async def warm_up(self) -> None: ...

    async def aclose(self) -> None:
        self.is_closed.set()


def blocked() -> None:
    while True:
        time.sleep(0.01)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def adapter(toy: Toy, **options: Any) -> ThreadedAdapter:
    return ThreadedAdapter("'toy' of the plugin 'toys'", lambda: toy, **options)


async def test_it_answers_from_a_thread_of_its_own() -> None:
    toy = Toy()
    made = adapter(toy)
    assert (await made.chat(ASK)).text == "Hello"
    assert toy.thread.startswith("adapter 'toy'")
    assert [chunk.content async for chunk in made.stream(ASK)] == ["Hel", "lo"]
    assert await made.list_models("https://h") == ({"id": "m"},)
    await made.aclose()
    assert await asyncio.to_thread(toy.is_closed.wait, 5)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("sk-canary"),
        SystemExit(1),
        KeyboardInterrupt(),
        RecursionError(),
        ZeroDivisionError(),
        asyncio.CancelledError(),
    ],
)
async def test_what_its_code_raises_is_an_error_of_the_call(error: BaseException) -> None:
    toy = Toy(raising(error))
    made = adapter(toy)
    for call in (made.chat(ASK), made.list_models("https://h"), anext(_later(made))):
        with pytest.raises(ProviderError) as caught:
            await call
        assert caught.value.message == f"the adapter 'toy' of the plugin 'toys' failed: {type(error).__name__}"
        assert not caught.value.retryable
    toy.act = lambda: None
    assert (await made.chat(ASK)).text == "Hello"  # the same thread goes on
    await made.aclose()


async def _later(made: ThreadedAdapter) -> AsyncIterator[Chunk]:
    """The stream behind its first chunk."""
    async for chunk in made.stream(ASK):
        if chunk.content != "Hel":
            yield chunk


async def test_errors_of_ours_pass_as_they_are() -> None:
    made = adapter(Toy(raising(NodeInputError("no"))))
    with pytest.raises(NodeInputError, match="no"):
        await made.chat(ASK)
    await made.aclose()


async def test_code_that_blocks_is_given_up_and_holds_nobody_up() -> None:
    toy = Toy(blocked)
    made = adapter(toy, block_limit_s=1.0)
    blocking = asyncio.gather(made.chat(ASK), made.chat(ASK), return_exceptions=True)
    longest = 0.0
    while not blocking.done():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - began)
    for error in await blocking:
        assert isinstance(error, ProviderError)
        assert "blocked for 1 s" in error.message
    assert longest < 0.9
    toy.act = lambda: None
    assert (await made.chat(ASK)).text == "Hello"
    await made.aclose()


async def test_who_asks_later_than_a_blocked_call_fails_with_its_words() -> None:
    """Cancelled together with the thread, it must not look as if somebody had cancelled the run."""
    for lag in (0.02, 0.1, 0.2):
        made = adapter(Toy(blocked), block_limit_s=0.3)
        first = asyncio.create_task(made.chat(ASK))
        await asyncio.sleep(lag)
        for error in await asyncio.gather(first, made.chat(ASK), return_exceptions=True):
            assert isinstance(error, ProviderError)
            assert "blocked for 0.3 s" in error.message


async def test_a_call_that_outlives_its_adapter_fails_and_is_not_cancelled() -> None:
    class Waiting(Toy):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            await asyncio.Event().wait()
            raise AssertionError

    made = adapter(Waiting())
    call = asyncio.create_task(made.chat(ASK))
    await asyncio.sleep(0.05)
    await made.aclose()
    with pytest.raises(ProviderError, match="was closed"):
        await call


async def test_code_that_blocks_in_c_for_ever_costs_a_few_threads_and_no_more() -> None:
    release = threading.Event()
    made = adapter(Toy(lambda: bool(release.wait(20))), block_limit_s=0.05)  # type: ignore[arg-type]
    try:
        for _ in range(MAX_LOST_THREADS):
            with pytest.raises(ProviderError, match="blocked for"):
                await made.chat(ASK)
        began = time.monotonic()
        with pytest.raises(ProviderError, match="is not asked any more"):
            await made.chat(ASK)
        assert time.monotonic() - began < 1
    finally:
        release.set()


async def test_an_interrupted_stream_is_closed_in_its_thread() -> None:
    toy = Toy()
    made = adapter(toy)
    source = made.stream(ASK)
    assert (await anext(source)).content == "Hel"
    await source.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert await asyncio.to_thread(toy.stream_closed.wait, 5)
    await made.aclose()


async def test_an_adapter_that_cannot_be_made_fails_each_call() -> None:
    def make() -> Any:
        raise ValueError("no")

    made = ThreadedAdapter("'toy'", make)
    for _ in range(2):
        with pytest.raises(ProviderError, match="failed: ValueError"):
            await made.chat(ASK)
    await made.aclose()


async def test_a_cancelled_call_ends_in_its_thread() -> None:
    ended = threading.Event()

    class Waiting(Toy):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

    made = adapter(Waiting())
    call = asyncio.create_task(made.chat(ASK))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.to_thread(ended.wait, 5)
    await made.aclose()
