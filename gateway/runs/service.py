"""Runs from the outside: submit, interrupt, delete, inspect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import BadRequest, EngineAway, IdempotencyMismatch, TooManyRuns, shown
from innkeeper.gateway.events.fence import INTERRUPTING
from innkeeper.gateway.events.log import LogUnavailable
from innkeeper.gateway.runs.admission import DRY_RUN, Checked, body_hash, interface_of, key_hash
from innkeeper.gateway.runs.finisher import RunFinisher
from innkeeper.gateway.runs.launcher import RunLauncher
from innkeeper.gateway.runs.open_runs import OpenRuns
from innkeeper.gateway.runs.origin import Origin
from innkeeper.gateway.runs.outcome import RunOutcome
from innkeeper.gateway.runs.reruns import Admitted, Reruns, answer_of
from innkeeper.gateway.runs.run_callbacks import RunCallback
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.run_summary import safe_summary
from innkeeper.gateway.runs.socket_runs import SocketRuns
from innkeeper.gateway.runs.stuck_runs import StuckRuns
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.termination import Terminator
from innkeeper.gateway.runs.view import JsonObject, nodes_for_clients
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import ENDED, NewRun, RunStore, json_list, now_ms, stored_result
from innkeeper.nodes.errors import RunError, RunNotActive, RunNotFound, RunStillActive

logger = logging.getLogger("innkeeper.gateway.runs")

CLOSING_POLL_S = 0.05
CLOSING_POLLS = 40
CALL_TIMEOUT = timedelta(seconds=5)
FORCE_AFTER_S = 10.0
"""Since the first request to interrupt a run. A node that heeds its cancellation stops within 1.5 s."""
TELL_S = 1.0
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


class TellsOthers(Protocol):
    """Tells others how runs go (`deliveries.callbacks.Callbacks`)."""

    def begun(self, run: str, callbacks: Sequence[RunCallback]) -> None:
        """A run was written down that has these callbacks."""

    async def of_run(self, row: RunRow) -> list[JsonObject]:
        """The callbacks of a run as clients see them."""


class RunDamaged(RunError):
    """What is kept of a run that ended cannot be read any more."""

    code = "run_damaged"


class PendingRuns(Protocol):
    """Runs that were promised and do not exist yet: of deliveries that are written down."""

    async def pending_run(self, run: str) -> JsonObject | None:
        """What is known of one; None: nothing."""

    async def drop(self, run: str, reason: str) -> bool:
        """Let one never come to be; False when there is none such."""


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
        terminator: Terminator,
        open_runs: OpenRuns,
        stuck_runs: StuckRuns,
        socket_runs: SocketRuns,
        pending: PendingRuns,
        callbacks: TellsOthers,
        max_waiting_runs: int,
    ) -> None:
        self._pending = pending
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._finisher = finisher
        self._launcher = launcher
        self._reruns = reruns
        self._terminator = terminator
        self._open_runs = open_runs
        self._stuck_runs = stuck_runs
        self._socket_runs = socket_runs
        self._callbacks = callbacks
        self._max_waiting_runs = max_waiting_runs
        self._telling: set[asyncio.Task[None]] = set()

    # --- submitting -----------------------------------------------------------------------------------------------

    async def submit(
        self,
        body: JsonObject,
        user: str,
        key: str | None = None,
        *,
        over_socket: bool = False,
        origin: Origin | None = None,
    ) -> Accepted:
        """Compile and start a run; what was accepted is durable.

        Args:
            key: The client's Idempotency-Key: the same key and body give the same run.
            over_socket: Sockets that come later are told how it ends.
            origin: The trigger that starts it, which also says the run's id: a second submission with it is the same.

        Raises:
            InvalidWorkflow, IdempotencyMismatch, EngineAway, LogUnavailable, NotFound, TooManyRuns.
        """
        if body.get(DRY_RUN) not in (None, False):
            raise BadRequest("'dryRun' is answered by POST /api/prompt alone, where it is true or false")
        key_digest = key_hash(key) if key else None
        body_digest = body_hash(body)
        if key_digest and (earlier := await self._store.by_key(user, key_digest)):
            return _same_run(earlier, body_digest)
        if origin is not None and (earlier := await self._store.get(origin.run)):
            return Accepted.of(earlier)
        # Before any work is done for it: can it be started, and can it be logged?
        await self._temporal.client(PATIENCE_S)
        self._run_log.check_writable()
        self._check_waiting()

        admitted = await self._reruns.admit(body, user)
        callbacks = _callbacks_of(admitted.checked, by_trigger=origin is not None)
        new = _new_run(admitted, user, origin, callbacks)
        row = await self._store.add(
            replace(
                new,
                status=self._launcher.first_status,
                key_hash=key_digest,
                body_hash=body_digest if key else None,
                over_socket=over_socket,
            )
        )
        if row is None and origin is not None:
            return Accepted.of(await self._row(origin.run))
        if row is None:  # somebody else came with this key while we compiled
            earlier = await self._store.by_key(user, key_digest or "")
            assert earlier is not None
            return _same_run(earlier, body_digest)
        if over_socket:
            self._socket_runs.add(row.id, user)
        self._callbacks.begun(row.id, callbacks)
        await self._launcher.start(row)
        return Accepted.of(row)

    async def try_out(self, body: JsonObject, user: str) -> JsonObject:
        """What a submission would run and take over, without a run.

        Raises: What `submit` raises of the submission itself.
        """
        return {DRY_RUN: True, **await self._reruns.try_out(body, user)}

    def _check_waiting(self) -> None:
        if (waiting := self._open_runs.idle) >= self._max_waiting_runs:
            raise TooManyRuns(
                f"{waiting} runs wait or are paused, and no more than {self._max_waiting_runs} may: answer or "
                "interrupt some ('innkeeper approvals', 'innkeeper runs'), or raise INNKEEPER_MAX_WAITING_RUNS"
            )

    # --- interrupting ---------------------------------------------------------------------------------------------

    async def interrupt(self, run: str, *, force: bool = False) -> str:
        """Stop a run. Gives a sentence for the user.

        Args:
            force: End it now, without waiting for its nodes, its worker or Temporal. So does a second interrupt,
                FORCE_AFTER_S after the first.

        Raises:
            RunNotFound, RunNotActive (it has ended).
        """
        row = await self._store.get(run)
        if row is None and await self._pending.drop(run, "it was interrupted"):
            return f"run {run} will not start"
        row = row or await self._row(run)  # it may have come to be meanwhile
        if row.status == "queued" and await self._store.drop_queued(run):
            self._finisher.close_unstarted(run, RunOutcome("interrupted", {}))
            return f"run {run} left the queue"
        if force or _is_overdue(row):
            return await self._end_by_force(run)
        if not await self._store.request_interrupt(run):
            raise _has_ended(run)
        await self._tell_viewers(run)
        try:
            handle = (await self._temporal.client()).get_workflow_handle(run)
            await handle.cancel(rpc_timeout=CALL_TIMEOUT)
        except EngineAway:
            self._finisher.cancel_soon(run)
            return f"run {run} will be interrupted as soon as Temporal answers; {_how_to_force(run)}"
        except RPCError as error:
            if is_away(error):
                self._temporal.lost()
                self._finisher.cancel_soon(run)
            elif error.status != RPCStatusCode.NOT_FOUND:  # not started yet, or just ended: who follows it knows
                raise
        again = f"; {_how_to_force(run)}" if row.interrupt_requested else ""
        return f"run {run} is being interrupted{again}"

    async def _end_by_force(self, run: str) -> str:
        if not await self._store.request_termination(run):
            raise _has_ended(run)
        self._finisher.end_by_force(run)
        self._terminator.wake()
        return f"run {run} is ended by force"

    async def _tell_viewers(self, run: str) -> None:
        """Announce that a run is being interrupted. While the log cannot be written, that must not keep it running."""
        telling = asyncio.create_task(self._run_log.announce(run, INTERRUPTING), name=f"interrupting-{run}")
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.wait({telling}, timeout=TELL_S)

    # --- deleting -------------------------------------------------------------------------------------------------

    async def delete(self, run: str) -> None:
        """Forget a run that has ended: its result, its events and its Idempotency-Key. Values go with a later
        collection.

        Raises:
            RunNotFound, RunStillActive.
        """
        row = await self._row(run)
        for _ in range(CLOSING_POLLS):  # who saw the final status may be faster than the last notes of its end
            if (row.sealed and row.told and not row.terminate) or row.status not in ENDED:
                break
            await asyncio.sleep(CLOSING_POLL_S)
            row = await self._row(run)
        if not row.sealed:
            raise RunStillActive(_why_not_deleted(row))
        if row.terminate:
            raise RunStillActive(
                f"run {run!r} was ended by force and Temporal does not know yet: try again when Temporal answers"
            )
        if not row.told:
            raise RunStillActive(f"the end of run {run!r} is being told to its triggers: try again in a moment")
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
        row = await self._store.get(run)
        if row is None:
            if (pending := await self._pending.pending_run(run)) is not None:
                return pending
            row = await self._row(run)  # it may have come to be meanwhile
        status = await self._status(row)
        return {**status, "callbacks": await self._callbacks.of_run(row)} if row.callbacks else status

    async def _status(self, row: RunRow) -> JsonObject:
        run = row.id
        result = await stored_result(row)
        if result is not None and row.status in ENDED:
            return {**result, **await self._last_event(run)}
        stuck = await self._stuck_runs.look(run) if row.status == "running" else None
        look = await self._run_log.look(run)
        view = look.view
        if row.sealed and not view.is_final:
            raise RunDamaged(
                f"what is kept of run {run!r} is damaged, and its event log is gone or damaged, too; run it anew, or "
                f"remove it from the list ('innkeeper delete {run}')"
            )
        nodes = nodes_for_clients(run, view.nodes)
        for path, text in look.texts.items():
            nodes.setdefault(path, {}).update(text.to_json())
        return {
            **safe_summary(row, view.activity, stuck),
            "nodeStatus": nodes,
            "outputs": view.outputs or {},
            "lastSeq": look.last_seq,
            "logId": self._run_log.log_id,
        }

    async def _last_event(self, run: str) -> JsonObject:
        """Where the log of a run ends; nothing when it is gone, or cannot be read now."""
        with contextlib.suppress(LogUnavailable, ValueError, TypeError):
            if (last := await self._run_log.last_seq(run)) is not None:
                return {"lastSeq": last, "logId": self._run_log.log_id}
        return {}

    async def wait_for_end(
        self, run: str, timeout_s: float, until_sealed: Callable[[str], Awaitable[None]]
    ) -> JsonObject:
        """The full status once the run has ended, or as it is after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await until_sealed(run)
        return await self.status(run)

    async def executions(self) -> dict[str, list[JsonObject]]:
        """Runs that run, and runs that wait."""
        rows = await self._store.active()
        return {
            "running": [
                safe_summary(row, await self._run_log.activity(row.id), self._stuck_runs.known(row.id))
                for row in rows
                if row.status == "running"
            ],
            "pending": [safe_summary(row) for row in rows if row.status == "queued"],
        }

    async def history(
        self, before: int | None, limit: int, status: str | None, *, previews: bool = False
    ) -> tuple[list[JsonObject], int | None]:
        """A page of ended runs, newest first, and the cursor of the next page."""
        rows: Sequence[RunRow] = await self._store.page(
            before=before, limit=limit + 1, status=status, previews=previews
        )
        cursor = rows[limit - 1].number if len(rows) > limit else None
        return [safe_summary(row) for row in rows[:limit]], cursor

    async def queue_counts(self) -> JsonObject:
        """The payload of SYSTEM_QUEUE_UPDATE."""
        running, pending = await self._store.active_counts()
        return {"runningExecutions": running, "pendingExecutions": pending}

    async def _row(self, run: str) -> RunRow:
        row = await self._store.get(run)
        if row is None:
            raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/history lists them")
        return row


