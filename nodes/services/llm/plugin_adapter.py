"""Adapters of plugins, each in a thread of its own: what fails or blocks there fails its own calls, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from innkeeper.nodes.errors import InnkeeperError, ProviderError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.llm.adapter import NO_TRAITS, LlmAdapter

log = logging.getLogger("innkeeper.llm")

BLOCK_LIMIT_S = 10.0
"""A protocol only translates: that takes milliseconds."""
MAX_LOST_THREADS = 3
_TURN_S = 0.25

T = TypeVar("T")


class ThreadedAdapter:
    """Asks through an adapter that is made, and lives, in a thread of its own (`LlmAdapter`).

    A thread that does not come back within `block_limit_s` is given up, with the calls in it; the next call gets a
    new one. Those that were given up and live on are counted: after `MAX_LOST_THREADS` there is no new one.

    Args:
        name: For messages: the adapter, and whose it is.
        make: Makes the adapter. Code of a plugin: it may fail and block.
    """

    def __init__(self, name: str, make: Callable[[], LlmAdapter], *, block_limit_s: float = BLOCK_LIMIT_S) -> None:
        self._name = name
        self._make = make
        self._block_limit_s = block_limit_s
        self._thread: _AdapterThread | None = None
        self._lost: list[_AdapterThread] = []
        self._calls = 0
        self._is_retired = False

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """As `LlmAdapter.chat`.

        Raises:
            ProviderError: Also when the plugin's code fails or blocks (`server_error`, not retryable).
        """
        with self._call() as thread:
            return await self._within(thread, lambda: thread.chat(request))

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """As `LlmAdapter.stream`. Raises as `chat`."""
        with self._call() as thread:
            source = _Source(thread, request)
            try:
                while (chunk := await self._within(thread, source.next)) is not None:
                    yield chunk
            finally:
                # Not waited for: the thread may block, and who interrupts a run waits for us.
                thread.begin(source.close)

    async def list_models(
        self, base_url: str, api_key: str = "", traits: ChannelTraits = NO_TRAITS
    ) -> tuple[Mapping[str, Any], ...]:
        """As `LlmAdapter.list_models`. Raises as `chat`."""
        with self._call() as thread:
            return await self._within(thread, lambda: thread.list_models(base_url, api_key, traits))

    async def warm_up(self) -> None:
        """There is nothing to load before a channel of this protocol is asked."""

    async def aclose(self) -> None:
        self._end()

    def retire(self) -> None:
        """End with the last call that is under way: nobody will ask any more."""
        self._is_retired = True
        if not self._calls:
            self._end()

    @contextlib.contextmanager
    def _call(self) -> Iterator[_AdapterThread]:
        thread = self._current()
        self._calls += 1
        try:
            yield thread
        finally:
            self._calls -= 1
            if self._is_retired and not self._calls:
                self._end()

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.begin(thread.close)

    def _current(self) -> _AdapterThread:
        if self._thread is None:
            self._lost = [thread for thread in self._lost if thread.is_alive]
            if len(self._lost) >= MAX_LOST_THREADS:
                raise self._failed("blocks whenever it is asked, and is not asked any more; load the plugin anew")
            self._thread = _AdapterThread(self._name, self._make)
        return self._thread

    async def _within(self, thread: _AdapterThread, work: Callable[[], Awaitable[T]]) -> T:
        """What work in the thread gives. When the thread stands still for too long, it is given up."""
        future = asyncio.wrap_future(thread.begin(lambda: self._guarded(thread, work)))
        stood_at: float | None = None
        try:
            while not (await asyncio.wait((future,), timeout=_TURN_S))[0]:
                # Seen twice: of a process that was stopped for a while each thread stands still at first.
                before, stood_at = stood_at, thread.turned_at
                if thread.stood_still_s > self._block_limit_s and stood_at == before:
                    self._give_up(thread)
                    raise self._failed(thread.why_over)
            if future.cancelled():  # by the end of the thread: nobody has cancelled the call itself
                raise self._failed(thread.why_over or "was interrupted")
            return future.result()
        finally:
            future.cancel()

    async def _guarded(self, thread: _AdapterThread, work: Callable[[], Awaitable[T]]) -> T:
        """In the thread: code of plugins raises what it likes, and some of that would end the loop."""
        if thread.is_over:  # it was given up while this waited for its turn
            raise self._failed(thread.why_over)
        try:
            return await work()
        except InnkeeperError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # raised by the plugin: who asks would take it for its own
                raise self._failed("failed: CancelledError") from None
            raise
        except BaseException as error:
            log.warning("the adapter %s failed", self._name, exc_info=error)
            raise self._failed(f"failed: {type(error).__name__}") from None

    def _give_up(self, thread: _AdapterThread) -> None:
        if thread.is_over:
            return
        thread.abandon(f"blocked for {self._block_limit_s:g} s; its functions must only translate")
        log.warning("the adapter %s blocks; its calls are given up", self._name)
        self._lost.append(thread)
        if self._thread is thread:
            self._thread = None

    def _failed(self, what: str) -> ProviderError:
        message = f"the adapter {self._name} {what}"
        return ProviderError(message, code="server_error", details={"adapter": self._name}, retryable=False)


class _AdapterThread:
    """One thread, its loop, and the adapter that lives there."""

    def __init__(self, name: str, make: Callable[[], LlmAdapter]) -> None:
        self._make = make
        self._adapter: LlmAdapter | None = None
        self._loop = asyncio.new_event_loop()
        self.why_over = ""
        self.turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._main, name=f"adapter {name}"[:60], daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start work here. In a thread that has ended nothing comes of it."""

        async def begun() -> T:
            return await work()

        coroutine = begun()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # its loop is closed
            coroutine.close()
            return Future()

    @property
    def is_over(self) -> bool:
        return bool(self.why_over)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def stood_still_s(self) -> float:
        return time.monotonic() - self.turned_at

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return await self.adapter().chat(request)

    async def list_models(self, base_url: str, api_key: str, traits: ChannelTraits) -> tuple[Mapping[str, Any], ...]:
        return await self.adapter().list_models(base_url, api_key, traits)

    def adapter(self) -> LlmAdapter:
        if self._adapter is None:
            self._adapter = self._make()
        return self._adapter

    async def close(self) -> None:
        try:
            if self._adapter is not None:
                await self._adapter.aclose()
        finally:
            self._stop()

    def abandon(self, why: str) -> None:
        """End the thread at its next line of Python; inside C code that never returns it stays."""
        self.why_over = why
        if self._thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(SystemExit))
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _stop(self) -> None:
        self.why_over = self.why_over or "was closed"
        self._loop.stop()

    def _turn(self) -> None:
        self.turned_at = time.monotonic()
        self._loop.call_later(_TURN_S, self._turn)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._turn)
        while not self.is_over:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):  # of plugin code, or of `abandon`
                self._loop.run_forever()
        with contextlib.suppress(BaseException):
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


class _Source:
    """A stream that is read, and closed, in its thread."""

    def __init__(self, thread: _AdapterThread, request: ChatRequest) -> None:
        self._thread = thread
        self._request = request
        self._chunks: AsyncIterator[Chunk] | None = None
        self._lock = asyncio.Lock()  # a generator that is at work cannot be closed

    async def next(self) -> Chunk | None:
        """The next chunk; None at the end."""
        async with self._lock:
            if self._chunks is None:
                self._chunks = self._thread.adapter().stream(self._request)
            return await anext(self._chunks, None)

    async def close(self) -> None:
        async with self._lock:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()
