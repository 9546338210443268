"""Which failures of a node are tried again, after how long, and how often.

One rule: every exception is tried again, unless it says that this will not help (`InnkeeperError.retryable`) or the
node's `retry` names it. A bug in a node costs a few further attempts so; a list of types that look like bugs would end
runs for good that the next attempt saves: an answer of a model that is no JSON is a ValueError, too.

The counts that a user sets (`retry`) come with the plan. How long the server waits in between comes with the failure:
anything up to a bound that grows with the failures (full jitter), so that nodes that failed together do not come back
together. What a provider asks to wait is waited, and a little more. Only after an attempt that ended without a word the
activity's own policy counts (`workflows/engine/node_runs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio.common import RetryPolicy

from innkeeper.activities.sanitize import error_code, finite_number
from innkeeper.nodes.errors import InnkeeperError, ProviderError

MAX_DELAY_S = 31_536_000.0
"""What a node may ask to wait before it is tried again: a year. Temporal refuses what does not fit its own numbers."""
LEAST_DELAY_S = 0.05
JITTER_SHARE = 0.25
MAX_JITTER_S = 10.0
"""How much longer than asked a node waits at most: that share of it, and never more than so many seconds."""
DEATHS_PER_FAILURE = 2
TIMEOUT_CODES = frozenset({"timeout", "timeout_error"})
"""Of failures that took all the time there was, and may have been paid for: `NodeCall.max_timeouts` bounds them."""


def code_and_retryable(error: Exception, non_retryable: Iterable[str] = ()) -> tuple[str, bool]:
    """The code of a failure, and whether it may pass.

    Args:
        non_retryable: Codes, or names of exception classes (and so of those derived from them), that the author or the
            user does not want tried again.
    """
    code, retryable = "node_failed", True
    if isinstance(error, InnkeeperError):
        code, retryable = error_code(error.code), bool(error.retryable)
    names = {code, *(kind.__name__ for kind in type(error).__mro__)}
    return code, retryable and names.isdisjoint(non_retryable)


def delay_of(seconds: object) -> timedelta | None:
    """How long a node asks to be left alone; None for what is no time span."""
    number = finite_number(seconds)
    return None if number is None or number < 0 else timedelta(seconds=min(number, MAX_DELAY_S))


def retry_delay_s(error: Exception, policy: RetryPolicy | None, failures: int, draw: float) -> float:
    """How long to wait after a failure, in seconds.

    Args:
        policy: Gives the first bound, its growth and its end.
        failures: How many there were before this one.
        draw: A random number from 0 to 1.
    """
    asked = delay_of(error.retry_after) if isinstance(error, ProviderError) else None
    if asked is not None:
        return spread_s(asked.total_seconds(), draw)
    return max(LEAST_DELAY_S, draw * _bound_s(policy or RetryPolicy(), failures))


def spread_s(asked_s: float, draw: float) -> float:
    """A little more than what was asked: those who were asked the same must not come at one moment."""
    return min(asked_s + draw * min(JITTER_SHARE * asked_s, MAX_JITTER_S), MAX_DELAY_S)


def _bound_s(policy: RetryPolicy, failures: int) -> float:
    first_s = policy.initial_interval.total_seconds()
    longest_s = policy.maximum_interval.total_seconds() if policy.maximum_interval else 100 * first_s
    try:
        return float(min(first_s * policy.backoff_coefficient**failures, longest_s))
    except OverflowError:  # after a thousand failures
        return longest_s


def deaths_allowed(max_failures: int) -> int:
    """How often a node may be run again after its worker died: mostly the fault of another node in that worker.

    A node that may be tried only once is never begun twice.
    """
    return 1 if max_failures <= 1 else DEATHS_PER_FAILURE * max_failures
