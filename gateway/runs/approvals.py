"""Approvals: which are open, and bringing an answer to the workflow in which a node waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import shown
from innkeeper.gateway.runs.pausing import active_row, away
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.errors import RunError, RunNotFound
from innkeeper.workflows.document.slot_values import is_number

logger = logging.getLogger("innkeeper.gateway.runs")

ANSWER_S = 8.0
"""How long a worker may take to accept an answer; without one nobody ever does."""
NOT_NOW = frozenset({RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED})
"""What the server says while no worker gets on with the workflow, or too many answers are on their way."""
REFUSALS = frozenset({"approval_not_found", "approval_answered", "invalid_answer"})
ANNOUNCING_S = 2.0
MAX_DEPTH = 256
ANSWERS_AT_ONCE = 20
MAX_LIMIT = 2**53
"""What every reader of JSON can count to."""
MAX_COMMENT_CHARS = 10_000
MAX_BY_CHARS = 200
FIELDS = frozenset({"approved", "values", "comment", "by"})


class ApprovalRefused(RunError):
    """An answer does not count: nothing waits for it, it came too late, or it does not fit the form."""


class WorkerAway(RunError):
    """No worker runs the workflow that should take an answer."""

    code = "worker_unavailable"
    retryable = True


class Budgets(Protocol):
    """What runs may spend."""

    async def raise_limit(self, run: str, scope: str, values: Mapping[str, Any]) -> None:
        """Set a new limit: `tokens`, `money` or both, of the run itself or of what it shares (`scope`)."""


class Approvals:
    """All approvals of this gateway's runs, and its runs that are out of budget.

    Args:
        budgets: Without them a new limit is the business of who refuses.
    """

    def __init__(
        self, store: RunStore, run_log: RunLog, temporal: TemporalLink, *, budgets: Budgets | None = None
    ) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._budgets = budgets

    # --- looking --------------------------------------------------------------------------------------------------

    async def of_run(self, run: str, after: int, limit: int, status: str | None) -> tuple[list[JsonObject], int | None]:
        """A page of a run's approvals behind number `after`, in the order they were asked for, and where to go on.

        Raises:
            RunNotFound: No such run.
        """
        if await self._store.get(run) is None:
            raise RunNotFound(f"there is no run {shown(run)}: 'innkeeper runs' or GET /api/history lists them")
        found = [
            item
            for item in (await self._run_log.view(run)).approvals.values()
            if item["seq"] > after and status in (None, item["status"])
        ]
        return [_public(item) for item in found[:limit]], found[limit - 1]["seq"] if len(found) > limit else None

    async def open(self, after: tuple[int, int], limit: int) -> tuple[list[JsonObject], tuple[int, int] | None]:
        """A page of all open approvals, oldest run first, behind (number of the run, number in the run)."""
        found: list[JsonObject] = []
        place = after
        for row in await self._store.active():
            if row.number < after[0] or not (await self._run_log.activity(row.id)).approvals:
                continue
            for item in (await self._run_log.view(row.id)).approvals.values():
                if item["status"] != "open" or (row.number, item["seq"]) <= after:
                    continue
                if len(found) == limit:
                    return found, place
                found.append({**_public(item), "workflowName": row.workflow_name})
                place = (row.number, item["seq"])
        return found, None

    async def find(self, run: str, approval: str) -> JsonObject:
        """One approval of a run, open or not. Raises RunNotFound, ApprovalRefused."""
        if await self._store.get(run) is None:
            raise RunNotFound(f"there is no run {shown(run)}")
        found = (await self._run_log.view(run)).approvals.get(approval)
        if found is None:
            raise _not_found(run, approval)
        return found

    # --- answering ------------------------------------------------------------------------------------------------

    async def answer(self, run: str, approval: str, answer: Mapping[str, Any], key: str | None) -> JsonObject:
        """Answer an approval; gives the answer that counts.

        Args:
            key: The client's Idempotency-Key: the same key gives the same outcome.

        Raises:
            RunNotFound, RunNotActive.
            ApprovalRefused: With the code `approval_not_found`, `approval_answered`, `approval_closed` or
                `invalid_answer`.
            WorkerAway, EngineAway: It did not get there in time; it may still count.
        """
        check_answer(answer)
        row = await active_row(self._store, run, "answered")
        if row.status == "queued":
            raise _not_found(run, approval)
        found = (await self._run_log.view(run)).approvals
        asked = dict(found.get(approval, {}))
        # As they stand before the answer: what a node asks after it is another question.
        others = [dict(item) for item in found.values() if _is_same_budget(asked, item)]
        if asked.get("kind") == "budget" and asked["status"] == "open":
            await self._raise_limit(run, asked, answer)
        try:
            counted = await self._bring(run, approval, _addressed(answer, asked), key)
        except ApprovalRefused as refusal:
            raise await self._explained(run, approval, refusal) from None
        await self._announce(run, approval, counted)
        await self._answer_others(run, others, counted)
        return counted

    async def _raise_limit(self, run: str, asked: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Before the answer goes to the run: its nodes ask again as soon as they have it."""
        if not answer["approved"]:
            return
        values = answer.get("values") or {}
        limits = [str(item.get("key")) for item in asked["form"]]
        if not values or not all(key in limits and _is_limit(value) for key, value in values.items()):
            raise _invalid(f"'values' must hold the new limit, a number over 0, of {' or '.join(map(repr, limits))}")
        if self._budgets is not None:
            await self._budgets.raise_limit(run, str(asked["scope"]), values)

    async def _answer_others(self, run: str, others: Iterable[Mapping[str, Any]], answer: JsonObject) -> None:
        """One answer counts for all nodes of the run that wait for the same budget, also those in groups."""
        at_once = asyncio.Semaphore(ANSWERS_AT_ONCE)

        async def answer_one(other: Mapping[str, Any]) -> None:
            path = str(other["approvalId"])
            async with at_once:
                with contextlib.suppress(RunError):  # it has ended, or was answered with another one of its workflow
                    counted = await self._bring(run, path, _addressed(answer, other), None)
                    await self._announce(run, path, counted)

        await asyncio.gather(*map(answer_one, others))

    async def _bring(self, run: str, approval: str, answer: Mapping[str, Any], key: str | None) -> JsonObject:
        for workflow in owners(run, approval):
            with contextlib.suppress(_NoSuchWorkflow):
                return await self._update(workflow, approval, answer, key)
        raise _not_found(run, approval)

    async def _update(self, workflow: str, approval: str, answer: Mapping[str, Any], key: str | None) -> JsonObject:
        handle = (await self._temporal.client()).get_workflow_handle(workflow)
        call = asyncio.ensure_future(handle.execute_update("answer", args=[approval, dict(answer)], id=key))
        try:
            # Cancelled from outside the call would end in an error of its own instead of a timeout.
            done, _ = await asyncio.wait({call}, timeout=ANSWER_S)
            if not done:
                raise _nobody_took_it()
            counted: JsonObject = await call
            return counted
        except WorkflowUpdateFailedError as failure:
            raise _refusal(failure.cause) from failure
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise _nobody_took_it() from error
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise _NoSuchWorkflow from None
            if error.status in NOT_NOW:
                raise _nobody_took_it() from error
            raise away(self._temporal, error) from error
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _explained(self, run: str, approval: str, refusal: ApprovalRefused) -> RunError:
        """The workflow forgets what is over; the log does not."""
        if refusal.code != "approval_not_found":
            return refusal
        await active_row(self._store, run, "answered")  # it may just have ended
        known = (await self._run_log.view(run)).approvals.get(approval, {})
        if known.get("status") == "answered":
            return ApprovalRefused(f"approval {shown(approval)} was answered already", code="approval_answered")
        if known.get("status") == "closed":
            message = f"approval {shown(approval)} is over: nobody answered in time, or its node was interrupted"
            return ApprovalRefused(message, code="approval_closed")
        # Open in the log, unknown in the engine: it ends in this moment, or the server lost sight of the answer.
        return _nobody_took_it() if known else refusal

    async def _announce(self, run: str, approval: str, answer: JsonObject) -> None:
        """The worker tells, too, but whoever answered may look at once."""
        if (asked := (await self._run_log.view(run)).approvals.get(approval)) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCING_S):
                    await self._run_log.answered(run, approval, answer, attempt=asked.get("attempt"))


