"""core:ForEach: a graph for each item of a list, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.exceptions import ApplicationError

from innkeeper.nodes.call import GATHER_VALUES, OPEN_VALUE, is_blob, listed
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine.engine_activities import engine_activity, if_possible, packed, shielded
from innkeeper.workflows.engine.iteration_runner import SPILL_BYTES, Graph, IterationRunner
from innkeeper.workflows.engine.iteration_state import refused

MAX_ITEMS = 100_000
KEPT_BYTES = 200_000
"""JSON of all results that travels as it is; more is put together where it is stored."""


class ForEach(IterationRunner):
    """Results keep the order of the items, whatever order they end in."""

    _first = 0
    _slice: Sequence[Any] = ()

    async def _advance(self) -> None:
        if self.repeat.total is None:
            await self._count()
        while True:
            await self._begin_items()
            if not (self._running or self._is_held()):
                return
            await self._wait()
            for index, graph in self._taken():
                self._record(index, graph)
            if self._bytes > SPILL_BYTES:
                await self._store()

    async def _begin_items(self) -> None:
        repeat = self.repeat
        while self._has_next() and len(self._running) < repeat.concurrency and self._may_begin():
            item = await if_possible(self._context, self._item(repeat.next), None)
            own = {"index": repeat.next, repeat.item_key: item}
            if self._context.interrupted:
                return
            self._begin(repeat.next, own)
            repeat.next += 1

    def _is_held(self) -> bool:
        """Nothing runs, but something will: after a pause, or in the next workflow task."""
        waits = self._context.paused or self._context.held_back
        return waits and self._has_next() and not (self._context.interrupted or self._must_drain())

    def _has_next(self) -> bool:
        return self.repeat.failed is None and self.repeat.next < (self.repeat.total or 0)

    def _has_more(self) -> bool:
        return (self._has_next() or bool(self._parked)) and not self._context.interrupted

    def _inputs(self, own: dict[str, Any]) -> dict[str, Any]:
        return {**self.repeat.shared, **own}

    # --- items ----------------------------------------------------------------------------------------------------

    async def _count(self) -> None:
        repeat = self.repeat
        repeat.total = len(repeat.items) if isinstance(repeat.items, list) else await self._load(0)
        if repeat.total > MAX_ITEMS:
            raise refused(self._path, f"there are {repeat.total} items; the limit is {MAX_ITEMS}", "too_many_items")

    async def _item(self, index: int) -> Any:
        if isinstance(self.repeat.items, list):
            return self.repeat.items[index]
        if not self._first <= index < self._first + len(self._slice):
            await self._load(index)
        return self._slice[index - self._first]

    async def _load(self, start: int) -> int:
        """Load the next items; gives how many there are in all."""
        request = {"value": self.repeat.items, "start": start}
        opened = await shielded(self._context, engine_activity(OPEN_VALUE, request, dict))
        if opened["kind"] != "a list":
            raise refused(self._path, f"'items' must be a list, found {opened['kind']}")
        self._first, self._slice = start, opened["items"]
        return int(opened["total"])

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _record(self, index: int, graph: Graph) -> None:
        repeat = self.repeat
        if graph.nodes.status == "interrupted":
            return
        if graph.nodes.status == "complete":
            outputs = self._outputs_of(graph)
            key = repeat.result_key
            outcome: dict[str, Any] = {"outputs": {key: outputs[key]} if key in outputs else {} if key else outputs}
        else:
            outcome = {"error": self._failed(index, graph)}
        repeat.recent.append([index, outcome])
        self._bytes += json_size(outcome)
        repeat.done += 1
        self._progress(repeat.done, repeat.done - 1, repeat.total or 1)

    def _failed(self, index: int, graph: Graph) -> dict[str, Any]:
        repeat, error = self.repeat, {**graph.nodes.failure, "index": index}
        if repeat.on_error == "fail" and (repeat.failed is None or index < repeat.failed["index"]):
            repeat.failed = error
        return error

    async def _outputs(self) -> dict[str, Any]:
        repeat = self.repeat
        if repeat.failed is not None:
            message = f"item {repeat.failed['index']} failed: {repeat.failed['message']}"
            raise ApplicationError(message, {"details": repeat.failed}, type=repeat.failed["code"], non_retryable=True)
        if not (repeat.pieces or _refers(repeat.recent) or json_size(repeat.recent) > KEPT_BYTES):
            return await packed(self._context, listed(repeat.recent, repeat.on_error, repeat.result_key))
        await self._store()
        request = {"pieces": repeat.pieces, "on_error": repeat.on_error, "result_key": repeat.result_key}
        return await shielded(self._context, engine_activity(GATHER_VALUES, request, dict))


def _refers(outcomes: list[list[Any]]) -> bool:
    return any(is_blob(value) for _, outcome in outcomes for value in (outcome.get("outputs") or {}).values())
