"""Runs from the outside: submit, interrupt, delete, inspect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import EngineAway, IdempotencyMismatch, shown
from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.runs.admission import body_hash, interface_of, key_hash
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.launcher import RunLauncher
from innkeeper.gateway.runs.outcome import RunOutcome
from innkeeper.gateway.runs.reruns import Reruns, answer_of
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.view import JsonObject, iso, nodes_for_clients
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, NewRun, RunStore, json_list, lineage, now_ms, stored_result
from innkeeper.nodes.errors import RunError, RunNotActive, RunNotFound, RunStillActive

logger = logging.getLogger("innkeeper.gateway.runs")

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
        return cls(row.id, list(json_list(row.warnings)), answer_of(row))

    def to_json(self) -> JsonObject:
        answer = {"promptId": self.run, **self.taken_over}
        return {**answer, "warnings": self.warnings} if self.warnings else answer


class RunDamaged(RunError):
    """What is kept of a run that ended cannot be read any more."""

    code = "run_damaged"


class Runs:
    """All runs of this gateway."""

    def __init__(
        self,
        store: RunStore,
        run_log: RunLog,
        temporal: TemporalLink,
        *,
        finisher: RunFinisher,
        launcher: RunLauncher,
        reruns: Reruns,
    ) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._finisher = finisher
        self._launcher = launcher
        self._reruns = reruns

    # --- submitting -----------------------------------------------------------------------------------------------

    async def submit(self, body: JsonObject, user: str, key: str | None = None) -> Accepted:
        """Compile and start a run; what was accepted is durable.

        Args:
            key: The client's Idempotency-Key: the same key and body give the same run.

        Raises:
            InvalidWorkflow, IdempotencyMismatch, EngineAway, LogUnavailable, NotFound.
        """
        key_digest = key_hash(key) if key else None
        body_digest = body_hash(body)
        if key_digest and (earlier := await self._store.by_key(user, key_digest)):
            return _same_run(earlier, body_digest)
        # Before any work is done for it: can it be started, and can it be logged?
        await self._temporal.client(PATIENCE_S)
        self._run_log.check_writable()

        admitted = await self._reruns.admit(body, user)
        compiled, plan = admitted.checked.compiled, admitted.checked.compiled.plan
        new = NewRun(
            id=secrets.token_hex(10),
            user_id=user,
            plan=compiled.encoded,
            workflow_id=plan.workflow_id,
            workflow_name=plan.workflow_name,
            interface=interface_of(admitted.checked),
            warnings=[problem.to_json() for problem in admitted.checked.warnings],
            status=self._launcher.first_status,
            key_hash=key_digest,
            body_hash=body_digest if key else None,
            plan_hash=await self._reruns.keep_plan(compiled.encoded),
            rerun=admitted.rerun,
        )
        row = await self._store.add(new)
        if row is None:  # somebody else came with this key while we compiled
            earlier = await self._store.by_key(user, key_digest or "")
            assert earlier is not None
            return _same_run(earlier, body_digest)
        await self._launcher.start(row)
        return Accepted.of(row)

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
        result = await stored_result(row)
        if result is not None and row.status in ENDED:
            return result
        view = await self._run_log.view(run)
        if row.sealed and not view.is_final:
            raise RunDamaged(
                f"what is kept of run {run!r} is damaged, and its event log is gone or damaged, too; run it anew, or "
                f"remove it from the list ('innkeeper delete {run}')"
            )
        return {
            **_summary(row, view.activity),
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
            "running": [_summary(row, await self._run_log.activity(row.id)) for row in rows if row.status == "running"],
            "pending": [_summary(row) for row in rows if row.status == "queued"],
        }

    async def history(
        self, before: int | None, limit: int, status: str | None, *, previews: bool = False
    ) -> tuple[list[JsonObject], int | None]:
        """A page of ended runs, newest first, and the cursor of the next page."""
        rows: Sequence[RunRow] = await self._store.page(
            before=before, limit=limit + 1, status=status, previews=previews
        )
        cursor = rows[limit - 1].number if len(rows) > limit else None
        return [_summary(row) for row in rows[:limit]], cursor

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


def _summary(row: RunRow, activity: Activity | None = None) -> JsonObject:
    """A run in lists. A row that is damaged is no reason not to show the others: it shows its id."""
    try:
        return summary(row, activity)
    except (TypeError, ValueError, OverflowError, OSError, AttributeError):
        return {"promptId": str(row.id), "status": str(row.status), "submittedAt": iso(0)}


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


def _same_run(earlier: RunRow, asked: str) -> Accepted:
    if earlier.body_hash != asked:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used with another body; use a new key for a new run",
            details={"promptId": earlier.id},
        )
    return Accepted.of(earlier)