class _NoSuchWorkflow(Exception):
    """Temporal has no open workflow of this id."""


def owners(run: str, approval: str) -> Iterator[str]:
    """Ids of the workflows in which a node may wait, the nearest to it first: groups above it, then the run."""
    parts = approval.split("/")[:-1]
    if len(parts) > MAX_DEPTH:
        return
    for length in range(len(parts), 0, -1):
        yield f"{run}/{'/'.join(parts[:length])}"
    yield run


def check_answer(answer: Mapping[str, Any]) -> None:
    """What can be said of an answer without its form. Raises ApprovalRefused."""
    unknown = sorted(answer.keys() - FIELDS)
    if unknown:
        raise _invalid(f"an answer has no {shown(unknown[0])}; it has 'approved', 'values', 'comment', 'by'")
    if not isinstance(answer.get("approved"), bool):
        raise _invalid("an answer needs 'approved': true or false")
    if not isinstance(answer.get("values") or {}, dict):
        raise _invalid("'values' must be an object of field to value")
    for name, limit in (("comment", MAX_COMMENT_CHARS), ("by", MAX_BY_CHARS)):
        value = answer.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= limit):
            raise _invalid(f"{name!r} must be a text of at most {limit} characters")


def _is_same_budget(asked: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Does another node wait for what this one asks for?"""
    if asked.get("kind") != "budget" or other.get("kind") != "budget" or other["status"] != "open":
        return False
    return bool(other["scope"] == asked["scope"] and other["nodeId"] != asked["nodeId"])


def _addressed(answer: Mapping[str, Any], asked: Mapping[str, Any]) -> JsonObject:
    """The answer with what it answers: meanwhile the node may have gone on, and ask for more."""
    return {**answer, **({"attempt": asked["attempt"]} if "attempt" in asked else {})}


def _is_limit(value: Any) -> bool:
    return is_number(value) and 0 < value <= MAX_LIMIT


def _invalid(message: str) -> ApprovalRefused:
    return ApprovalRefused(message, code="invalid_answer")


def _not_found(run: str, approval: str) -> ApprovalRefused:
    message = f"run {run!r} has no approval {shown(approval)}; GET /api/prompt/{run}/approvals lists them"
    return ApprovalRefused(message, code="approval_not_found")


def _nobody_took_it() -> WorkerAway:
    return WorkerAway(
        f"no worker took the answer within {ANSWER_S:g} s: see that one runs ('innkeeper up', 'innkeeper worker'). "
        "The answer may still count, so look at the run before you answer again"
    )


def _refusal(cause: BaseException | None) -> RunError:
    if isinstance(cause, ApplicationError) and cause.type in REFUSALS:
        return ApprovalRefused(cause.message, code=cause.type)
    # The server gave the answer up: its workflow went on in another run, or ended, in this very moment.
    logger.warning("an answer was given up: %s", cause)
    return _nobody_took_it()


def _public(item: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in item.items() if key != "seq"}