def _new_run(admitted: Admitted, user: str, origin: Origin | None, callbacks: Sequence[RunCallback]) -> NewRun:
    """What the store keeps of what was admitted."""
    checked, plan = admitted.checked, admitted.checked.compiled.plan
    return NewRun(
        id=secrets.token_hex(10) if origin is None else origin.run,
        user_id=user,
        plan=checked.compiled.encoded,
        workflow_id=plan.workflow_id,
        workflow_name=plan.workflow_name,
        interface=interface_of(checked),
        warnings=[problem.to_json() for problem in checked.warnings],
        plan_hash=checked.plan_hash,
        rerun=admitted.rerun,
        project_id=checked.source.project,
        workflow_version=checked.source.version,
        versions=checked.source.versions,
        origin=None if origin is None else origin.encode(),
        callbacks=[callback.to_json() for callback in callbacks],
        budget=None if checked.budget is None else checked.budget.to_json(),
        document=admitted.document,
    )


def _callbacks_of(checked: Checked, *, by_trigger: bool) -> list[RunCallback]:
    """The callbacks of a new run. What a trigger submits names the trigger's own."""
    found = [sealed.callback for sealed in checked.callbacks]
    return [replace(one, source="trigger") if by_trigger and one.source == "submission" else one for one in found]


def _is_overdue(row: RunRow) -> bool:
    """Was a running run interrupted so long ago that it is stuck?"""
    asked = row.interrupted_at
    return row.status == "running" and asked is not None and now_ms() - asked >= FORCE_AFTER_S * 1000


def _how_to_force(run: str) -> str:
    return (
        f"to end it at once, interrupt it again after {FORCE_AFTER_S:g} s, or now with force "
        f"('innkeeper cancel {run} --force', POST /api/interrupt/{run}?force=true)"
    )


def _has_ended(run: str) -> RunNotActive:
    return RunNotActive(f"run {run!r} has ended already; only a queued or running run can be interrupted")


def _why_not_deleted(row: RunRow) -> str:
    if row.interrupt_requested and row.status not in ENDED:
        return f"run {row.id!r} is being interrupted: delete it when it has ended; {_how_to_force(row.id)}"
    return f"run {row.id!r} has not ended: interrupt it first ('innkeeper cancel {row.id}')"


def _same_run(earlier: RunRow, asked: str) -> Accepted:
    if earlier.body_hash != asked:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used with another body; use a new key for a new run",
            details={"promptId": earlier.id},
        )
    return Accepted.of(earlier)
