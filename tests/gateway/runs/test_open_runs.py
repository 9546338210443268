"""Which open runs hold a place, by their events."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.gateway.events.fence import RunLogState, fold
from innkeeper.gateway.runs.open_runs import OpenRuns, is_idle

Json = dict[str, Any]


def event(type: str, path: str = "a", **payload: Any) -> Json:
    internal = {"e": (1, 0)} if type in ("NODE_EXECUTING", "NODE_RETRY") else {}
    return {"seq": 1, "ts": 1, "type": type, "payload": {"promptId": "r", "nodeId": path, **payload}, **internal}


def status(value: str) -> Json:
    return {"seq": 1, "ts": 1, "type": "EXECUTION_STATUS_UPDATE", "payload": {"promptId": "r", "status": value}}


def waits(kind: str, path: str = "a") -> Json:
    return event("APPROVAL_REQUIRED" if kind == "approval" else "NODE_WAITING", path, kind=kind, until=None)


QUEUED, RUNNING, PAUSED = status("queued"), status("running"), status("paused")
BEGINS, ENDS = event("NODE_EXECUTING"), event("NODE_COMPLETE", output={})
OTHER_BEGINS, OTHER_ENDS = event("NODE_EXECUTING", "b"), event("NODE_COMPLETE", "b", output={})
RATE_LIMITED = event("NODE_RETRY", kind="wait", code="rate_limited", message="", retryAt="")


def parked(kind: str) -> Json:
    return event("NODE_RETRY", kind=kind, code="rate_limited", message="", retryAt="", parked=True)


@pytest.mark.parametrize(
    ("events", "idle"),
    [
        ([RUNNING], False),  # its first node has not been heard of yet
        ([RUNNING, BEGINS], False),
        *(([RUNNING, waits(kind)], True) for kind in ("approval", "event", "delay", "until")),
        ([RUNNING, waits("approval"), OTHER_BEGINS], False),
        ([RUNNING, waits("approval"), OTHER_BEGINS, OTHER_ENDS], True),
        ([RUNNING, waits("approval"), event("APPROVAL_ANSWERED", answer={})], False),
        ([RUNNING, waits("delay"), ENDS], False),  # what follows has not been heard of yet
        ([RUNNING, BEGINS, RATE_LIMITED], False),
        *(([RUNNING, BEGINS, parked(kind)], True) for kind in ("wait", "retry")),
        ([RUNNING, BEGINS, event("BUDGET_REACHED", kind="budget", until=None)], True),
        ([RUNNING, BEGINS, PAUSED], False),
        ([RUNNING, BEGINS, PAUSED, ENDS], True),
        ([RUNNING, PAUSED, status("running")], False),
        ([RUNNING, waits("event"), status("interrupting")], False),
        ([RUNNING, waits("event"), status("interrupted")], False),
        ([RUNNING, event("NODE_EXECUTING", "g"), event("NODE_EXECUTING", "g/b"), waits("event", "g/b")], True),
    ],
)
def test_idle_is_what_needs_nothing_of_this_system(events: list[Json], idle: bool) -> None:
    assert is_idle(fold(events)) is idle


class Followed:
    """Open runs whose events a test commits one after the other; Temporal has the run `r`, unless it is queued."""

    def __init__(self, *, is_queued: bool = False) -> None:
        self.states: dict[str, RunLogState] = {}
        self.freed = 0
        self.open = OpenRuns(self.states.get, self._free)
        if not is_queued:
            self.open.started("r", None)

    def _free(self) -> None:
        self.freed += 1

    def commit(self, *events: Json) -> None:
        state = self.states.setdefault("r", RunLogState())
        for each in events:
            state.apply(each)
        self.open.observe(events)


def test_each_change_is_counted_once_and_a_freed_place_is_told() -> None:
    runs = Followed()
    seen = []
    for each in (RUNNING, waits("approval"), waits("approval", "b"), event("APPROVAL_ANSWERED", answer={}), ENDS):
        runs.commit(each)
        seen.append((runs.open.idle, runs.freed))
    assert seen == [(0, 0), (1, 1), (1, 1), (0, 1), (1, 2)]
    runs.commit(status("interrupted"))
    assert (runs.open.idle, runs.open.known()) == (0, [])


def test_run_that_is_being_closed_holds_its_place_until_the_index_says_it_ended() -> None:
    """Else it would be taken off twice, and one run too many would start."""
    runs = Followed()
    runs.commit(RUNNING, waits("event"))
    runs.open.closing("r")
    assert runs.open.idle == 0
    runs.commit(waits("event", "late"))
    assert runs.open.idle == 0


def test_run_of_an_earlier_process_counts_once_its_log_is_read_and_newer_events_win() -> None:
    runs = Followed(is_queued=True)
    runs.open.started("r", fold([RUNNING, waits("until")]))
    assert (runs.open.idle, runs.freed) == (1, 1)
    other = Followed(is_queued=True)
    other.commit(RUNNING, BEGINS)
    other.open.started("r", fold([RUNNING, waits("until")]))
    assert other.open.idle == 0


def test_run_that_is_paused_in_the_queue_has_no_place_to_give_back() -> None:
    runs = Followed(is_queued=True)
    runs.commit(QUEUED, PAUSED)
    assert (runs.open.idle, runs.freed, runs.open.known()) == (0, 0, [])
    runs.open.started("r", None)
    assert (runs.open.idle, runs.freed, runs.open.known()) == (1, 1, ["r"])


def test_run_that_temporal_has_no_work_for_holds_no_place_until_it_is_heard_of() -> None:
    runs = Followed()
    runs.commit(RUNNING, BEGINS)
    runs.open.found_without_work("r")
    assert (runs.open.idle, runs.freed) == (1, 1)
    runs.commit(OTHER_BEGINS)
    assert runs.open.idle == 0
    runs.open.closing("r")
    runs.open.found_without_work("r")
    assert runs.open.idle == 0
