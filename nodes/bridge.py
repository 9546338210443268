"""What belongs to the worker's loop, in a form that code on another loop, or on none, can use."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, MutableSet
from dataclasses import fields, replace
from typing import Any
from weakref import WeakSet

from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext, Services

_SERVICES = tuple(spec.name for spec in fields(Services))


class Call:
    """A call that is under way on the worker's loop: `await` it, or in a plain function ask for its `result()`."""

    def __init__(self, work: Awaitable[Any], home: asyncio.AbstractEventLoop) -> None:
        self._future = asyncio.run_coroutine_threadsafe(_awaited(work), home)

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self._future).__await__()

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the answer, which holds up this thread."""
        try:
            return self._future.result(timeout_s)
        except BaseException:
            self._future.cancel()
            raise


class BridgedIterator:
    """An asynchronous iterator of the worker's loop: for `async for`, and for `for` in a plain function.

    Args:
        open_streams: Holds this iterator while it has begun and has not ended; changed on the worker's loop only.
    """

    def __init__(
        self,
        source: AsyncIterator[Any],
        home: asyncio.AbstractEventLoop,
        open_streams: MutableSet[BridgedIterator] | None = None,
    ) -> None:
        self._source = source
        self._home = home
        self._open_streams: MutableSet[BridgedIterator] = set() if open_streams is None else open_streams
        self._lock = asyncio.Lock()  # a generator that is at work cannot be closed

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await Call(self._next(), self._home)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return Call(self._next(), self._home).result()
        except StopAsyncIteration:
            raise StopIteration from None

    async def aclose(self) -> None:
        await Call(self.close_source(), self._home)

    async def close_source(self) -> None:
        """On the worker's loop: close the source, once it has given the item that is asked for."""
        async with self._lock:
            self._open_streams.discard(self)
            if hasattr(self._source, "aclose"):
                await self._source.aclose()

    async def _next(self) -> Any:
        async with self._lock:
            self._open_streams.add(self)
            try:
                return await anext(self._source)
            except BaseException:  # its end, an error or a cancellation: nothing of it is open any more
                self._open_streams.discard(self)
                raise


class Gate:
    """Whether a node may still use its services: code that did not stop must not call a provider any more.

    Attributes:
        streams: What the node reads of its services, such as the answer of a model. One that the node drops ends by
            itself, so that it is not kept here.
    """

    def __init__(self) -> None:
        self.is_open = True
        self.streams: WeakSet[BridgedIterator] = WeakSet()
        self._closing: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        self.is_open = False

    def close_streams(self) -> None:
        """Close what the node has left open. To be called on the worker's loop.

        Whoever holds a frame of the node, such as a traceback, keeps its streams: a provider would go on answering.
        """
        for stream in tuple(self.streams):
            task = asyncio.create_task(_closed_quietly(stream))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _BridgedService:
    __slots__ = ("_gate", "_home", "_target")

    def __init__(self, target: object, home: asyncio.AbstractEventLoop, gate: Gate) -> None:
        self._target = target
        self._home = home
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._bridged(found) if callable(found) else found

    def _bridged(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._gate.is_open:
                raise NodeError("this attempt of the node has ended; its services are closed", code="attempt_ended")
            answer = function(*args, **kwargs)
            if inspect.isawaitable(answer):
                return Call(answer, self._home)
            return BridgedIterator(answer, self._home, self._gate.streams) if hasattr(answer, "__anext__") else answer

        return call


def bridged_context(context: NodeContext, home: asyncio.AbstractEventLoop, gate: Gate) -> NodeContext:
    """The context with services that can be used in another thread, while the gate is open."""
    return replace(context, services=bridged_services(context.services, home, gate))


def bridged_services(services: Services, home: asyncio.AbstractEventLoop, gate: Gate) -> Services:
    """Services that can be used in another thread, while the gate is open."""
    bridged: Any = [_BridgedService(getattr(services, name), home, gate) for name in _SERVICES]
    return Services(*bridged)


def bridged_inputs(inputs: dict[str, Any], home: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """The inputs with streams that can be read in another thread."""
    return {key: _bridged_value(value, home) for key, value in inputs.items()}


def _bridged_value(value: Any, home: asyncio.AbstractEventLoop) -> Any:
    if isinstance(value, list):
        return [_bridged_value(item, home) if hasattr(item, "__aiter__") else item for item in value]
    return BridgedIterator(aiter(value), home) if hasattr(value, "__aiter__") else value


async def _closed_quietly(stream: BridgedIterator) -> None:
    with contextlib.suppress(Exception):  # nobody waits for what a provider says to its end
        await stream.close_source()


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
