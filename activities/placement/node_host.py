"""Decides where the function of a node runs, and runs it there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from innkeeper.activities.placement.node_exit import node_exits_as_errors
from innkeeper.activities.placement.node_process import NodeProcesses, NodeProgram
from innkeeper.activities.placement.node_threads import NodeThreads, Warn
from innkeeper.nodes.bridge import Gate, bridged_context, bridged_inputs
from innkeeper.nodes.catalogue.checks import is_generator, is_plain
from innkeeper.nodes.catalogue.manager import is_builtin
from innkeeper.nodes.definition import Execute, NodeDefinition
from innkeeper.nodes.node import NodeContext
from innkeeper.nodes.process.logging import PRINTED_BY

Place = Literal["loop", "shared_thread", "own_thread", "process"]


def place_of_node(definition: NodeDefinition, execute: Execute) -> Place:
    """Where a node runs. Our own nodes run on the worker's loop; those of plugins do not, whatever they promise."""
    if definition.placement == "process":
        return "process"
    if definition.placement == "thread" or is_plain(execute):
        return "own_thread"
    return "shared_thread" if definition.file_path and not _is_ours(definition.file_path) else "loop"


_is_ours = lru_cache(maxsize=10_000)(is_builtin)


@dataclass
class NodeHost:
    """What nodes run in, beside the worker's own loop."""

    threads: NodeThreads
    processes: NodeProcesses

    @classmethod
    def of(cls, *, limit_s: float = 30.0, memory_mb: int = 2_048) -> NodeHost:
        return cls(NodeThreads(limit_s), NodeProcesses(memory_mb))

    def start(
        self,
        definition: NodeDefinition,
        execute: Execute,
        inputs: dict[str, Any],
        context: NodeContext,
        *,
        warn: Warn | None = None,
    ) -> AsyncGenerator[Any, None] | Awaitable[Mapping[str, Any] | None]:
        """Run a node: what it yields, or what it returns. To be used on the worker's loop.

        `warn`: tells the node's user at once, by code and message; without it a warning comes with the node's end.
        """
        place = place_of_node(definition, execute)
        if place == "loop":
            return execute(inputs, context)  # type: ignore[return-value]  # a generator of chunks, or a coroutine
        if place == "process":
            program = NodeProgram.of(definition, context.mode_id)
            return self.processes.start(program, inputs, context, is_generator=is_generator(execute))
        home, gate = asyncio.get_running_loop(), Gate()
        there = bridged_inputs(inputs, home), bridged_context(context, home, gate)
        options: dict[str, Any] = {
            "name": f"node {context.node_id!r} of run {context.prompt_id}",
            "warn": warn or context.warn,
            "exclusive": place == "own_thread",
            # A coroutine is cancelled where it waits, and may clean up; a plain function learns of its end so.
            "on_stop": gate.close if is_plain(execute) else None,
            "on_end": gate.close_streams,
        }
        if is_generator(execute):
            return self.threads.generate(partial(_begun, execute, *there), **options)
        return self.threads.run(_returned(execute, *there), **options)

    async def aclose(self) -> None:
        await self.threads.aclose()


async def run_here(execute: Execute, inputs: dict[str, Any], context: NodeContext) -> Any:
    """What a batch node returns, called in the thread of plugins: the services of its context can be used there."""
    return await _returned(execute, inputs, context)


def _name_prints(context: NodeContext) -> None:
    """What this task prints from here on is logged as the node's: each task has a context of its own."""
    PRINTED_BY.set({"run": context.prompt_id, "node": context.node_id, "attempt": context.attempt})


async def _returned(execute: Any, inputs: dict[str, Any], context: NodeContext) -> Any:
    _name_prints(context)
    with node_exits_as_errors():
        answer = execute(inputs, context)
        return await answer if inspect.isawaitable(answer) else answer


def _begun(execute: Any, inputs: dict[str, Any], context: NodeContext) -> AsyncGenerator[Any, None]:
    _name_prints(context)
    answer = execute(inputs, context)
    is_plain_generator = inspect.isgenerator(answer)  # by name: mypy would narrow `Any` to a generator of nothing
    return _of_plain(answer) if is_plain_generator else answer


async def _of_plain(answer: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    with contextlib.closing(answer):
        for item in answer:
            yield item
