"""Comparing the engine's word with the log's, without engine or log."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from innkeeper.gateway.runs.outcome import (
    RunOutcome,
    announced,
    error_info,
    interface_outputs,
    is_all_logged,
    late_nodes,
    merged_nodes,
    missing_facts,
    outcome_of_result,
)
from innkeeper.gateway.runs.view import project

Json = dict[str, Any]


def event(type: str, **payload: Any) -> Json:
    return {"seq": 1, "ts": 1_000, "type": type, "payload": {"promptId": "r", **payload}}


COMPLETE = {"status": "complete", "output": {"o": 1}, "attempts": 1}


def test_log_that_has_everything_needs_nothing() -> None:
    view = project(
        [event("NODE_EXECUTING", nodeId="a", attempt=1), event("NODE_COMPLETE", nodeId="a", output={"o": 1})]
    )
    outcome = RunOutcome("complete", {}, {"a": COMPLETE})
    assert list(missing_facts(outcome, view)) == []
    assert late_nodes(outcome, view) == []
    assert merged_nodes(outcome, view)[1] == []


def test_missing_ends_are_taken_from_the_table_each_once() -> None:
    table = {
        "done": COMPLETE,
        "bad": {"status": "error", "error": {"message": "m", "code": "c"}, "attempts": 4},
        "skip": {"status": "skipped", "reason": "upstream_error", "cause": "bad"},
        "by": {"status": "bypassed", "output": {"o": 2}},
        "cut": {"status": "interrupted"},
        "known": COMPLETE,
    }
    view = project([event("NODE_COMPLETE", nodeId="known", output={"o": 1})])
    facts = {path: (kind, payload) for path, kind, payload in missing_facts(RunOutcome("error", {}, table), view)}
    assert facts == {
        "done": ("NODE_COMPLETE", {"output": {"o": 1}, "attempt": 1}),
        "bad": ("NODE_ERROR", {"errorDetails": {"message": "m", "code": "c"}, "attempts": 4}),
        "skip": ("NODE_SKIPPED", {"reason": "upstream_error", "causeNodeId": "bad"}),
        "by": ("NODE_BYPASSED", {"pseudoOutputs": {"o": 2}}),
        "cut": ("NODE_INTERRUPTED", {}),
    }
    assert late_nodes(RunOutcome("error", {}, table), view) == ["done"]


def result_of(status: str = "complete", **nodes: str) -> tuple[Json, dict[str, Json]]:
    """What a workflow returns, and its node table."""
    table = {path: {"status": ended} for path, ended in nodes.items()}
    return {"status": status, "outputs": {}, "counts": dict(Counter(nodes.values()))}, table


WELL = {"a": "complete", "b": "skipped", "c": "bypassed"}


def test_log_with_the_end_of_every_node_of_a_complete_run_gets_nothing_more() -> None:
    outcome = outcome_of_result(*result_of(**WELL))
    ends = ("NODE_COMPLETE", {"output": {}}), ("NODE_SKIPPED", {}), ("NODE_BYPASSED", {"pseudoOutputs": {}})
    events = [event(kind, nodeId=path, **more) for path, (kind, more) in zip(WELL, ends, strict=True)]
    assert is_all_logged(outcome, project(events))
    assert not is_all_logged(outcome, project(events[:2]))
    begun = event("NODE_EXECUTING", nodeId="nobody knows", attempt=1)
    assert not is_all_logged(outcome, project([*events, begun]))


@pytest.mark.parametrize(
    ("result", "nodes"),
    [
        result_of(a="complete", b="error"),
        result_of(a="complete", b="interrupted"),
        result_of("interrupted", a="complete"),
        result_of("error", a="complete"),
        (result_of(**WELL)[0], {}),  # the table could not be stored
        (result_of(**WELL)[0], result_of(a="complete")[1]),  # a long repetition keeps a part of it
        ({"status": "complete"}, result_of(a="complete")[1]),
    ],
)
def test_workers_are_asked_for_more_where_the_engine_does_not_know_every_node_by_its_end(
    result: Json, nodes: dict[str, Json]
) -> None:
    ends = [event("NODE_COMPLETE", nodeId=path, output={}) for path in "abc"]
    assert not is_all_logged(outcome_of_result(result, nodes), project(ends))


def test_node_left_open_by_a_terminated_run_is_interrupted() -> None:
    view = project([event("NODE_EXECUTING", nodeId="a", attempt=1)])
    assert list(missing_facts(RunOutcome("error"), view)) == [("a", "NODE_INTERRUPTED", {})]


def test_where_log_and_engine_differ_the_engine_counts_and_the_result_says_so() -> None:
    view = project(
        [
            event("NODE_COMPLETE", nodeId="a", output={"o": "logged"}),
            event("NODE_COMPLETE", nodeId="b", output={"o": {"$blob": "s", "url": "/x"}}),
        ]
    )
    table = {
        "a": {**COMPLETE, "output": {"o": "other"}, "unlogged": True},
        "b": {**COMPLETE, "output": {"o": {"$blob": "s"}}},
    }
    nodes, differs = merged_nodes(RunOutcome("complete", {}, table), view)
    assert differs == ["a"]
    assert nodes["a"]["output"] == {"o": "other"}
    assert "unlogged" not in nodes["a"]


@pytest.mark.parametrize(
    ("flagged", "result", "shown"),
    [(True, {"text": "abc", "chunks": 3}, "stream_placeholder"), (False, "abc", "abc")],
)
def test_stream_outputs_follow_the_interface(flagged: bool, result: Any, shown: Any) -> None:
    interface = {"k": {"node": "a", "slot": "s", "stream": flagged, "streamed": True, "displayName": None}}
    outcome = RunOutcome("complete", {"k": {"text": "abc", "chunks": 3}})
    outputs = interface_outputs(interface, outcome, project([]))
    assert outputs == {"k": result}
    seen = announced(interface, outputs, {})["k"]
    assert (seen["type"] if flagged else seen) == shown


def test_outputs_of_a_run_the_engine_lost_come_from_the_log() -> None:
    interface = {"k": {"node": "a", "slot": "s", "stream": False, "streamed": False, "displayName": None}}
    view = project([event("NODE_COMPLETE", nodeId="a", output={"s": 5})])
    assert interface_outputs(interface, RunOutcome("error"), view) == {"k": 5}


def test_error_names_the_failed_nodes_or_the_run_itself() -> None:
    failed = {"x": {"status": "error", "error": {"message": "boom", "code": "c"}}, "y": {"status": "complete"}}
    listed = [{"nodeId": "x", "code": "c", "message": "boom"}]
    info = error_info(RunOutcome("error", {}, {}), failed)
    assert info == {"message": "node 'x' failed: boom", "code": "c", "nodes": listed}
    told = {"x": {"status": "error", "error": {"message": "node 'x': 'seconds' must be a number", "code": "c"}}}
    assert (error_info(RunOutcome("error", {}, {}), told) or {})["message"] == "node 'x': 'seconds' must be a number"
    own = {"message": "too long", "code": "timeout"}
    assert error_info(RunOutcome("error", {}, {}, own), failed) == {**own, "nodes": listed}
    assert error_info(RunOutcome("complete"), failed) is None


def test_warnings_of_a_node_are_in_its_state_whoever_tells_of_its_end() -> None:
    warnings = [{"code": "odd", "message": "the last line broke off"}]
    entry = {**COMPLETE, "warnings": warnings}
    outcome = RunOutcome("complete", {}, {"a": entry})
    logged = project([event("NODE_COMPLETE", nodeId="a", output={"o": 1}, warnings=warnings)])
    assert merged_nodes(outcome, logged)[0]["a"]["warnings"] == warnings
    ((_, _, payload),) = missing_facts(outcome, project([]))
    assert payload["warnings"] == warnings


def test_long_messages_are_cut_in_the_list_of_failed_nodes_only() -> None:
    nodes = {str(number): {"status": "error", "error": {"message": "x" * 10_000, "code": "c"}} for number in range(100)}
    info = error_info(RunOutcome("error"), nodes)
    assert info is not None
    assert len(orjson.dumps(info)) < 200_000
    assert "x" * 10_000 in info["message"]
