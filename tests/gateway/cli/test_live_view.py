"""What is shown of a run, from its events."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.live_view import JsonView, LiveView, PlainView, View, clean, node_names, output_text
from innkeeper.gateway.cli.tables import node_states_table

NAMES = {"a": "core:OpenAI", "b": "core:TextMerge"}
_numbers = itertools.count(1)


def event(kind: str, **payload: Any) -> dict[str, Any]:
    return {"seq": next(_numbers), "ts": 1_000, "type": kind, "payload": {"promptId": "r", **payload}}


def chunk(text: str, node: str = "a") -> dict[str, Any]:
    content = {"type": "text_chunk", "content": text}
    return event("NODE_YIELD", sourceNodeId=node, yieldedContent=content, isLastChunk=False)


def story() -> Iterator[dict[str, Any]]:
    """A stream that dies once, and a node that fails."""
    yield event("EXECUTION_STATUS_UPDATE", status="running")
    yield event("NODE_EXECUTING", nodeId="a", attempt=1)
    yield chunk("Half a")
    yield event("NODE_STREAM_RESET", nodeId="a", attempt=2)
    yield event("NODE_EXECUTING", nodeId="a", attempt=2)
    yield chunk("Once\nupon")
    yield event("NODE_COMPLETE", nodeId="a", attempt=2, output={})
    yield event("NODE_ERROR", nodeId="b", errorDetails={"message": "no [bold]luck[/bold]"}, attempts=4)
    yield event("NODE_COMPLETE", nodeId="__WORKFLOW_INTERFACE_OUTPUTS__", output={"story": "Once\nupon"})
    yield event("EXECUTION_STATUS_UPDATE", status="error")


RESULT = {
    "status": "error",
    "outputs": {"story": "Once\nupon"},
    "errorInfo": {"message": "1 node failed", "nodes": [{"nodeId": "b", "code": "timeout", "message": "late"}]},
}


def shown(view: View, file: io.StringIO) -> str:
    with view:
        for item in story():
            view.show(item)
        view.finish(RESULT)
    return file.getvalue()


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=100, height=40, force_terminal=terminal, no_color=True, legacy_windows=False), file


def test_plain_view_says_every_fact_once_and_voids_a_lost_attempt() -> None:
    target, file = console()
    lines = shown(PlainView(target, NAMES), file).splitlines()
    assert lines[:8] == [
        "run r: running",
        "a: core:OpenAI  running",
        "a: starts again, its text so far is void",
        "a: core:OpenAI  running  attempt 2",
        "a> Once",
        "a> upon",
        "a: core:OpenAI  complete  attempt 2  0.00 s",
        "b: core:TextMerge  error  attempt 4  no [bold]luck[/bold]",
    ]
    assert "Half a" not in lines
    assert "  b: late (timeout)" in lines
    assert "Once" not in lines  # outputs are no part of it


def test_plain_view_takes_nothing_back_from_a_node_that_said_nothing() -> None:
    target, file = console()
    with PlainView(target, NAMES) as view:
        for kind in ("NODE_EXECUTING", "NODE_STREAM_RESET", "NODE_EXECUTING"):
            view.show(event(kind, nodeId="b", attempt=2))
    assert "attempt 2" in file.getvalue()
    assert "void" not in file.getvalue()


def test_live_view_ends_with_the_tree_the_error_and_each_text_once() -> None:
    target, file = console(terminal=True)
    text = shown(LiveView(target, NAMES, "Story"), file)
    assert "✓" in text
    assert "attempt 2" in text
    assert "1 node failed" in text
    assert text.rstrip().endswith("upon")
    assert text.count("upon") == 1


def test_live_view_of_a_huge_graph_fits_the_terminal() -> None:
    target, file = console(terminal=True)
    names = {f"n{number}": "core:TextMerge" for number in range(1000)}
    with LiveView(target, names, "Huge") as view:
        view.show(event("NODE_EXECUTING", nodeId="n777", attempt=1))
    last = file.getvalue()
    assert "n777" in last
    assert "0 of 1000 nodes have ended" in last
    assert "n778" not in last


def test_json_view_prints_one_object_per_line_and_the_result_last() -> None:
    target, file = console()
    lines = [json.loads(line) for line in shown(JsonView(target), file).splitlines()]
    assert [line["type"] for line in lines][:2] == ["EXECUTION_STATUS_UPDATE", "NODE_EXECUTING"]
    assert lines[-1] == {"type": "RESULT", "payload": RESULT}


def test_text_of_a_model_cannot_command_the_terminal() -> None:
    assert clean("a\x1b]0;title\x07b\r\n\tc\x9b2J\u202e") == "a]0;titleb\n\tc2J"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ({"text": "streamed", "chunks": 3}, "streamed"),
        ({"a": 1}, '{\n  "a": 1\n}'),
        ({"$blob": "0" * 64, "size": 9000, "preview": "Once", "url": "/x"}, "Once… (9000 bytes, /x)"),
    ],
)
def test_outputs_are_shown_as_people_read_them(value: Any, expected: str) -> None:
    assert output_text(value) == expected


def test_node_names_prefer_what_the_author_wrote() -> None:
    nodes = [{"id": "x", "type": "core:OpenAI", "displayName": "Poet"}, {"id": "y", "fullType": "core:TextMerge"}, 7]
    assert node_names({"nodes": nodes}) == {"x": "Poet", "y": "core:TextMerge"}


WARNED = {"code": "odd", "message": "the last\nline [b]broke off\x1b[2J"}
WARNING = "warning: the last line [b]broke off[2J (odd)"


def test_plain_view_and_tree_show_each_warning_in_a_line_of_its_own() -> None:
    target, file = console()
    with PlainView(target, NAMES) as plain:
        plain.show(event("NODE_COMPLETE", nodeId="a", attempt=1, output={}, warnings=[WARNED, WARNED]))
    assert file.getvalue().splitlines()[1:] == [f"a: {WARNING}"] * 2
    target, file = console(terminal=True)
    with LiveView(target, NAMES, "Story") as live:
        live.show(event("NODE_COMPLETE", nodeId="a", attempt=1, output={}, warnings=[WARNED]))
    assert WARNING in file.getvalue()


def test_table_of_nodes_shows_each_warning_in_a_line_of_its_own() -> None:
    target, file = console()
    target.print(node_states_table({"a": {"status": "complete", "warnings": [WARNED, WARNED]}}))
    assert [line.split("complete")[-1].strip() for line in file.getvalue().splitlines()[1:]] == [WARNING] * 2


def test_a_node_that_is_tried_again_shows_when_and_why() -> None:
    error = {"code": "overloaded", "message": "the model\nis busy"}
    when = "2026-01-01T00:00:00.000Z"
    retry = event("NODE_RETRY", nodeId="a", attempt=1, retryAt=when, reason="failure 1 of 4", **error)
    retry["payload"]["kind"] = "retry"
    expected = "the model is busy (overloaded)"
    target, file = console()
    with PlainView(target, NAMES) as plain:
        plain.show(event("NODE_EXECUTING", nodeId="a", attempt=1))
        plain.show(retry)
    last = file.getvalue().splitlines()[-1]
    assert last.startswith("a: core:OpenAI  running  tries again at ")
    assert last.endswith(expected)
    target, file = console()
    target.print(node_states_table({"a": {"status": "running", "retryAt": when, "lastError": error}}))
    assert expected in " ".join(file.getvalue().split())


def test_a_node_that_waits_shows_until_when_and_for_what() -> None:
    when = "2026-01-01T00:00:00.000Z"
    wait = event("NODE_RETRY", nodeId="a", attempt=1, retryAt=when, code="waiting", message="full")
    wait["payload"] |= {"kind": "wait", "reason": "60 requests a minute of channel x"}
    target, file = console()
    with PlainView(target, NAMES) as plain:
        plain.show(event("NODE_EXECUTING", nodeId="a", attempt=1))
        plain.show(wait)
    last = file.getvalue().splitlines()[-1]
    assert last.startswith("a: core:OpenAI  waiting  waits until ")
    assert last.endswith(":00: 60 requests a minute of channel x")
    target, file = console()
    state = {"status": "waiting", "retryAt": when, "reason": "60 requests", "lastError": {"code": "c", "message": "m"}}
    target.print(node_states_table({"a": state}))
    assert "waits until" in " ".join(file.getvalue().split())


def test_a_node_out_of_budget_shows_what_is_used_and_how_to_go_on() -> None:
    asked = {"kind": "budget", "scope": "run", "limit": {"tokens": 1000}, "used": {"tokens": 90}, "until": None}
    required = event("BUDGET_REACHED", nodeId="a", approvalId="a", attempt=1, form=[{"key": "tokens"}])
    required["payload"] |= asked
    target, file = console()
    with PlainView(target, NAMES) as plain:
        plain.show(event("NODE_EXECUTING", nodeId="a", attempt=1))
        plain.show(required)
    lines = file.getvalue().splitlines()
    assert "waiting  for more budget: 90 of 1,000 tokens used (budget of the run)" in lines[-3]
    assert lines[-1].endswith("innkeeper approve r a --value tokens=... (or --reject)")


def test_a_fault_is_shown_with_its_place_and_on_demand_with_the_way_there() -> None:
    details = {"where": "p/nodes/n.py:7 in run", "trace": ["KeyError", "  p/nodes/n.py:7 in run: x[\x1b[31m0]"]}
    state = {"status": "error", "error": {"message": "KeyError: 0", "details": details}}
    for trace in (False, True):
        target = Console(width=100, file=io.StringIO())
        target.print(node_states_table({"n": state}, trace=trace))
        said = target.file.getvalue()  # type: ignore[attr-defined]
        assert "at p/nodes/n.py:7 in run" in said
        assert ("in run: x[" in said) is trace
        assert "\x1b[31m" not in said


def test_plain_lines_tell_of_a_warning_once_and_of_the_same_state_not_again() -> None:
    warning = {"code": "salvage_restarted", "message": "it is asked for anew"}
    target, file = console()
    with PlainView(target, NAMES) as plain:
        plain.show(event("NODE_EXECUTING", nodeId="a", attempt=2))
        plain.show(event("NODE_WARNING", nodeId="a", **warning))
        plain.show(event("NODE_EXECUTING", nodeId="a", attempt=2))
        plain.show(event("NODE_COMPLETE", nodeId="a", attempt=2, output={}, warnings=[warning]))
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert [line for line in lines if "it is asked for anew" in line] == [lines[1]]
    assert "complete" in lines[2]
