"""One try of one node, and what it reports when it ends otherwise than by a result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from innkeeper.activities.execution.active_time import ActiveTime
from innkeeper.activities.execution.errors import clean_warnings, failure, log_fault, message_of, redact
from innkeeper.activities.execution.heartbeat import EarlierAttempts, Heartbeat
from innkeeper.activities.execution.retry_rules import (
    TIMEOUT_CODES,
    code_and_retryable,
    deaths_allowed,
    delay_of,
    retry_delay_s,
    spread_s,
)
from innkeeper.activities.execution.watched_llm import WatchedLlm
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.retry_notice import MAX_REASON_CHARS, RetryKind, RetryNotice, iso
from innkeeper.activities.sanitize import error_code, json_details
from innkeeper.nodes.call import BUDGET_REACHED, NODE_PARKED, NodeCall
from innkeeper.nodes.errors import BudgetReached, NodeError, NodeMustWait, NodeTimeout
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import Llm, SecretRef, Secrets, Services
from innkeeper.nodes.services.llm.loading import LOADING
from innkeeper.nodes.services.llm.salvage import OnCrash
from innkeeper.nodes.services.masking import MASK

DEFAULT_WAIT_S = 1.0
"""Of a node that must wait and names no time span."""
PARK_AFTER_S = 300.0
"""A longer pause ends the activity: the run waits then, and no limit of the activity's time counts."""


RENEW_AFTER_S = 23 * 3_600.0
"""The server ends the activity of a node that reads a stream after a day. One that still waits then begins anew before:
what gives the stream may be parked for as long as nobody answers."""
RENEW_AGAIN_S = 60.0


class BoundedWait(NamedTuple):
    """Seconds that the waits of one kind may take together, and the code of the error that the next one is."""

    seconds: float
    code: str


BOUNDED_WAITS = {LOADING: BoundedWait(600.0, "overloaded_error")}
"""By `NodeMustWait.details.kind`. A server that loads its model says so until it has, or for ever."""


class BeganAnew(Exception):
    """The node begins anew within its attempt: a stream that it reads has done so, or it cannot keep its own."""


class SecretsOfRun(Secrets, Protocol):
    """The secrets of one node run; remembers what it revealed, so that errors can be cleaned of it."""

    revealed: set[str]

    async def seal(self, value: str) -> SecretRef: ...


