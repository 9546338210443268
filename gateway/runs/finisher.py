"""Closing runs: follow each until the engine says it ended, complete its log, keep its result, seal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import orjson
from temporalio.client import WorkflowFailureError, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.events.fence import INTERRUPTING
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.moments import from_iso, iso
from innkeeper.gateway.runs.admission import log_meta
from innkeeper.gateway.runs.completion_watch import CompletionWatcher
from innkeeper.gateway.runs.open_runs import OpenRuns
from innkeeper.gateway.runs.outcome import (
    FORCED,
    LOST,
    QUERY_TIMEOUT,
    RunOutcome,
    announced,
    error_info,
    interface_outputs,
    is_all_logged,
    late_nodes,
    merged_nodes,
    missing_facts,
    outcome_of_failure,
    outcome_of_result,
)
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.termination import Terminator
from innkeeper.gateway.runs.view import (
    INTERFACE_NODE,
    JsonObject,
    RunView,
    for_clients,
    nodes_for_clients,
)
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, RunStore, json_of, lineage, now_ms
from innkeeper.nodes.services.blobs import FolderBlobs

T = TypeVar("T")
logger = logging.getLogger("innkeeper.gateway.runs")

RETRY_S = 1.0
LAST_RETRY_S = 60.0
LATE_POLL_S = 0.2
NOTE_S = 0.1
CALL_TIMEOUT = timedelta(seconds=5)
FORCED_FLUSH_S = 2.0
"""A run is ended by force because something hangs: its workers get less time to send what they hold."""
GIVE_PLACE_S = 1.0
"""A flush that takes longer waits for a worker that does not answer."""
RETELLINGS = 30
REFUSED_S = 2.0
"""How long the answer to a refused submission waits for the log."""


class RunFinisher:
    """One task per open run. Everything it does to a run may be done again without harm.

    Args:
        on_closed: Called with a run after it was closed.
        tells: Does somebody wait to be told that this run ended, with this status?
    """

    def __init__(
        self,
        store: RunStore,
        run_log: RunLog,
        workers: WorkerSockets,
        temporal: TemporalLink,
        *,
        open_runs: OpenRuns,
        terminator: Terminator,
        blobs: FolderBlobs,
        flush_timeout_s: float,
        on_closed: Callable[[str], Awaitable[None]],
        tells: Callable[[RunRow, str], bool],
    ) -> None:
        self._store = store
        self._run_log = run_log
        self._workers = workers
        self._temporal = temporal
        self._open_runs = open_runs
        self._terminator = terminator
        self._blobs = blobs
        self._flush_timeout_s = flush_timeout_s
        self._on_closed = on_closed
        self._tells = tells
        self._completions = CompletionWatcher(temporal, open_runs.is_idle)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()
        self._forced: set[str] = set()
        self._started_late: set[str] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._to_note: list[str] = []
        self._noting: asyncio.Task[None] | None = None
        self.closed: dict[str, int] = dict.fromkeys(ENDED, 0)

    @property
    def following(self) -> int:
        return len(self._tasks)

    def follows(self, run: str) -> bool:
        """Is this run being closed, or waited for?"""
        return run in self._tasks

    def follow(self, run: str) -> None:
        """Close this run when it has ended. The run must have been handed to Temporal."""
        if run in self._forced:
            self._started_late.add(run)
        self._spawn(run, self._close_at_end)

    def _follow_again(self, run: str) -> None:
        """Follow a run of an earlier process, which may have got as far as the final status."""

        async def work(run: str) -> None:
            if not await self._was_closed(run):
                await self._close_at_end(run)

        self._spawn(run, work)

    def close_unstarted(self, run: str, outcome: RunOutcome) -> None:
        """Close a run that Temporal never had."""

        async def close(run: str) -> None:
            # An earlier process may have got so far; what it told and kept says more than `outcome` can by now.
            if not await self._was_closed(run):
                await self._close(await self._row(run), outcome)

        self._spawn(run, close)

    async def close_refused(self, run: str, outcome: RunOutcome) -> None:
        """Close a run that was refused; returns when that is done, or is going to take long."""
        self.close_unstarted(run, outcome)
        await asyncio.wait({self._tasks[run]}, timeout=REFUSED_S)

    def end_by_force(self, run: str) -> None:
        """Close a run as interrupted at once, whatever Temporal says of it. The store has the request already."""
        if run in self._forced:
            return
        self._forced.add(run)
        if run in self._waiting:
            self._tasks[run].cancel()  # ends only the wait
        else:
            self._spawn(run, self._close_by_force)

    def started_late(self, run: str) -> None:
        """Temporal has got a run that nobody was waiting for any more: it may have ended here meanwhile."""
        self._spawn_aside(self._end_there_too(run), f"late-{run}")

    async def _end_there_too(self, run: str) -> None:
        while True:
            try:
                row = await self._store.get(run)
                if row is not None and row.status in ENDED:
                    await self._terminator.owe(run)
                return
            except Exception:  # the store is busy
                logger.exception("ending a late run failed", extra={"event": "terminate_failed", "run": run})
            await asyncio.sleep(RETRY_S)

    async def resume(self, *, log_has_holes: bool = False) -> None:
        """After a restart: take up every run whose log is not sealed, those that still wait to be started apart.

        Args:
            log_has_holes: Have open runs told again what their logs may have lost: open approvals above all.
        """
        for row in await self._store.unsealed():
            if log_has_holes and row.started_at is not None and row.status not in ENDED:
                self._spawn_aside(self._retell(row.id), f"retell-{row.id}")
            await self._run_log.open(row.id, log_meta(json_of(row.interface)))
            if row.started_at is not None or row.terminate:
                self._follow_again(row.id)
            elif row.status in ENDED:
                self.close_unstarted(row.id, RunOutcome(row.status, {}))

    def _spawn_aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Have something done that no closing waits for."""
        task = asyncio.create_task(work, name=name)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _retell(self, run: str) -> None:
        """A query makes a worker replay the workflow, and a replay tells everything again: the log takes what it lacks.

        A worker that has the workflow in its cache replays nothing, and tells of its open waits alone.
        """
        for _ in range(RETELLINGS):
            with contextlib.suppress(RPCError, WorkflowQueryFailedError):
                client = await self._temporal.wait()
                await client.get_workflow_handle(run).query("status", args=[0, 0], rpc_timeout=QUERY_TIMEOUT)
                return
            await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *self._aside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._completions.stop()
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)
        if self._to_note:  # what cannot be noted now is done again at the next start
            await self._note(self._to_note)

    def _spawn(self, run: str, work: Callable[[str], Awaitable[None]]) -> None:
        if run not in self._tasks:
            task = asyncio.create_task(self._persist(run, work), name=f"close-{run}")
            self._tasks[run] = task
            task.add_done_callback(partial(self._forget, run))

    def _forget(self, run: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(run, None)
        self._forced.discard(run)
        # Asked here, where nothing comes in between: Temporal may get the run at any moment while it is being closed.
        if run in self._started_late:
            self._started_late.discard(run)
            if not task.cancelled():  # else the gateway stops
                self.started_late(run)

    async def _unless_forced(self, run: str, wait: Coroutine[Any, Any, T]) -> T | None:
        """The result of a wait in a run's own task; None when the run is to be ended by force."""
        task = asyncio.current_task()
        assert task is not None
        if run in self._forced:
            wait.close()
            return None
        self._waiting.add(run)
        try:
            return await wait
        except asyncio.CancelledError:
            if run not in self._forced or task.uncancel() > 0:  # the gateway stops
                raise
            return None
        finally:
            self._waiting.discard(run)

    async def _persist(self, run: str, work: Callable[[str], Awaitable[None]]) -> None:
        await self._until_done(run, work)
        if run in self._forced:
            self._terminator.wake()  # what is done in Temporal can be noted now
        await self._on_closed(run)

    async def _until_done(self, run: str, work: Callable[[str], Awaitable[None]]) -> None:
        """A run that is not closed keeps its readers waiting for ever: try until it works, ever more seldom."""
        pause_s = RETRY_S
        while True:
            try:
                await work(run)
                return
            except Exception:
                logger.exception("closing a run failed", extra={"event": "close_failed", "run": run})
                await self._unless_forced(run, asyncio.sleep(pause_s))
                pause_s = min(2 * pause_s, LAST_RETRY_S)

    async def _close_at_end(self, run: str) -> None:
        # Only a later process needs the mark: Temporal is asked for the end beside it, and not behind it.
        async with _beside(self._outcome(run)) as ending:
            row = await self._store.mark_started(run)
            if row.status in ENDED and await self._was_closed(run):
                # It was ended by force while it was being handed to Temporal.
                await self._terminator.owe(run)
                return
            outcome = None if row.terminate else await self._unless_forced(run, self._end_of(row, ending))
        await self._close(row, outcome or FORCED)

    async def _end_of(self, row: RunRow, ending: asyncio.Task[RunOutcome]) -> RunOutcome:
        await self._cancel_if_asked(row)
        return await ending

    async def _close_by_force(self, run: str) -> None:
        await self._close(await self._row(run), FORCED)

    async def _was_closed(self, run: str) -> bool:
        """Did an earlier process get as far as the final status? Then only the seal is missing."""
        row, view = await self._row(run), await self._run_log.view(run)
        if not view.is_final or row.result is None:
            return False
        await self._run_log.end(run, str(view.status), view.error_info)
        self._sealed(run)
        return True

    # --- waiting for the end --------------------------------------------------------------------------------------

    async def _outcome(self, run: str) -> RunOutcome:
        while True:
            client = await self._temporal.wait()
            handle = client.get_workflow_handle(run)
            try:
                return await self._outcome_of(await self._completions.result(handle))
            except WorkflowFailureError as failure:
                row = await self._row(run)
                return await outcome_of_failure(handle, failure, interrupted=row.interrupt_requested)
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    return LOST
                await self._pause_if_away(error)
            await self._cancel_if_asked(await self._row(run))

    async def _cancel_if_asked(self, row: RunRow) -> None:
        """Tell Temporal of an interruption that was asked for before it had the run, or while it was away."""
        while row.interrupt_requested:
            await self._run_log.announce(row.id, INTERRUPTING)
            client = await self._temporal.wait()
            try:
                await client.get_workflow_handle(row.id).cancel(rpc_timeout=CALL_TIMEOUT)
                return
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:  # who waits for its end is told
                    return
                await self._pause_if_away(error)

    def cancel_soon(self, run: str) -> None:
        """Tell Temporal of an interruption that it could not be told of just now.

        Whoever waits for the end of the run may not notice that it was away: a call that waits outlives a moment in
        which others fail.
        """
        self._spawn_aside(self._cancel_later(run), f"cancel-{run}")

    async def _cancel_later(self, run: str) -> None:
        try:
            await self._cancel_if_asked(await self._row(run))
        except Exception:
            logger.exception("interrupting a run failed", extra={"event": "interrupt_failed", "run": run})

    async def _pause_if_away(self, error: RPCError) -> None:
        """Wait a moment when Temporal is away. Raises any other error."""
        if not is_away(error):
            raise error
        self._temporal.lost()
        await asyncio.sleep(RETRY_S)

    async def _outcome_of(self, result: JsonObject) -> RunOutcome:
        nodes = result.get("nodes")
        if nodes is None and result.get("nodes_ref"):
            nodes = orjson.loads(await self._blobs.get(result["nodes_ref"]["$blob"]))
        return outcome_of_result(result, nodes or {})

    # --- closing --------------------------------------------------------------------------------------------------

    async def _flushed_for_close(self, run: str, outcome: RunOutcome) -> RunView:
        # A worker that hangs holds up the flush, but nothing of the run is left to do: others may start meanwhile.
        giving_place = asyncio.get_running_loop().call_later(GIVE_PLACE_S, self._open_runs.found_without_work, run)
        try:
            return await self._flushed(run, outcome, FORCED_FLUSH_S if outcome is FORCED else self._flush_timeout_s)
        finally:
            giving_place.cancel()

    async def _close(self, row: RunRow, outcome: RunOutcome) -> None:
        run = row.id
        interface: JsonObject | None = json_of(row.interface).get("outputs")
        if outcome.is_refused:
            view = await self._run_log.view(run)
        else:
            view = await self._flushed_for_close(run, outcome)
        if interface is None:  # its row was damaged: what the engine gives is all that is known
            outputs = shown = dict(outcome.outputs or {})
        else:
            outputs = interface_outputs(interface, outcome, view)
            shown = announced(interface, outputs, outcome.nodes)
        has_outputs = outcome.status != "interrupted" and not outcome.is_refused
        if facts := list(missing_facts(outcome, view)):
            await self._run_log.complete_missing(run, facts)
            view = await self._run_log.view(run)
        result = full_result(row, outcome, view, outputs)
        self._open_runs.closing(run)
        # The result first: whoever reads the final status may ask for it at once.
        told = not self._tells(row, outcome.status)
        await self._store.close(run, outcome.status, from_iso(result["completedAt"]), result, told=told)
        await self._run_log.end(run, outcome.status, result.get("errorInfo"), shown if has_outputs else None)
        self._sealed(run)
        if not outcome.is_refused:
            self.closed[outcome.status] = self.closed.get(outcome.status, 0) + 1

    def _sealed(self, run: str) -> None:
        """Note that nothing is left to do, soon and for many runs at once: without the note it is only done again."""
        self._to_note.append(run)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note_sealed(), name="note-sealed")

    async def _note_sealed(self) -> None:
        """Until nothing is left: runs also end while notes of others are committed."""
        pause_s = NOTE_S
        while self._to_note:
            await asyncio.sleep(pause_s)
            noted = await self._note(self._to_note)
            pause_s = NOTE_S if noted else min(2 * pause_s + RETRY_S, LAST_RETRY_S)

    async def _note(self, runs: Sequence[str]) -> bool:
        """Note some of the runs that are to be noted; those that could not be stay so."""
        runs = tuple(runs)
        try:
            await self._store.mark_sealed(*runs)
        except Exception:
            logger.exception("noting sealed runs failed", extra={"event": "note_failed", "count": len(runs)})
            return False
        self._to_note = self._to_note[len(runs) :]
        return True

    async def _flushed(self, run: str, outcome: RunOutcome, timeout_s: float) -> RunView:
        """The log's view once connected workers have drained, and workers that are away had time to come back.

        No worker is asked when the log has everything already, as it mostly has.
        """
        view = await self._run_log.view(run)
        if is_all_logged(outcome, view):
            return view
        timeout_s = min(timeout_s, self._flush_timeout_s)
        deadline = time.monotonic() + timeout_s
        await self._workers.drain(timeout_s)
        view = await self._run_log.view(run)
        while late_nodes(outcome, view) and (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(LATE_POLL_S, left))
            await self._workers.drain(left)
            view = await self._run_log.view(run)
        return view

    async def _row(self, run: str) -> RunRow:
        row = await self._store.get(run)
        assert row is not None, "a run that is followed is in the store"
        return row


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Have work done beside the block; it ends with it. What the block does not wait for may fail unheard."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def full_result(row: RunRow, outcome: RunOutcome, view: RunView, outputs: JsonObject) -> JsonObject:
    """What is kept of a run and shown by `GET /api/prompt/{id}` after its end."""
    nodes, differs = merged_nodes(outcome, view)
    ended_at = _ended_at(row, nodes)
    result: JsonObject = {
        "promptId": row.id,
        "status": outcome.status,
        "workflowId": row.workflow_id,
        "workflowName": row.workflow_name,
        **lineage(row),
        "submittedAt": iso(row.submitted_at),
        "startedAt": iso(row.started_at) if row.started_at else None,
        "completedAt": iso(ended_at),
        "durationMs": ended_at - (row.started_at or row.submitted_at),
        "outputs": for_clients(row.id, INTERFACE_NODE, outputs),
        "nodeStatus": nodes_for_clients(row.id, nodes),
        "errorInfo": error_info(outcome, nodes),
    }
    if differs:
        result["differs"] = differs
    return {key: value for key, value in result.items() if value is not None}


def _ended_at(row: RunRow, nodes: dict[str, JsonObject]) -> int:
    """Now, or, for a run that ended while no gateway looked, when its last node did."""
    now = now_ms()
    ends = [from_iso(node["endedAt"]) for node in nodes.values() if node.get("endedAt")]
    last = max(ends, default=now)
    watched = now - last < 60_000
    return max(now if watched else last, row.started_at or row.submitted_at)
