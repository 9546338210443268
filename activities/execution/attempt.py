"""One try of one node, and what it reports when it ends otherwise than by a result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from innkeeper.activities.execution.active_time import ActiveTime
from innkeeper.activities.execution.errors import clean_warnings, failure, log_fault, message_of
from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.activities.execution.retry_rules import deaths_allowed, delay_of
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.retry_notice import RetryKind, RetryNotice, notice_of
from innkeeper.activities.sanitize import error_code
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.errors import NodeMustWait, NodeTimeout
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import SecretRef, Secrets, Services
from innkeeper.nodes.services.llm.salvage import OnCrash
from innkeeper.nodes.services.masking import MASK

DEFAULT_WAIT_S = 1.0
"""Of a node that must wait and names no time span."""


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
        told: The list that the node's context collects warnings in.
    """

    def __init__(self, call: NodeCall, heartbeat: Heartbeat, services: Services, secrets: SecretsOfRun) -> None:
        self.call = call
        self.key = NodeAttempt(call.run, call.path, (call.base_attempt + activity.info().attempt, 0))
        self.heartbeat = heartbeat
        self.services = services
        self.secrets = secrets
        self.earlier = heartbeat.earlier
        self.restarted = asyncio.Event()
        self.on_crash: OnCrash = "restart"
        self.kept: KeptStream | None = None
        self.why_anew = ""
        self.told: list[dict[str, str]] = []
        self.fenced = False
        self.is_open = False
        self.has_waited = False
        self._is_late = False
        self._task = asyncio.current_task()
        if self._task is not None:
            self._task.set_name(f"node {call.path!r} of run {call.run}")  # for who finds it at work
        self.time = ActiveTime(call.active_timeout_s, self._exceed_limit)

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

    @property
    def is_exhausted(self) -> bool:
        """The attempts before this one have used up what is allowed, though none of them reported a final failure."""
        earlier = self.earlier
        return earlier.failures >= self.call.max_failures or earlier.deaths >= deaths_allowed(self.call.max_failures)

    @property
    def is_worker_stopping(self) -> bool:
        details = activity.cancellation_details()
        return details is not None and details.worker_shutdown and not details.cancel_requested

    def fence(self) -> None:
        """The log has a newer attempt: stop at once, before another call to a provider."""
        self.fenced = True
        self._cancel()

    def _exceed_limit(self) -> None:
        self._is_late = True
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
        if self._is_late:
            return self.failed(NodeTimeout(self._limit))
        if self.is_worker_stopping:
            return self._again("the worker was stopped", "worker_stopped", 0.1)
        return asyncio.CancelledError()

    def must_wait(self, wait: NodeMustWait) -> ApplicationError:
        delay = delay_of(wait.delay_s)
        delay_s = DEFAULT_WAIT_S if delay is None else max(delay.total_seconds(), 0.01)
        return self._again(message_of(wait.message, self.secrets.revealed), error_code(wait.code), delay_s)

    def failed(self, error: Exception) -> ApplicationError:
        if not self._is_late:
            log_fault(error, run=self.call.run, node=self.call.path, attempt=self.number, secrets=self.secrets.revealed)
        # A node may turn the cancellation at its limit into an error of its own.
        return failure(
            NodeTimeout(self._limit) if self._is_late else error,
            attempt=self.number,
            last=self.is_last,
            non_retryable=self.call.non_retryable,
            secrets=self.secrets.revealed,
        )

    @property
    def _limit(self) -> str:
        return f"node {self.call.path!r} worked for more than {self.call.active_timeout_s:g} s"

    def exhausted(self) -> ApplicationError:
        """Nothing is left, and the last attempt reported no error: else it would have been final."""
        code, message = self._why_exhausted()
        details = {"attempt": self.number - 1, "retryable": False}
        return ApplicationError(message, details, type=code, non_retryable=True)

    def _why_exhausted(self) -> tuple[str, str]:
        earlier, node = self.earlier, f"node {self.call.path!r}"
        if earlier.failures < self.call.max_failures:
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
        if not self.is_open or self.fenced or not isinstance(found, ApplicationError):
            return None
        info = activity.info()
        kind: RetryKind = "wait" if self.has_waited else "retry"
        return notice_of(found, kind, attempt=info.attempt, policy=info.retry_policy, now=datetime.now(UTC))

    def _again(self, message: str, code: str, delay_s: float) -> ApplicationError:
        """A failure that is none: tried again after `delay_s` and counted as a wait."""
        self.has_waited = True
        self.heartbeat.count_wait()
        return ApplicationError(
            message,
            {"retryable": True},
            type=code,
            next_retry_delay=timedelta(seconds=delay_s),
            category=ApplicationErrorCategory.BENIGN,
        )


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
