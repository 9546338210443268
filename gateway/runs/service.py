"""Runs from the outside: submit, queue, start, interrupt, inspect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway, IdempotencyMismatch, shown
from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.events.log import LogUnavailable
from innkeeper.gateway.metrics import RunLatency
from innkeeper.gateway.runs.admission import Admission, body_hash, interface_of, key_hash, log_meta
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.outcome import RunOutcome
from innkeeper.gateway.runs.pausing import RunControl
from innkeeper.gateway.runs.reruns import Reruns, answer_of, is_uncached, seeds_of
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.view import JsonObject, iso, nodes_for_clients
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, NewRun, RunStore, lineage, now_ms, stored_result
from innkeeper.nodes.errors import ResourceError, RunNotActive, RunNotFound, RunStillActive
from innkeeper.workflows.engine.graph_workflow import RunStart

logger = logging.getLogger("innkeeper.gateway.runs")

WORKFLOW_TYPE = "GraphWorkflow"
TASK_TIMEOUT = timedelta(seconds=5)
EXECUTION_TIMEOUT = timedelta(hours=24)
GRAPH_ID = SearchAttributeKey.for_keyword("GraphId")
TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
MAX_SUMMARY_CHARS = 100
RETRY_S = 2.0
CLOSING_POLL_S = 0.05
CLOSING_POLLS = 40
PATIENCE_S = 1.0
"""How long a submission waits for Temporal: the gateway or Temporal may have started a moment ago."""


@dataclass(frozen=True)
class Accepted:
    """The answer to a submission."""

    run: str
    warnings: list[JsonObject] = field(default_factory=list)
    taken_over: JsonObject = field(default_factory=dict)

    @classmethod
    def of(cls, row: RunRow) -> Accepted:
        return cls(row.id, orjson.loads(row.warnings), answer_of(row))

    def to_json(self) -> JsonObject:
        answer = {"promptId": self.run, **self.taken_over}
        return {**answer, "warnings": self.warnings} if self.warnings else answer


class Runs:
    """All runs of this gateway."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        run_log: RunLog,
        admission: Admission,
        temporal: TemporalLink,
        finisher: RunFinisher,
        control: RunControl,
        reruns: Reruns,
        *,
        latency: RunLatency,
    ) -> None:
        self._settings = settings
        self._store = store
        self._run_log = run_log
        self._admission = admission
        self._temporal = temporal
        self._finisher = finisher
        self._control = control
        self._reruns = reruns
        self._latency = latency
        self._launching: set[str] = set()
        self._dispatching = asyncio.Lock()
        self._wake = asyncio.Event()
        self._wake.set()  # what an earlier process left waiting
        self._no_search_attributes = False

    # --- submitting -----------------------------------------------------------------------------------------------

    async def submit(self, body: JsonObject, user: str, key: str | None = None) -> Accepted:
        """Compile and start a run; what was accepted is durable.

        Args:
            key: The client's Idempotency-Key: the same key and body give the same run.

        Raises:
            InvalidWorkflow, IdempotencyMismatch, EngineAway, LogUnavailable, NotFound.
        """
        hashed = key_hash(key) if key else None
        asked = body_hash(body)
        if hashed and (earlier := await self._store.by_key(user, hashed)):
            return _same(earlier, asked)
        await self._temporal.client(PATIENCE_S)
        self._run_log.check_writable()
        row = await self._write_down(body, user, hashed, asked)
        if row is None:  # somebody else came with this key while we compiled
            earlier = await self._store.by_key(user, hashed or "")
            assert earlier is not None
            return _same(earlier, asked)
        await (self._launch(row) if row.status == "running" else self._queue(row))
        return Accepted.of(row)

    async def _write_down(self, body: JsonObject, user: str, key: str | None, asked: str) -> RunRow | None:
        admitted = await self._reruns.admit(body, user)
        checked = admitted.checked
        plan = checked.compiled.plan
        new = NewRun(
            id=secrets.token_hex(10),
            user_id=user,
            plan=checked.compiled.encoded,
            workflow_id=plan.workflow_id,
            workflow_name=plan.workflow_name,
            interface=interface_of(checked),
            warnings=[problem.to_json() for problem in checked.warnings],
            status="queued" if self._settings.max_concurrent_runs else "running",
            key_hash=key,
            body_hash=asked if key else None,
            plan_hash=await self._reruns.keep_plan(checked.compiled.encoded),
            rerun=admitted.rerun,
        )
        return await self._store.add(new)

    async def _queue(self, row: RunRow) -> None:
        await self._dispatch()
        current = await self._store.get(row.id)
        if current is not None and current.status == "queued":
            # Should it start in this moment, the log knows that `queued` is behind `running` and drops it.
            await self._run_log.begin(row.id, log_meta(orjson.loads(row.interface)), "queued")

    # --- starting -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed that may let a waiting run start."""
        self._wake.set()

    async def keep_starting(self) -> None:
        """For ever: start what waits for a free place or for Temporal."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._temporal.wait()
            try:
                await self._dispatch()
            except Exception:
                logger.exception("starting runs failed", extra={"event": "start_failed"})
                asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def _dispatch(self) -> None:
        async with self._dispatching:
            running, _ = await self._store.active_counts()
            limit = self._settings.max_concurrent_runs
            for row in await self._store.waiting():
                if row.status == "queued":
                    if row.paused:
                        continue
                    if limit is not None and running >= limit:
                        return
                    if not await self._store.claim(row.id):
                        continue
                    running += 1
                await self._launch(row)

    async def _launch(self, row: RunRow) -> None:
        """Hand a claimed run to Temporal. When that is away, the run keeps waiting."""
        if row.id in self._launching:
            return
        self._launching.add(row.id)
        try:
            await self._run_log.begin(row.id, log_meta(orjson.loads(row.interface)), "running")
            await self._reruns.announce(row)
            await self._start(await self._temporal.client(), row)
            self._finisher.follow(row.id)
            self._control.started(row.id, paused=row.paused)
        except EngineAway:
            self._wake.set()
        except ResourceError as error:
            # Trying again would not bring it back, and others wait to be started.
            message = f"what the run was to take over is gone: {error.message}; run it anew"
            self._finisher.close_unstarted(
                row.id, RunOutcome("error", {}, error={"message": message, "code": error.code})
            )
        except RPCError as error:
            self._not_started(row.id, error)
        except LogUnavailable:
            # It is written down and will be started; its client may ask again with the same key meanwhile.
            asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
            raise
        finally:
            self._launching.discard(row.id)

    def _not_started(self, run: str, error: RPCError) -> None:
        if is_away(error):
            self._temporal.lost()
            self._wake.set()
        elif error.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED):
            message = f"Temporal refused the run: {error.message}"
            self._finisher.close_unstarted(
                run, RunOutcome("error", {}, error={"message": message, "code": "engine_refused"})
            )
        else:
            logger.error("Temporal did not start a run", extra={"run": run, "code": str(error.status)})
            asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)

    async def _start(self, client: Client, row: RunRow) -> None:
        plan = row.plan if "plan" in row.__dict__ else await self._store.plan(row.id)
        if plan is None:
            return
        self._latency.starting(row.id, row.submitted_at)  # its first event may come before Temporal's answer
        # An earlier process may have been killed between starting the run and writing that down.
        with contextlib.suppress(WorkflowAlreadyStartedError):
            try:
                await self._start_workflow(client, row, plan)
            except RPCError as error:
                if self._no_search_attributes or not _is_about_search_attributes(error):
                    raise
                logger.warning("this Temporal namespace lacks GraphId, TenantId and RunStatus; runs go without them")
                self._no_search_attributes = True
                await self._start_workflow(client, row, plan)
        self._latency.started(row.id)

    async def _start_workflow(self, client: Client, row: RunRow, plan: bytes) -> None:
        await client.start_workflow(
            WORKFLOW_TYPE,
            args=[plan, _start_of(row)],
            id=row.id,
            task_queue=self._settings.task_queue,
            execution_timeout=EXECUTION_TIMEOUT,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=None if self._no_search_attributes else _search_attributes(row),
            static_summary=(row.workflow_name or "")[:MAX_SUMMARY_CHARS] or None,
        )

    # --- interrupting ---------------------------------------------------------------------------------------------

    async def interrupt(self, run: str) -> str:
        """Stop a run; interrupting one that is being stopped changes nothing. Gives a sentence for the user.

        Raises:
            RunNotFound, RunNotActive (it has ended).
        """
        row = await self._row(run)
        if row.status == "queued" and await self._store.drop_queued(run):
            self._finisher.close_unstarted(run, RunOutcome("interrupted", {}))
            return f"run {run} left the queue"
        if not await self._store.request_interrupt(run):
            raise RunNotActive(f"run {run!r} has ended already; only a queued or running run can be interrupted")
        try:
            await (await self._temporal.client()).get_workflow_handle(run).cancel()
        except EngineAway:
            return f"run {run} will be interrupted as soon as Temporal answers"
        except RPCError as error:
            if is_away(error):
                self._temporal.lost()
            elif error.status != RPCStatusCode.NOT_FOUND:  # not started yet, or just ended: who follows it knows
                raise
        return f"run {run} is being interrupted"

    # --- deleting -------------------------------------------------------------------------------------------------

    async def delete(self, run: str) -> None:
        """Forget a run that has ended: its result, its events and its Idempotency-Key. Values go with a later
        collection.

        Raises:
            RunNotFound, RunStillActive.
        """
        row = await self._row(run)
        for _ in range(CLOSING_POLLS):  # who saw the final status may be faster than the closing task's last note
            if row.sealed or row.status not in ENDED:
                break
            await asyncio.sleep(CLOSING_POLL_S)
            row = await self._row(run)
        if not row.sealed:
            raise RunStillActive(f"run {run!r} has not ended: interrupt it first ('innkeeper cancel {run}')")
        # The row goes last: as long as it is there, a deletion that broke off is found and repeated.
        await self._run_log.delete(run)
        await self._store.delete(run)

    async def delete_older(self, age_s: float) -> int:
        """Forget the runs that ended longer ago. Gives how many."""
        count = 0
        while runs := await self._store.ended_before(now_ms() - int(age_s * 1000)):
            for run in runs:
                await self._run_log.delete(run)
                await self._store.delete(run)
            count += len(runs)
        return count

    # --- inspecting -----------------------------------------------------------------------------------------------

    async def status(self, run: str) -> JsonObject:
        """The full status, of a waiting, running or ended run. Raises RunNotFound."""
        row = await self._row(run)
        result = stored_result(row)
        if result is not None and row.status in ENDED:
            return result
        view = await self._run_log.view(run)
        return {
            **summary(row, view.activity),
            "nodeStatus": nodes_for_clients(run, view.nodes),
            "outputs": view.outputs or {},
        }

    async def wait_for_end(self, run: str, timeout_s: float, follow: Callable[[str], Any]) -> JsonObject:
        """The full status once the run has ended, or as it is after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async for _ in follow(run):
                    pass
        return await self.status(run)

    async def executions(self) -> dict[str, list[JsonObject]]:
        """Runs that run, and runs that wait."""
        rows = await self._store.active()
        return {
            "running": [summary(row, await self._run_log.activity(row.id)) for row in rows if row.status == "running"],
            "pending": [summary(row) for row in rows if row.status == "queued"],
        }

    async def history(
        self, before: int | None, limit: int, status: str | None, *, previews: bool = False
    ) -> tuple[list[JsonObject], int | None]:
        """A page of ended runs, newest first, and the cursor of the next page."""
        rows: Sequence[RunRow] = await self._store.page(
            before=before, limit=limit + 1, status=status, previews=previews
        )
        cursor = rows[limit - 1].number if len(rows) > limit else None
        return [summary(row) for row in rows[:limit]], cursor

    async def queue_counts(self) -> JsonObject:
        """The payload of SYSTEM_QUEUE_UPDATE."""
        running, pending = await self._store.active_counts()
        return {"runningExecutions": running, "pendingExecutions": pending}

    async def _row(self, run: str) -> RunRow:
        row = await self._store.get(run)
        if row is None:
            raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/history lists them")
        return row


