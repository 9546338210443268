"""What all repetitions share: graphs that run side by side in one workflow, and what is kept of them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from temporalio import workflow

from innkeeper.nodes.call import LOAD_VALUE
from innkeeper.nodes.feeds import convert
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine.engine_activities import (
    engine_activity,
    if_possible,
    pieces_of,
    shielded,
    stored_pieces,
)
from innkeeper.workflows.engine.iteration_state import IterationState
from innkeeper.workflows.engine.node_table import NodeTable
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import RunPlan

SPILL_BYTES = 1_000_000
"""JSON of outcomes and node tables that a workflow holds before they are stored apart."""
MAX_TABLE_BYTES = 4_000_000
"""JSON of node tables that is kept in full; beyond it only of what failed: whoever reads a run reads it whole."""
HELD_BACK_S = 0.1
WAITS_LEAVE_FULL_HISTORIES = "waits-leave-full-histories"
"""The patch since which graphs that wait are told when the history is full."""


class Graph(Protocol):
    """What a repetition needs of a graph (`interpreter.Interpreter`)."""

    plan: RunPlan
    nodes: NodeTable
    drained: bool

    async def run(self) -> None: ...
    def resume(self, table: dict[Any, dict[str, Any]]) -> None: ...
    def wake(self) -> None: ...
    @property
    def is_still(self) -> bool: ...


Make = Callable[[GraphLocation], Graph]


@dataclass
class Running:
    """A graph under way. `own`: the inputs that only this one has."""

    graph: Graph
    own: dict[str, Any]
    task: asyncio.Task[None]


class IterationRunner(ABC):
    """Runs a graph again and again below one path. `drained`: the history is full, `repeat` holds where to go on.

    Args:
        make: A fresh graph at a location.
        size: Nodes of the graph.
        must_drain: May nothing new begin in this history?
    """

    def __init__(
        self,
        context: WorkflowContext,
        path: str,
        repeat: IterationState,
        make: Make,
        *,
        size: int,
        must_drain: Callable[[], bool],
    ) -> None:
        self.repeat = repeat
        self.drained = False
        self._context = context
        self._path = path
        self._make = make
        self._size = size
        self._must_drain = must_drain
        self._table: dict[str, dict[str, Any]] = {}
        self._bytes = 0
        self._running: dict[int, Running] = {}
        self._parked: dict[int, Running] = {}  # stopped with work left, for the next history
        self._ended: list[int] = []
        self._woken = False

    async def run(self) -> dict[str, Any]:
        """Run to the end; gives the outputs of the node. Raises ApplicationError with why it failed."""
        unsubscribe = self._context.subscribe(self._wake)
        try:
            await self._advance()
            while self._has_more():
                await self._store_open()
                await self._context.until_handled()
                if all(running.graph.is_still for running in self._parked.values()) and not self._context.interrupted:
                    self.drained = True
                    return {}
                self._unpark()
                await self._advance()
            if self._parked:  # interrupted: what they have left must be recorded
                self._unpark()
                await self._advance()
        finally:
            unsubscribe()
        return {} if self._context.interrupted else await self._outputs()

    @abstractmethod
    async def _advance(self) -> None:
        """Begin and await graphs until all is over, or nothing may begin in this history."""

    @abstractmethod
    def _has_more(self) -> bool:
        """Is anything left to run? Never after an interruption."""

    @abstractmethod
    def _inputs(self, own: dict[str, Any]) -> dict[str, Any]:
        """All inputs of a graph."""

    @abstractmethod
    async def _outputs(self) -> dict[str, Any]:
        """The outputs of the node, in the end. Raises ApplicationError."""

    # --- graphs ---------------------------------------------------------------------------------------------------

    def _begin(self, number: int, own: dict[str, Any], table: dict[str, Any] | None = None) -> None:
        graph = self._make(GraphLocation(f"{self._path}/{number}", self._inputs(own)))
        if table:
            graph.resume(table)
        self._start(number, graph, own)

    def _start(self, number: int, graph: Graph, own: dict[str, Any]) -> None:
        task = asyncio.create_task(graph.run())
        self._running[number] = Running(graph, own, task)
        task.add_done_callback(lambda _: self._ended.append(number))

    def _unpark(self) -> None:
        parked, self._parked, self.repeat.open = self._parked, {}, []
        for number, running in parked.items():
            self._start(number, running.graph, running.own)

    def _taken(self) -> Iterator[tuple[int, Graph]]:
        """Graphs that have come to their end. Raises what went wrong in one: a bug, for its nodes never do that."""
        ended, self._ended = self._ended, []
        for number in ended:
            running = self._running.pop(number)
            running.task.result()
            if running.graph.drained:
                self._parked[number] = running
            else:
                self._keep(running.graph)
                yield number, running.graph

    def _may_begin(self) -> bool:
        """May one more graph begin now?"""
        if self._context.interrupted or self._context.paused or self._must_drain():
            return False
        if self._context.activation.take(self._size):
            return True
        self._context.held_back = True
        return False

    async def _wait(self) -> None:
        """Until a graph has ended, a signal came, or a new workflow task may begin what was held back."""
        await self._until(lambda: bool(self._ended) or self._woken or self._context.held_back)
        if self._context.held_back:
            await self._until(lambda: bool(self._ended) or self._woken, HELD_BACK_S)
            self._context.held_back = False
            self._context.wake_all()
        self._woken = False
        # A graph that waits does not look at the history by itself, and would keep all others from the next one.
        if self._running and self._must_drain() and workflow.patched(WAITS_LEAVE_FULL_HISTORIES):
            for running in self._running.values():
                running.graph.wake()

    async def _until(self, is_met: Callable[[], bool], timeout_s: float | None = None) -> None:
        try:
            await workflow.wait_condition(is_met, timeout=timeout_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not self._context.take_interruption():
                raise

    def _wake(self) -> None:
        self._woken = True

    def _outputs_of(self, graph: Graph) -> dict[str, Any]:
        """The outputs of a graph that completed; streams are over and count as their text."""
        streams = {key for key, output in graph.plan.interface_outputs.items() if output.stream}
        return {
            k: convert(value, "collect_text") if k in streams else value for k, value in graph.nodes.outputs.items()
        }

    def _progress(self, value: int, before: int, total: int) -> None:
        """Emit how far it is, a hundred times at most."""
        if value * 100 // total != before * 100 // total:
            self._context.emit(self._path, "NODE_PROGRESS", {"value": value, "max": total})

    # --- what is kept ---------------------------------------------------------------------------------------------

    def _keep(self, graph: Graph) -> None:
        """Keep the node table of a graph that is over."""
        repeat = self.repeat
        repeat.counts = dict(Counter(repeat.counts) + Counter(graph.nodes.counts()))
        table, refs = graph.nodes.flat_table()
        if repeat.table_bytes > MAX_TABLE_BYTES:
            table = {path: entry for path, entry in table.items() if entry["status"] == "error"}
            refs = [] if graph.nodes.status == "complete" or repeat.table_bytes > 2 * MAX_TABLE_BYTES else refs
            table = {} if repeat.table_bytes > 2 * MAX_TABLE_BYTES else table
        size = json_size(table)
        repeat.table_bytes += size + sum(int(ref["size"]) for ref in refs)
        repeat.tables += refs
        self._bytes += size
        self._table.update(table)

    async def _store(self) -> None:
        """Store everything finished apart. Graphs that end meanwhile begin the next part."""
        recent, self.repeat.recent = self.repeat.recent, []
        table, self._table = self._table, {}
        self._bytes = 0
        self.repeat.pieces += await self._stored(pieces_of(recent))
        tables = [dict(piece) for piece in pieces_of(list(table.items()))]
        self.repeat.tables += await self._stored(tables)

    async def _stored(self, pieces: list[Any]) -> list[dict[str, Any]]:
        return await if_possible(self._context, stored_pieces(self._context, pieces), [])

    async def _store_open(self) -> None:
        """Store everything apart, before this history ends."""
        await self._store()
        rows = [
            [number, running.own, piece]
            for number, running in self._parked.items()
            for piece in list(running.graph.nodes.state.pieces()) or [{}]
        ]
        self.repeat.open = await self._stored(pieces_of(rows))

    async def resume(self) -> None:
        """Take up what the history before left open. Only before `run`; afterwards it is known who waits."""
        refs, self.repeat.open = self.repeat.open, []
        found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        for ref in refs:
            loading = shielded(self._context, engine_activity(LOAD_VALUE, ref, list))
            for number, own, piece in await if_possible(self._context, loading, []):
                found.setdefault(number, (own, {}))[1].update(piece)
        for number, (own, table) in found.items():
            self._begin(number, own, table)

    def flat_table(self) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Nodes that are at hand, those under way included, and references of further such tables."""
        table = dict(self._table)
        for running in (*self._running.values(), *self._parked.values()):
            table.update(running.graph.nodes.flat_table()[0])
        return table, self.repeat.tables

    def counts(self) -> dict[str, int]:
        """How many nodes of finished graphs are in which status."""
        return self.repeat.counts
