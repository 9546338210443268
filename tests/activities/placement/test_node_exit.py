"""Nodes that raise what is no exception of theirs to raise: each is a node error, and nobody else notices."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from innkeeper.activities.placement.node_exit import node_exits_as_errors
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import Chunk, NodeContext
from innkeeper.workflows.plan import PlannedNode
from tests.activities.fake_gateway import FakeGateway
from tests.activities.toy_stack import Stack, Toys, batch, stream


class Own(BaseException):
    """A class of the node's own."""


def raises(error: BaseException) -> Callable[[], None]:
    def leave() -> None:
        raise error

    return leave


LEAVE = {
    "exit": (lambda: sys.exit(3), "the node called exit(3)"),
    "interrupt": (raises(KeyboardInterrupt()), "the node raised KeyboardInterrupt"),
    "generator": (raises(GeneratorExit()), "the node raised GeneratorExit"),
    "cancelled": (raises(asyncio.CancelledError()), "the node raised CancelledError"),
    "own": (raises(Own("odd")), "the node raised Own: odd"),
    "group": (raises(BaseExceptionGroup("both", [KeyboardInterrupt()])), "the node raised BaseExceptionGroup: both"),
    "temporal": (raises(ApplicationError("mine", type="mine")), "the node raised ApplicationError: mine: mine"),
}


async def leaves(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    LEAVE[context.node_id.partition("-")[2]][0]()
    return {}


async def leaves_stream(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
    yield Chunk("text_chunk", "a")
    await leaves(inputs, context)


def nodes_of(kind: str) -> list[PlannedNode]:
    """A node that leaves so as each kind of node."""
    return [
        batch(f"batch-{kind}", "leaves", max_attempts=1),
        batch(f"inline-{kind}", "leaves", max_attempts=1, placement="inline"),
        stream(f"stream-{kind}", "leaves_stream", max_attempts=1),
    ]


@pytest.mark.parametrize("kind", LEAVE)
async def test_whatever_a_node_raises_is_an_error_of_that_node(
    stack: Stack, gateway: FakeGateway, toys: Toys, kind: str
) -> None:
    for execute in (leaves, leaves_stream):
        toys.add(execute.__name__, execute)
    async with stack.worker():
        table = await stack.run(*nodes_of(kind))
    for path, entry in table.items():
        assert entry["status"] == "error", path
        assert entry["error"]["message"].startswith(LEAVE[kind][1]), path


@pytest.mark.parametrize("kind", LEAVE)
async def test_so_it_is_in_a_task_that_reads_a_stream(kind: str) -> None:
    """Such a node runs in an inner task; SystemExit in any task ends the loop."""

    async def inner() -> None:
        with node_exits_as_errors():
            await asyncio.sleep(0)
            LEAVE[kind][0]()

    with pytest.raises(NodeError) as found:
        await asyncio.create_task(inner())
    assert found.value.message.startswith(LEAVE[kind][1])


async def test_a_cancelled_task_stays_cancelled() -> None:
    async def inner() -> None:
        with node_exits_as_errors():
            await asyncio.sleep(60)

    task = asyncio.create_task(inner())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_coroutine_that_is_closed_closes() -> None:
    """At the end of the process, when no loop runs any more."""
    began = False

    async def inner() -> None:
        nonlocal began
        with node_exits_as_errors():
            began = True
            await asyncio.Event().wait()

    async def begin() -> Any:
        work = inner()
        work.send(None)
        return work

    work = asyncio.run(begin())
    work.close()
    assert began
