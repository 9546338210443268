"""Callbacks of runs: what is to be told is written down, handed to Temporal, and followed until it is over.

A message is known by its run, its callback and its event, so whatever happens twice leads to one message. Temporal
tries to deliver it; its memo says how far it is, and the store keeps that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.deliveries.callback_message import (
    WAITING,
    WAITS,
    RunFacts,
    message_id,
    message_of,
    shown_event,
    wait_event,
    workflow_id,
)
from innkeeper.gateway.deliveries.callback_progress import (
    FIRST_CHECK_MS,
    as_it_is,
    next_check,
    progress_of,
    shown_delivery,
    unknown,
)
from innkeeper.gateway.deliveries.run_ends import RunEnd
from innkeeper.gateway.errors import EngineAway, NotFound, shown
from innkeeper.gateway.events.fence import STATUS, Event
from innkeeper.gateway.moments import from_iso
from innkeeper.gateway.runs.run_callbacks import RunCallback, callbacks_of
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink, is_away
from innkeeper.gateway.runs.view import FINAL
from innkeeper.gateway.store.callbacks import (
    FAILED,
    NEW,
    PENDING,
    STOPPED,
    CallbackStore,
    NewMessage,
    Progress,
)
from innkeeper.gateway.store.models import CallbackRow, RunRow
from innkeeper.gateway.store.runs import RunStore, json_of, now_ms
from innkeeper.nodes.call import CallbackCall
from innkeeper.nodes.errors import RunNotFound

logger = logging.getLogger("innkeeper.gateway.callbacks")

WORKFLOW_TYPE = "CallbackWorkflow"
TASK_TIMEOUT = timedelta(seconds=5)
CALL_TIMEOUT = timedelta(seconds=10)
AT_ONCE = 20
"""Calls of Temporal that are under way together."""
MAX_DUE = 200
MAX_WAITS = 1_000
"""Messages of one run; it is not told that more of its nodes wait."""
RETRY_S = 2.0
MAX_SLEEP_S = 30.0
WAIT_EVENTS = frozenset({"NODE_WAITING", "APPROVAL_REQUIRED", "BUDGET_REACHED"})


class Callbacks:
    """Tells others how runs go.

    Args:
        task_queue: Of the workflows that send messages.
    """

    def __init__(
        self, runs: RunStore, store: CallbackStore, run_log: RunLog, temporal: TemporalLink, *, task_queue: str
    ) -> None:
        self._runs = runs
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._task_queue = task_queue
        self._tell_of_waits: set[str] = set()
        self._waits: dict[tuple[str, str], tuple[Mapping[str, Any], int]] = {}
        self._wake = asyncio.Event()
        self._wake.set()  # what an earlier process left
        self._is_recovered = False

    # --- what there is to tell --------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Know the open runs of whose waits somebody is told."""
        for row in await self._runs.open_with_callbacks():
            self.begun(row.id, callbacks_of(row))

    def begun(self, run: str, callbacks: Sequence[RunCallback]) -> None:
        """Know a run that was written down a moment ago."""
        if any(WAITING in callback.on for callback in callbacks):
            self._tell_of_waits.add(run)

    def cares(self, row: RunRow, status: str) -> bool:
        """Is somebody told when this run ends so (`RunEnds.cares`)?"""
        return any(status in callback.on for callback in callbacks_of(row))

    def observe(self, events: Sequence[Event]) -> None:
        """Follow the events of one run in one commit."""
        run = events[0]["payload"]["promptId"]
        if run not in self._tell_of_waits:
            return
        for event in events:
            if event["type"] in WAIT_EVENTS:
                self._note_wait(run, event["payload"], event["ts"])
            elif event["type"] == STATUS and event["payload"]["status"] in FINAL:
                self._tell_of_waits.discard(run)

    def _note_wait(self, run: str, payload: Mapping[str, Any], at: int) -> None:
        if payload.get("kind") in WAITS:
            self._waits[run, str(payload["nodeId"])] = (payload, at)
            self._wake.set()

    async def run_ended(self, end: RunEnd) -> None:
        """Write down what is to be told of a run that has ended (`RunEnds.listeners`)."""
        row = end.row
        if callbacks := callbacks_of(row):
            result = await self._runs.result(row.id)
            facts = _with_result(_facts(row, end.status, row.ended_at or now_ms()), result)
            await self._add(row.id, callbacks, end.status, message_of(facts))
            self._wake.set()

    async def _add(
        self, run: str, callbacks: Sequence[RunCallback], event: str, body: bytes, node: str | None = None
    ) -> None:
        asked = shown_event(event)
        messages = [
            NewMessage(run, position, event, body, node)
            for position, callback in enumerate(callbacks)
            if asked in callback.on
        ]
        await self._store.add(messages)

    async def _write_waits(self) -> None:
        for (run, node), (payload, at) in list(self._waits.items()):
            row = await self._runs.get(run)
            if row is not None and await self._store.count(run) < MAX_WAITS:
                event = wait_event(payload, node)
                facts = _facts(row, WAITING, at, wait=payload)
                await self._add(run, callbacks_of(row), event, message_of(facts), node)
            self._waits.pop((run, node), None)

    async def _recover_waits(self) -> None:
        """What nodes began to wait for while no process of ours looked."""
        for run in list(self._tell_of_waits):
            view = await self._run_log.view(run)
            for approval in view.approvals.values():
                if "requiredAt" in approval:
                    self._note_wait(run, approval, from_iso(approval["requiredAt"]))
            for path, node in view.nodes.items():
                if isinstance(wait := node.get("wait"), Mapping):
                    self._note_wait(run, {**wait, "nodeId": path}, now_ms())
        self._is_recovered = True

    # --- sending ------------------------------------------------------------------------------------------------------

    async def keep_sending(self) -> None:
        """For ever: write down what there is to tell, hand it to Temporal, and follow what Temporal has."""
        while True:
            try:
                await self._sleep()
                if not self._is_recovered:
                    await self._recover_waits()
                await self._write_waits()
                with contextlib.suppress(EngineAway):  # what it has it goes on with, and this is tried again
                    await self._work()
            except Exception:
                logger.exception("sending callbacks failed", extra={"event": "callbacks_failed"})
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _sleep(self) -> None:
        """Until there is something to do."""
        following = await self._store.next_check()
        timeout_s = MAX_SLEEP_S if following is None else min(max(following - now_ms(), 0) / 1000, MAX_SLEEP_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()

    async def _work(self) -> None:
        """Do what is due. Raises EngineAway."""
        due = await self._store.due(now_ms(), MAX_DUE)
        if not due:
            return
        client = await self._temporal.client(RETRY_S)
        places = asyncio.Semaphore(AT_ONCE)

        async def work(row: CallbackRow) -> None:
            async with places:
                await (self._start(client, row) if row.status == NEW else self._look(client, row))

        results = await asyncio.gather(*(work(row) for row in due), return_exceptions=True)
        for error in results:
            if isinstance(error, RPCError) and is_away(error):
                self._temporal.lost()
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def _start(self, client: Client, row: CallbackRow) -> None:
        run = await self._runs.get(row.run)
        callbacks = [] if run is None else callbacks_of(run)
        if run is None or row.position >= len(callbacks):
            await self._store.note(row, Progress(FAILED, last_error="what is kept of its run is damaged"), 0)
            return
        if row.sends == 1 and await self._store.is_stopped(row.run, row.position):
            message = "not sent: to an earlier message the receiver answered 410, it wants no more"
            await self._store.note(row, Progress(STOPPED, last_error=message), 0)
            return
        try:
            await self._start_workflow(client, row, _call(run, callbacks[row.position], row))
        except RPCError as error:
            if is_away(error):
                raise
            logger.error("Temporal did not start a callback", extra={"run": row.run, "code": str(error.status)})
            await self._store.note(row, Progress(FAILED, last_error="Temporal refused to send it"), 0)
        else:
            await self._store.note(row, Progress(PENDING), now_ms() + FIRST_CHECK_MS)

    async def _start_workflow(self, client: Client, row: CallbackRow, call: CallbackCall) -> None:
        # An earlier process may have started it and died before it noted that.
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                WORKFLOW_TYPE,
                args=[row.body, call],
                id=_workflow_id(row),
                task_queue=self._task_queue,
                task_timeout=TASK_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=CALL_TIMEOUT,
            )

    async def _look(self, client: Client, row: CallbackRow) -> None:
        try:
            found = await client.get_workflow_handle(_workflow_id(row)).describe(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            progress = unknown(row, "Temporal does not know what became of it")
        else:
            progress = await progress_of(row, found)
        await self._store.note(row, progress, next_check(row, progress, now_ms()))

    # --- showing, and sending anew ------------------------------------------------------------------------------------

    async def of_run(self, row: RunRow) -> list[dict[str, Any]]:
        """The callbacks of a run with what became of each message, as clients see them."""
        callbacks = callbacks_of(row)
        messages = await self._store.of_run(row.id) if callbacks else ()
        return [
            {
                "number": position,
                "source": callback.source,
                "url": callback.url,
                "signed": bool(callback.secret),
                "on": list(callback.on),
                "deliveries": [shown_delivery(message) for message in messages if message.position == position],
            }
            for position, callback in enumerate(callbacks)
        ]

    async def resend(self, run: str, position: int, event: str | None = None) -> list[str]:
        """Send messages anew that have ended, with the ids they had; one that is still tried is tried at once.

        Args:
            event: Only what was sent for it.

        Returns:
            The ids of the messages.

        Raises:
            RunNotFound.
            NotFound: The run has no such callback, or nothing was sent to it (`callback_not_found`).
            EngineAway: One that is still tried cannot be tried now.
        """
        row = await self._runs.get(run)
        if row is None:
            raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/history lists them")
        count = len(callbacks_of(row))
        if not 0 <= position < count:
            raise NotFound(f"run {run!r} has {count} callbacks, counted from 0", code="callback_not_found")
        messages = await self._store.of_callback(run, position, event)
        if not messages:
            raise NotFound(
                f"nothing was sent yet to callback {position} of run {run!r}"
                + (f" for {event!r}" if event else "")
                + f"; GET /api/prompt/{run} shows what was",
                code="callback_not_found",
            )
        for message in messages:
            if message.status == PENDING:
                await self._send_now(message)
            elif message.status != NEW:
                await self._store.send_anew(message)
        self._wake.set()
        return [message_id(run, position, message.event) for message in messages]

    async def _send_now(self, row: CallbackRow) -> None:
        client = await self._temporal.client()
        try:
            await client.get_workflow_handle(_workflow_id(row)).signal("send_now", rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if is_away(error):
                self._temporal.lost()
                raise EngineAway("Temporal does not answer; try again in a moment") from error
            if error.status != RPCStatusCode.NOT_FOUND:  # it has just ended
                raise
        await self._store.note(row, as_it_is(row), now_ms() + FIRST_CHECK_MS)


def _facts(row: RunRow, status: str, at: int, wait: Mapping[str, Any] | None = None) -> RunFacts:
    labels = json_of(row.origin).get("labels")
    return RunFacts(
        run=row.id,
        status=status,
        at=at,
        workflow_id=row.workflow_id,
        workflow_name=row.workflow_name,
        labels=labels if isinstance(labels, dict) else {},
        wait=wait,
    )


def _with_result(facts: RunFacts, result: Mapping[str, Any]) -> RunFacts:
    error = result.get("errorInfo")
    outputs = tuple(result.get("outputs") or ())
    return replace(facts, error=error if isinstance(error, Mapping) else None, outputs=outputs)


def _call(run: RunRow, callback: RunCallback, row: CallbackRow) -> CallbackCall:
    return CallbackCall(
        url=callback.url,
        address=callback.address,
        secret=callback.secret,
        user_id=run.user_id,
        message_id=message_id(row.run, row.position, row.event),
    )


def _workflow_id(row: CallbackRow) -> str:
    return workflow_id(row.run, row.position, row.event, row.sends)
