"""core:Loop: a graph again and again, each round with what the one before gave."""

from __future__ import annotations

from typing import Any

from temporalio.exceptions import ApplicationError

from innkeeper.nodes.call import GATHER_VALUES, OPEN_VALUE, is_blob
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.document.cases import is_true
from innkeeper.workflows.engine.engine_activities import engine_activity, packed, shielded
from innkeeper.workflows.engine.iteration_runner import SPILL_BYTES, Graph, IterationRunner
from innkeeper.workflows.engine.iteration_state import refused

MAX_STATE_BYTES = 500_000
"""JSON of the state, large values as references: it travels whole."""


class Loop(IterationRunner):
    """At least one round; `repeat.total` is set when there will be no further one."""

    async def _advance(self) -> None:
        while True:
            if not self._running and self._has_next() and self._may_begin():
                self._begin(self.repeat.next, {})
            if not (self._running or self._is_held()):
                return
            await self._wait()
            for _, graph in self._taken():
                await self._record(graph)
            if self._bytes > SPILL_BYTES:
                await self._store()

    def _is_held(self) -> bool:
        waits = self._context.paused or self._context.held_back
        return waits and self._has_next() and not (self._context.interrupted or self._must_drain())

    def _has_next(self) -> bool:
        return self.repeat.total is None and not self._parked

    def _has_more(self) -> bool:
        return self.repeat.total is None and not self._context.interrupted

    def _inputs(self, own: dict[str, Any]) -> dict[str, Any]:
        return dict(self.repeat.state)

    async def _record(self, graph: Graph) -> None:
        repeat = self.repeat
        if graph.nodes.status == "interrupted":
            return
        if graph.nodes.status == "error":
            error = {**graph.nodes.failure, "index": repeat.next}
            message = f"round {repeat.next} failed: {error['message']}"
            raise ApplicationError(message, {"details": error}, type=error["code"], non_retryable=True)
        outputs = self._outputs_of(graph)
        repeat.next += 1
        repeat.state.update(outputs)
        self._check_size()
        self._progress(repeat.next, repeat.next - 1, repeat.max_iterations)
        if not await self._goes_on(outputs.get(repeat.condition_key)):
            repeat.total = repeat.next

    def _check_size(self) -> None:
        size = json_size(self.repeat.state)
        if size > MAX_STATE_BYTES:
            message = f"the state has {size} bytes in {len(self.repeat.state)} fields; the limit is {MAX_STATE_BYTES}"
            raise refused(self._path, f"{message}; nest what belongs together", "value_too_large")

    async def _goes_on(self, holds: Any) -> bool:
        if is_blob(holds):
            holds = (await shielded(self._context, engine_activity(OPEN_VALUE, {"value": holds, "peek": True}, dict)))[
                "items"
            ]
        if not is_true(holds):
            return False
        repeat = self.repeat
        if repeat.next < repeat.max_iterations:
            return True
        if repeat.on_limit == "stop":
            return False
        message = f"it has run {repeat.next} times and {repeat.condition_key!r} still holds; raise 'maxIterations'"
        raise refused(self._path, message, "loop_limit")

    async def _outputs(self) -> dict[str, Any]:
        state, rounds = self.repeat.state, self.repeat.next
        if any(is_blob(value) for value in state.values()):
            whole = await shielded(self._context, engine_activity(GATHER_VALUES, {"state": state}, dict))
            return {**whole, "iterations": rounds}
        return await packed(self._context, {"state": state, "iterations": rounds})
