"""What chaos looks for is found: each thing that may not be, put into the evidence of a run that went well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.crash.chaos.checks import Evidence, Execution, LogView, complaints
from tests.crash.chaos.kinds import Plan
from tests.crash.chaos.storm import Told
from tests.crash.chaos.viewers import StreamViewer

Json = dict[str, Any]
WORDS = ("one ", "two ")


def events(*, without: tuple[int, ...] = ()) -> list[Json]:
    """The log of a run whose node streams two words; each event is 100 ms after the last."""
    chunks = [
        ("NODE_YIELD", {"sourceNodeId": "a", "yieldedContent": {"type": "text_chunk", "content": word}, "index": index})
        for index, word in enumerate(WORDS)
        if index not in without
    ]
    told = [
        ("EXECUTION_STATUS_UPDATE", {"status": "running"}),
        ("NODE_EXECUTING", {"nodeId": "a", "attempt": 2}),
        *chunks,
        ("NODE_COMPLETE", {"nodeId": "a", "attempt": 2}),
        ("EXECUTION_STATUS_UPDATE", {"status": "complete"}),
    ]
    return [
        {"seq": seq, "ts": 1000 + 100 * seq, "type": kind, "payload": payload}
        for seq, (kind, payload) in enumerate(told, 1)
    ]


def good() -> Evidence:
    """A run without a fault: one node, begun a second time because its first worker died."""
    told = Told(Plan("kind", {}, outputs={"all": 1}, streams={"a": "one two "}, ends={"a": "complete"}), "r")
    log, viewer = LogView(), StreamViewer()
    for event in events():
        log.apply(event)
        viewer.apply(event)
    told.viewers.append(viewer)
    status = {"status": "complete", "outputs": {"all": 1}, "nodeStatus": {"a": {"status": "complete"}}}
    lines = [Execution("r", "a", attempt, attempt, 1150) for attempt in (1, 2)]
    return Evidence(told, log, status, {"status": "complete"}, {"a": {"status": "complete"}}, lines)


def lost_chunk(seen: Evidence) -> None:
    seen.log.chunks["a"].pop()


def blind_viewer(seen: Evidence) -> None:
    seen.told.viewers[0] = StreamViewer()
    for event in events(without=(1,)):
        seen.told.viewers[0].apply(event)


def second_end(seen: Evidence) -> None:
    seen.log.terminal["a"] += 1


def second_answer(seen: Evidence) -> None:
    seen.log.answers["a"] = 2


def no_end(seen: Evidence) -> None:
    seen.log.executing["b"] += 1


def other_history(seen: Evidence) -> None:
    seen.nodes["a"] = {"status": "error"}


def node_of_history_alone(seen: Evidence) -> None:
    seen.nodes["b"] = {"status": "complete"}


def other_result(seen: Evidence) -> None:
    seen.status["nodeStatus"]["b"] = {"status": "complete"}


def other_outputs(seen: Evidence) -> None:
    seen.status["outputs"] = {"all": 2}


def failed_run(seen: Evidence) -> None:
    seen.status["status"] = "error"


def late_execution(seen: Evidence) -> None:
    seen.executions.append(Execution("r", "a", 3, 3, 5000))


def execution_twice(seen: Evidence) -> None:
    seen.executions.append(seen.executions[-1])


def execution_of_what_is_taken_over(seen: Evidence) -> None:
    seen.told.plan = replace(seen.told.plan, executed=())


def warning_twice(seen: Evidence) -> None:
    seen.status["nodeStatus"]["a"]["warnings"] = [{}, {}]
    seen.told.plan = replace(seen.told.plan, warned=("a",))


def test_nothing_is_wrong_with_a_run_that_went_well() -> None:
    assert list(complaints(good())) == []


def test_a_superseded_attempt_that_wakes_late_is_no_second_execution() -> None:
    seen = good()
    seen.executions[0] = Execution("r", "a", 1, 1, 5000)
    assert list(complaints(seen)) == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lost_chunk, "chunks"),
        (blind_viewer, "viewer 0"),
        (second_end, "terminal events"),
        (second_answer, "answers"),
        (no_end, "nodes without an end"),
        (other_history, "history and log"),
        (node_of_history_alone, "history and log"),
        (other_result, "result and log"),
        (other_outputs, "its outputs"),
        (failed_run, "it ended"),
        (late_execution, "executed 3500 ms after its end"),
        (execution_twice, "executed twice"),
        (execution_of_what_is_taken_over, "executed although"),
        (warning_twice, "warnings"),
    ],
)
def test_what_may_not_be_is_found(spoil: Callable[[Evidence], None], complaint: str) -> None:
    seen = good()
    spoil(seen)
    (found,) = complaints(seen)
    assert found.startswith(complaint)