def shown_status(row: RunRow, activity: Activity | None) -> str:
    """The status as clients see it: beside the stored ones `paused`, and `waiting` while nodes wait and none works."""
    if row.status in ENDED:
        return row.status
    if row.paused:
        return "paused"
    return "waiting" if row.status == "running" and activity is not None and activity.only_waits else row.status


def summary(row: RunRow, activity: Activity | None = None) -> JsonObject:
    """A run in lists (PromptInfo)."""
    info: JsonObject = {
        "promptId": row.id,
        "status": shown_status(row, activity),
        "openApprovals": (activity.approvals or None) if activity and row.status not in ENDED else None,
        "workflowId": row.workflow_id,
        "workflowName": row.workflow_name,
        **lineage(row),
        "submittedAt": iso(row.submitted_at),
        "startedAt": iso(row.started_at) if row.started_at else None,
    }
    if row.ended_at is not None:
        info["completedAt"] = iso(row.ended_at)
        info["durationMs"] = row.ended_at - (row.started_at or row.submitted_at)
    return {key: value for key, value in info.items() if value is not None}


def _start_of(row: RunRow) -> RunStart:
    return RunStart(
        user_id=row.user_id,
        state_refs=list(seeds_of(row)),
        paused=bool(row.paused),
        no_cache=is_uncached(row),
    )


def _same(earlier: RunRow, asked: str) -> Accepted:
    if earlier.body_hash != asked:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used with another body; use a new key for a new run",
            details={"promptId": earlier.id},
        )
    return Accepted.of(earlier)


def _search_attributes(row: RunRow) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[Any]] = [SearchAttributePair(TENANT_ID, row.user_id)]
    if row.workflow_id:
        pairs.append(SearchAttributePair(GRAPH_ID, row.workflow_id))
    return TypedSearchAttributes(pairs)


def _is_about_search_attributes(error: RPCError) -> bool:
    return error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()
