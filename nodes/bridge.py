"""What belongs to the worker's loop, in a form that code on another loop, or on none, can use."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import fields, replace
from typing import Any

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
    """An asynchronous iterator of the worker's loop: for `async for`, and for `for` in a plain function."""

    def __init__(self, source: AsyncIterator[Any], home: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._home = home

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
        if hasattr(self._source, "aclose"):
            await Call(self._source.aclose(), self._home)

    async def _next(self) -> Any:
        return await anext(self._source)


class Gate:
    """Whether a node may still use its services: code that did not stop must not call a provider any more."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


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
            return BridgedIterator(answer, self._home) if hasattr(answer, "__anext__") else answer

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


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work