class Attempt:
    """One try of one node.

    Attributes:
        key: Under which the log knows it; its generation rises when a consumed stream begins anew.
        time: How long the node has worked.
        earlier: How the attempts before this one ended.
        restarted: Set when the node has to begin anew: a stream that it reads has done so, or it cannot keep its own.
        on_crash: What to do with an answer of a model that an earlier attempt left unfinished.
        kept: What an earlier attempt has sent to the node's stream, and this one goes on with.
        why_anew: Why this attempt does not go on with what an earlier one has sent, as half a sentence.
        is_open: The log was told that this attempt has begun.
        has_waited: This attempt ended as a wait, which is no failure.
        has_timed_out: It failed because it took all the time there was.
        told: The list that the node's context collects warnings in.
    """

    def __init__(self, call: NodeCall, heartbeat: Heartbeat, services: Services, secrets: SecretsOfRun) -> None:
        self.call = call
        self.key = NodeAttempt(call.run, call.path, (call.base_attempt + activity.info().attempt, 0))
        self.heartbeat = heartbeat
        self.secrets = secrets
        self.earlier = heartbeat.earlier.after(call.counted)
        self.restarted = asyncio.Event()
        self.on_crash: OnCrash = "restart"
        self.kept: KeptStream | None = None
        self.why_anew = ""
        self.told: list[dict[str, str]] = []
        self.fenced = False
        self.is_open = False
        self.has_waited = False
        self.has_timed_out = False
        self.open_number = 0  # of the message that told the log of it
        self._is_renewed = False
        self._renewal: asyncio.TimerHandle | None = None
        self._notice: RetryNotice | None = None
        self._exceeded_s = 0.0  # the limit that it has exceeded
        self._task = asyncio.current_task()
        if self._task is not None:
            self._task.set_name(f"node {call.path!r} of run {call.run}")  # for who finds it at work
        self.time = ActiveTime(call.active_timeout_s, self._exceed_limit)
        self._services = services
        self.services = self.services_with(services.llm) if call.counts_silence else services

    @property
    def models(self) -> Llm:
        """The language models themselves, which nothing of this attempt stands in front of."""
        return self._services.llm

    def services_with(self, llm: Llm) -> Services:
        """The services of this attempt, with these language models."""
        if self.call.counts_silence:
            llm = WatchedLlm(llm, self.time, self.call.active_timeout_s)
        return replace(self._services, llm=llm)

    def next_generation(self) -> None:
        self.key = self.key.next_generation()
        self.restarted.clear()
        self.is_open = False
        self.kept = None
        self.told = []

    def begin_anew(self, why: str) -> BeganAnew:
        """To be raised when the stream of the earlier attempts cannot be gone on with."""
        self.why_anew = why
        return BeganAnew()

    async def restart(self, why: str) -> NoReturn:
        """As `begin_anew`, for what runs inside the node: it is cancelled while it waits here."""
        self.why_anew = why
        self.restarted.set()
        await asyncio.Future()
        raise AssertionError("nobody sets this future")

    @property
    def warnings(self) -> list[dict[str, str]]:
        """What the node has warned of so far, without secrets."""
        return clean_warnings(self.told, self.secrets.revealed)

    def note_masked(self, outputs: Iterable[str]) -> None:
        """Warn of outputs that held a secret. Its author has to know why the value is not what the node gave."""
        for output in dict.fromkeys(outputs):
            what = f"output {output!r} held a secret that was revealed to the node; it was replaced by {MASK}"
            # First, for only so many are kept.
            self.told.insert(0, {"code": "secret_masked", "message": f"{what}. Give the SecretRef on instead."})

    def warn(self, code: str, message: str) -> None:
        """Tell the user of something about this node, beside what the node tells."""
        warning = {"code": code, "message": message}
        if warning not in self.told:
            self.told.append(warning)

    @property
    def number(self) -> int:
        """1 for the first attempt; those that only waited are counted."""
        return self.key.epoch[0]

    @property
    def is_last(self) -> bool:
        """No failure beyond this one is allowed."""
        return self.earlier.failures + 1 >= self.call.max_failures

    def is_last_with(self, error: Exception) -> bool:
        """No further attempt follows one that ends with this error, even if that may pass."""
        code, retryable = code_and_retryable(error, self.call.non_retryable)
        has_timed_out = code in TIMEOUT_CODES and self.earlier.timeouts + 1 >= self.call.max_timeouts
        return self.is_last or has_timed_out or not retryable

    @property
    def is_exhausted(self) -> bool:
        """The attempts before this one have used up what is allowed, though none of them reported a final failure."""
        earlier, call = self.earlier, self.call
        has_failed = earlier.failures >= call.max_failures or earlier.timeouts >= call.max_timeouts
        return has_failed or earlier.deaths >= deaths_allowed(call.max_failures)

    @property
    def is_worker_stopping(self) -> bool:
        details = activity.cancellation_details()
        return details is not None and details.worker_shutdown and not details.cancel_requested

    def note_chunk(self) -> None:
        """A chunk was published: a sign of life."""
        if self.call.counts_silence:
            self.time.restart(self.call.active_timeout_s)

    def start(self) -> None:
        """Hold the node to its limits, from now on."""
        self.time.watch()
        if self.call.stream_inputs and self.call.may_park:
            under_way_s = (datetime.now(UTC) - activity.info().scheduled_time).total_seconds()
            self._renew_in(max(RENEW_AFTER_S - under_way_s, 0.0))

    def stop(self) -> None:
        self.time.stop()
        if self._renewal is not None:
            self._renewal.cancel()

    def _renew_in(self, seconds: float) -> None:
        self._renewal = asyncio.get_running_loop().call_later(seconds, self._renew)

    def _renew(self) -> None:
        if self.time.is_waiting:
            self._is_renewed = True
            self._cancel()
        else:
            self._renew_in(RENEW_AGAIN_S)

    def fence(self) -> None:
        """The log has a newer attempt: stop at once, before another call to a provider."""
        self.fenced = True
        self._cancel()

    def _exceed_limit(self) -> None:
        self._exceeded_s = self.time.limit_s
        # Now, for the server gives up on a node that does not stop when it is cancelled.
        self.heartbeat.count_failure(late=True)
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- ends -----------------------------------------------------------------------------------------------------

    def cancelled(self) -> BaseException:
        """What a cancelled attempt reports: interruption as such, a fence or a stopping worker as a try that waits."""
        if self.fenced:
            return self._again("another attempt of this node is running", "fenced", 0.1)
        if self._exceeded_s:
            return self.failed(NodeTimeout(self._limit))
        if self.is_worker_stopping:
            return self._again("the worker was stopped", "worker_stopped", 0.1)
        if self._is_renewed:
            return self._again("it waits for a stream", "waiting", 1.0, must_park=True)
        return asyncio.CancelledError()

    def must_wait(self, wait: NodeMustWait) -> ApplicationError:
        delay = delay_of(wait.delay_s)
        delay_s = DEFAULT_WAIT_S if delay is None else max(delay.total_seconds(), 0.01)
        details = self._details(wait)
        kind = str(details.get("kind", ""))
        bound = BOUNDED_WAITS.get(kind)
        if bound is not None:
            left_s = bound.seconds - self.earlier.waited.get(kind, 0.0)
            if left_s <= 0:
                return self.failed(_waited_enough(wait, bound))
            delay_s = min(delay_s, left_s)
        elif "limit" not in details:  # a limit of ours has spread the nodes already
            delay_s = spread_s(delay_s, random.random())
        message = message_of(wait.message, self.secrets.revealed)
        return self._again(message, error_code(wait.code), delay_s, kind=kind if bound else "", details=details)

    def failed(self, error: Exception) -> ApplicationError:
        if isinstance(error, BudgetReached) and self.call.may_park:
            return self._out_of_budget(error)
        if not self._exceeded_s:
            log_fault(error, run=self.call.run, node=self.call.path, attempt=self.number, secrets=self.secrets.revealed)
        else:  # a node may turn the cancellation at its limit into an error of its own
            error = NodeTimeout(self._limit)
        self.has_timed_out = code_and_retryable(error)[0] in TIMEOUT_CODES
        earlier = self.earlier
        # From its own random numbers: those of the node are the same in each of its attempts.
        delay_s = retry_delay_s(error, activity.info().retry_policy, earlier.failures, random.random())
        found = failure(
            error,
            attempt=self.number,
            last=self.is_last_with(error),
            non_retryable=self.call.non_retryable,
            secrets=self.secrets.revealed,
            delay_s=delay_s,
        )
        if found.non_retryable:
            return found
        reason = f"failure {earlier.failures + 1} of {self.call.max_failures} ({found.type})"
        return self._delayed(found, delay_s, "retry", earlier.with_failure(timed_out=self.has_timed_out), reason)

    def _out_of_budget(self, error: BudgetReached) -> ApplicationError:
        self.has_waited = True
        message = message_of(error.message, self.secrets.revealed)
        parked = {"counted": self.earlier.counted()}
        told = {"attempt": self.number, "retryable": False, "details": self._details(error), "parked": parked}
        return ApplicationError(
            message, told, type=BUDGET_REACHED, non_retryable=True, category=ApplicationErrorCategory.BENIGN
        )

    def _delayed(
        self,
        found: ApplicationError,
        delay_s: float,
        kind: RetryKind,
        counted: EarlierAttempts,
        reason: str,
        *,
        must_park: bool = False,
    ) -> ApplicationError:
        """What a failure is reported as that another attempt follows after `delay_s`, and the notice of it.

        `counted`: how the attempts have ended, this one included.
        """
        retry_at = iso(datetime.now(UTC) + timedelta(seconds=delay_s))
        info: dict[str, Any] = dict(found.details[0])
        code, details = found.type or "node_failed", info.get("details") or {}
        is_parked = self.call.may_park and (must_park or delay_s > PARK_AFTER_S)
        self._notice = RetryNotice(
            code, found.message, retry_at, kind, reason[:MAX_REASON_CHARS], details, parked=is_parked
        )
        if not is_parked:
            return found
        parked = {"code": code, "delayS": delay_s, "retryAt": retry_at, "kind": kind, "reason": self._notice.reason}
        return ApplicationError(
            found.message,
            {**info, "attempt": self.number, "parked": {**parked, "counted": counted.counted()}},
            type=NODE_PARKED,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        )

    def _details(self, error: NodeError) -> dict[str, Any]:
        details: dict[str, Any] = redact(json_details(error.details) if error.details else {}, self.secrets.revealed)
        return details

    @property
    def _limit(self) -> str:
        limit_s = self._exceeded_s or self.call.active_timeout_s
        if self.call.counts_silence:
            return f"node {self.call.path!r} gave no sign of life for more than {limit_s:g} s"
        return f"node {self.call.path!r} worked for more than {limit_s:g} s"

    def exhausted(self) -> ApplicationError:
        """Nothing is left, and the last attempt reported no error: else it would have been final."""
        code, message = self._why_exhausted()
        details = {"attempt": self.number - 1, "retryable": False}
        return ApplicationError(message, details, type=code, non_retryable=True)

    def _why_exhausted(self) -> tuple[str, str]:
        earlier, node = self.earlier, f"node {self.call.path!r}"
        if earlier.failures < self.call.max_failures and earlier.timeouts < self.call.max_timeouts:
            died = f"{_times(earlier.deaths, 'time')} the worker that ran it died or stood still for too long"
            return "worker_died", f"{node} is not tried again: {died}"
        if earlier.exceeded_limit:
            return "timeout", f"{self._limit} and did not stop when it was cancelled"
        tried = f"{node} is not tried again after {_times(earlier.failures, 'failed attempt')}"
        return "attempts_exhausted", f"{tried}: the worker died before it could report the last error"

    def notice(self, found: BaseException) -> RetryNotice | None:
        """What to tell the log of this end of the attempt: that another attempt follows, why and when.

        None of what it does not know, or must not hear: an end that is final, an attempt that never began there, and
        one that a newer attempt has replaced.
        """
        return self._notice if self.is_open and not self.fenced and isinstance(found, ApplicationError) else None

    def _again(
        self,
        message: str,
        code: str,
        delay_s: float,
        *,
        kind: str = "",
        details: Mapping[str, Any] | None = None,
        must_park: bool = False,
    ) -> ApplicationError:
        """A failure that is none: tried again after `delay_s` and counted as a wait, one of a `kind` with its time."""
        self.has_waited = True
        self.heartbeat.count_wait(kind, delay_s)
        told: dict[str, Any] = {"retryable": True, **({"details": details} if details else {})}
        found = ApplicationError(
            message,
            told,
            type=code,
            next_retry_delay=timedelta(seconds=delay_s),
            category=ApplicationErrorCategory.BENIGN,
        )
        reason = str((details or {}).get("reason") or message)
        counted = self.earlier.with_wait(kind, delay_s)
        return self._delayed(found, delay_s, "wait", counted, reason, must_park=must_park)


def _waited_enough(wait: NodeMustWait, bound: BoundedWait) -> NodeError:
    message = f"{wait.message}; that was waited for {bound.seconds / 60:g} minutes"
    return NodeError(message, code=bound.code, details=wait.details, retryable=False)


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
