"""The Temporal workflow that sends one message about a run until its receiver takes it, for a day at most.

Its memo says how far it is: that can be read without a worker, and for as long as Temporal keeps the workflow.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.exceptions import TimeoutError as ActivityTimeout

from innkeeper.nodes.call import SEND_CALLBACK, CallbackAnswer, CallbackCall
from innkeeper.workflows.engine.signature_check import start_refusal

CALLBACK_QUEUE = "callbacks"
"""Behind the workflow's own queue: receivers that hang must not take the places of nodes."""
MEMO = "delivery"
GIVE_UP_AFTER_S = 86_400.0
FIRST_PAUSE_S = 5.0
PAUSE_GROWTH = 3.0
MAX_PAUSE_S = 4 * 3_600.0
MAX_RETRY_AFTER_S = 4 * 3_600.0
"""A receiver may ask for this long a pause, and no longer."""
JITTER = 0.2
"""Share of a pause by which it is longer or shorter: receivers that come back are not asked by all at once."""
ATTEMPT_S = 40.0
"""An activity that says nothing for so long died with its worker."""
GONE = 410
BUSY = (429, 503)


@dataclass(frozen=True)
class Delivery:
    """How far a message is. Times in seconds since 1970.

    Attributes:
        status: `pending`, `delivered`, `failed`, or `stopped`: its receiver wants no more.
        last_status: HTTP status of the last answer.
        last_error: Why the last attempt did not deliver it.
    """

    status: str = "pending"
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    next_attempt_at: float | None = None
    delivered_at: float | None = None

    @property
    def is_over(self) -> bool:
        return self.status != "pending"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Clock:
    """When something happened, in seconds since 1970, and a random number from -1 to 1."""

    began: float
    now: float
    jitter: float = 0.0


def after_attempt(attempts: int, answer: CallbackAnswer, clock: Clock) -> Delivery:
    """How far a message is when an attempt has ended; `attempts` counts this one."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Delivery("delivered", attempts, answer.status, delivered_at=clock.now)
    reason = answer.error or f"the receiver answered {answer.status}"
    if answer.status == GONE:
        return Delivery("stopped", attempts, GONE, f"{reason}: it wants no more messages")
    if answer.status is not None and 300 <= answer.status < 400:
        reason += "; redirects are not followed"
    if answer.is_final:
        return Delivery("failed", attempts, answer.status, reason)
    following = clock.now + pause_s(attempts, answer, clock.jitter)
    if following > clock.began + GIVE_UP_AFTER_S:
        count = f"{attempts} attempt{'s' if attempts > 1 else ''}"
        return Delivery("failed", attempts, answer.status, f"{reason}; given up after {count}")
    return Delivery("pending", attempts, answer.status, reason, next_attempt_at=following)


def pause_s(attempts: int, answer: CallbackAnswer, jitter: float) -> float:
    """Seconds until the next attempt: never sooner than a busy receiver asks."""
    growth = min(PAUSE_GROWTH ** min(attempts - 1, 20), MAX_PAUSE_S / FIRST_PAUSE_S)
    pause = FIRST_PAUSE_S * growth * (1 + JITTER * jitter)
    asked = answer.retry_after_s if answer.status in BUSY and answer.retry_after_s is not None else 0.0
    return max(pause, min(asked, MAX_RETRY_AFTER_S))


@workflow.defn(name="CallbackWorkflow", sandboxed=False)
class CallbackWorkflow:
    """Sends one message. Returns a `Delivery` as an object."""

    @workflow.init
    def __init__(self, body: bytes, call: CallbackCall) -> None:
        self._refusal = start_refusal(body, call)
        self._is_asked = False

    @workflow.run
    async def run(self, body: bytes, call: CallbackCall) -> dict[str, Any]:
        if self._refusal is not None:
            raise self._refusal
        began, attempts = workflow.time(), 0
        while True:
            attempts += 1
            answer = await self._attempt(body.decode(), call, began + GIVE_UP_AFTER_S - workflow.time())
            clock = Clock(began, workflow.time(), workflow.random().uniform(-1, 1))
            delivery = after_attempt(attempts, answer, clock)
            workflow.upsert_memo({MEMO: delivery.to_json()})
            if delivery.next_attempt_at is None:
                return delivery.to_json()
            await self._pause(delivery.next_attempt_at - clock.now)

    @workflow.signal
    def send_now(self) -> None:
        """Do not wait for the next attempt."""
        self._is_asked = True

    async def _attempt(self, body: str, call: CallbackCall, left_s: float) -> CallbackAnswer:
        try:
            answer: CallbackAnswer = await workflow.execute_activity(
                SEND_CALLBACK,
                args=[body, call],
                result_type=CallbackAnswer,
                task_queue=f"{workflow.info().task_queue}.{CALLBACK_QUEUE}",
                start_to_close_timeout=timedelta(seconds=ATTEMPT_S),
                schedule_to_close_timeout=timedelta(seconds=max(left_s, ATTEMPT_S)),
                # It raises nothing for what receivers do: this is for the death of its worker.
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60)),
            )
            return answer
        except ActivityError as error:
            is_late = isinstance(error.cause, ActivityTimeout)
            reason = "no worker sent it in time" if is_late else "a worker could not send it; its log says why"
            return CallbackAnswer(error=reason, is_final=True)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._is_asked, timeout=timedelta(seconds=seconds))
        self._is_asked = False
