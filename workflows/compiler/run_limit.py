"""Waits that are longer than a run may take, where the operator has set a limit for runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from innkeeper.nodes.errors import Problem
from innkeeper.workflows.document.times import moment_of, seconds_of
from innkeeper.workflows.plan import PlannedNode, RunPlan, SlotKey

CODE = "wait_beyond_run_limit"


def waits_beyond(plan: RunPlan, limit_s: float, now: float) -> list[Problem]:
    """An error for each wait that cannot end in time, a warning for each whose own limit is never reached.

    Only what is typed is known before a run. What an edge brings counts when it is there.

    Args:
        limit_s: Seconds that a run may take.
        now: Seconds since 1970.
    """
    plans = [plan, *(RunPlan.decode(plan.group_bytes(group)) for group in plan.groups)]
    found = [problem for one in plans for node in one.nodes for problem in _problems(node, limit_s, now)]
    return list(dict.fromkeys(found))


def _problems(node: PlannedNode, limit_s: float, now: float) -> Iterator[Problem]:
    if node.bypass is not None:
        return
    end = f"the run is ended after {limit_s:g} s (INNKEEPER_RUN_TIMEOUT_S)"
    if node.type in _SPANS:
        slot, seconds = _SPANS[node.type]
        waits = _typed(node, slot, lambda value: seconds(value, now))
        if waits is not None and waits > limit_s:
            message = f"node {node.id!r} waits for {waits:.0f} s, but {end}; shorten the wait"
            yield Problem(CODE, message, node=node.id, slot=slot)
    elif node.type in _OPEN_ENDED:
        given = node.config.get("timeoutSeconds")
        waits = _read(seconds_of, given) if given not in (None, "", 0) else None
        if given in (None, "", 0) or (waits is not None and waits > limit_s):
            waiting = f"waits for {waits:.0f} s" if waits else "waits without a limit of its own"
            message = f"node {node.id!r} {waiting}, but {end}; give it a shorter 'timeoutSeconds' to go on without it"
            yield Problem(CODE, message, level="warning", node=node.id, slot="timeoutSeconds")


def _until(value: Any, now: float) -> float:
    return moment_of(value) - now


_SPANS: dict[str, tuple[str, Callable[[Any, float], float]]] = {
    "core:Delay": ("seconds", lambda value, now: seconds_of(value)),
    "core:WaitUntil": ("time", _until),
}
"""Node type to the slot that says how long it waits, and how to read it."""
_OPEN_ENDED = frozenset({"core:Approval", "core:WaitForEvent"})


def _typed(node: PlannedNode, slot: str, read: Callable[[Any], float]) -> float | None:
    planned = node.inputs.get(SlotKey(slot))
    return _read(read, planned.value) if planned is not None and planned.has_value and not planned.feeds else None


def _read(read: Callable[[Any], float], value: Any) -> float | None:
    try:
        return read(value)
    except ValueError:  # there is a problem for that already, or the node says it
        return None
