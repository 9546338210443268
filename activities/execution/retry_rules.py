"""Which failures of a node are tried again, after how long, and how often.

One rule: every exception is tried again, unless it says that this will not help (`InnkeeperError.retryable`) or the
node's `retry` names it. A bug in a node costs a few further attempts so; a list of types that look like bugs would end
runs for good that the next attempt saves: an answer of a model that is no JSON is a ValueError, too.

The counts that a user sets (`retry`) come with the plan; how long the server waits in between is the activity's policy
(`workflows/engine/node_runs.py`), unless the failure names a time of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from innkeeper.activities.sanitize import error_code, finite_number
from innkeeper.nodes.errors import InnkeeperError

MAX_DELAY_S = 31_536_000.0
"""What a node may ask to wait before it is tried again: a year. Temporal refuses what does not fit its own numbers."""
DEATHS_PER_FAILURE = 2


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


def deaths_allowed(max_failures: int) -> int:
    """How often a node may be run again after its worker died: mostly the fault of another node in that worker.

    A node that may be tried only once is never begun twice.
    """
    return 1 if max_failures <= 1 else DEATHS_PER_FAILURE * max_failures
