"""Which channel is asked next when one fails, and what is told when all have: pure decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.errors import InnkeeperError, NodeMustWait, ProviderError, RequestRefused, ResourceError
from innkeeper.nodes.node import Route
from innkeeper.nodes.services.llm.breaker import Refusal, Verdict
from innkeeper.nodes.services.llm.errors import has_reached_nobody
from innkeeper.nodes.services.llm.messages import UNSUPPORTED_PART

MAX_ASKED = 5
"""Routes that one call asks at most."""
MAX_LOST = 1
"""After so many requests that may have been paid for nothing, one more is asked and no further one."""
MAX_TOLD = 12
MAX_MESSAGE_CHARS = 500
AGAIN_S = 30.0
WAITED_OPENINGS = 3
"""A short outage is waited out. Of one that outlasts so many cool-downs the node is told, or it would wait for ever."""
CIRCUIT_OPEN = "circuit_open"
_OF_ONE_CHANNEL = frozenset(
    {"authentication_error", "billing_error", "permission_error", "not_found_error", "bad_answer"}
)
_MAYBE_PAID = frozenset({"timeout_error", "bad_answer", "connection_error"})


def another_may_answer(error: InnkeeperError) -> bool:
    """Is it the fault of this channel, so that another one may well answer the same request?

    Busy and broken ones always are. So are a key that is missing, wrong or empty of money, an address that is refused,
    a model that is not there, and an answer that is no chat completion: the operator has one channel set up wrongly,
    which is no reason to fail a request that others can answer. Nor is code of a plugin that fails, or a part of a
    message that one protocol has no form for. A request that is wrong or too long, or that a content filter refuses,
    would be so elsewhere.
    """
    if error.code == UNSUPPORTED_PART or "adapter" in error.details:
        return True
    if isinstance(error, NodeMustWait | RequestRefused):
        return True
    if isinstance(error, ResourceError):
        return error.code.startswith("secret_")
    return isinstance(error, ProviderError) and (error.retryable or error.code in _OF_ONE_CHANNEL)


def may_have_been_paid(error: InnkeeperError) -> bool:
    """Can the provider have worked on the request, and charge for it, though nothing came of it?"""
    if not isinstance(error, ProviderError) or error.code not in _MAYBE_PAID:
        return False
    return not has_reached_nobody(error)


SUCCEEDED: tuple[Verdict, Verdict] = ("succeeded", "succeeded")
UNKNOWN: tuple[Verdict, Verdict] = ("none", "none")


def verdicts_on(error: BaseException) -> tuple[Verdict, Verdict]:
    """What an error tells of the health of a channel, and of the model on it."""
    if isinstance(error, NodeMustWait):
        return "answered", "answered"
    if not isinstance(error, ProviderError):  # cancelled, refused by us, or a fault of ours
        return UNKNOWN
    if error.code == "connection_error" or has_reached_nobody(error):
        return "failed", "none"
    if not error.retryable or error.code == "rate_limit_error":
        return "answered", "answered"
    # The server is there; it is this model that fails. After a time-out even the first is not known.
    return "none" if error.code == "timeout_error" else "answered", "failed"


@dataclass(frozen=True)
class _Failure:
    route: Route
    error: InnkeeperError


class Tries:
    """The routes of one call that did not answer.

    Attributes:
        told: `{channel, model, code, message}` of each, the first `MAX_TOLD`.
    """

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self._failures: list[_Failure] = []
        self._lost = 0
        self._refusals: list[tuple[Route, Refusal]] = []

    @property
    def may_go_on(self) -> bool:
        """May one more route be asked?"""
        return len(self._failures) < MAX_ASKED and self._lost <= MAX_LOST

    def note(self, route: Route, error: InnkeeperError) -> bool:
        """It was asked in vain. Gives whether another one may be asked for the same."""
        self._failures.append(_Failure(route, error))
        self._add(route, error.code, error.message)
        self._lost += may_have_been_paid(error)
        return another_may_answer(error)

    def skip(self, route: Route, refusal: Refusal) -> None:
        """It is not asked, because it kept failing."""
        self._refusals.append((route, refusal))
        self._add(route, CIRCUIT_OPEN, _skipped(route, refusal))

    def tell(self, error: InnkeeperError) -> InnkeeperError:
        """The error, whose details say what was tried."""
        error.details = {**error.details, "tried": list(self.told)}
        return error

    def conclusion(self) -> InnkeeperError:
        """The error that helps most when none answered: the shortest wait, else the last that may pass, else the last.

        A wait is at most `AGAIN_S` when another channel merely failed: that one may be back before.
        """
        waits = [failure.error for failure in self._failures if isinstance(failure.error, NodeMustWait)]
        waits += [wait_for(route, refusal) for route, refusal in self._refusals if refusal.openings <= WAITED_OPENINGS]
        passing = [failure.error for failure in self._failures if getattr(failure.error, "retryable", False)]
        failed = [error for error in passing if not isinstance(error, NodeMustWait)]
        if waits:
            shortest = min(waits, key=lambda wait: wait.delay_s)
            delay_s = min(shortest.delay_s, AGAIN_S) if failed else shortest.delay_s
            return self.tell(NodeMustWait(shortest.message, delay_s=delay_s, details=shortest.details))
        if failed:
            return self.tell(failed[-1])
        if self._refusals:
            return self.tell(_known_failure(*min(self._refusals, key=lambda pair: pair[1].wait_s)))
        return self.tell(self._failures[-1].error)

    def _add(self, route: Route, code: str, message: str) -> None:
        if len(self.told) < MAX_TOLD:
            cut = message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 1] + "\u2026"
            self.told.append({"channel": route.channel_id, "model": route.model_id, "code": code, "message": cut})


def _skipped(route: Route, refusal: Refusal) -> str:
    last = refusal.code or "no answer"
    return (
        f"the channel {route.channel_id!r} keeps failing with {route.model_id!r} (last: {last}); it is asked again in "
        f"{refusal.wait_s:.0f} s"
    )


def wait_for(route: Route, refusal: Refusal) -> NodeMustWait:
    """The wait for a channel that keeps failing."""
    details = {"reason": CIRCUIT_OPEN, "limit": f"health of channel {route.channel_id}"}
    return NodeMustWait(_skipped(route, refusal), delay_s=refusal.wait_s, details=details)


def _known_failure(route: Route, refusal: Refusal) -> ProviderError:
    return ProviderError(
        _skipped(route, refusal),
        code=refusal.code or "connection_error",
        retryable=True,
        retry_after=refusal.wait_s,
        details={"reason": CIRCUIT_OPEN},
    )
