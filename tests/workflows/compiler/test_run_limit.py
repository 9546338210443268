"""Waits that are longer than the operator lets a run take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from innkeeper.workflows.compiler.run_limit import waits_beyond
from tests.workflows.engine.control_toys import compiled, step
from tests.workflows.toy_graphs import node

DAY_S = 86_400.0
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def found(*nodes: dict[str, Any], edges: tuple[str, ...] = (), limit_s: float = DAY_S) -> list[tuple[str, str, str]]:
    problems = waits_beyond(compiled(list(nodes), *edges), limit_s, NOW.timestamp())
    assert {problem.code for problem in problems} <= {"wait_beyond_run_limit"}
    return [(problem.level, str(problem.node), str(problem.slot)) for problem in problems]


def until(days: float) -> dict[str, Any]:
    return node("w", "core:WaitUntil", {"time": (NOW + timedelta(days=days)).isoformat()})


def asking(**config: Any) -> dict[str, Any]:
    return node("a", "core:Approval", {"data": 1}, configValues=config)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (node("d", "core:Delay", {"seconds": 3 * DAY_S}), [("error", "d", "seconds")]),
        (node("d", "core:Delay", {"seconds": DAY_S}), []),
        (until(9 * 365), [("error", "w", "time")]),
        (until(0.9), []),
        (until(-400), []),
        (asking(timeoutSeconds=400 * DAY_S), [("warning", "a", "timeoutSeconds")]),
        (asking(), [("warning", "a", "timeoutSeconds")]),
        (asking(timeoutSeconds=60), []),
        (
            node("e", "core:WaitForEvent", configValues={"name": "paid", "timeoutSeconds": 2 * DAY_S}),
            [("warning", "e", "timeoutSeconds")],
        ),
        (node("d", "core:Delay", {"seconds": 3 * DAY_S, "value": 1}, bypassed=True), []),
    ],
)
def test_a_wait_is_measured_against_the_limit(item: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert found(item) == expected


def test_what_an_edge_brings_is_not_known_before_the_run() -> None:
    delay = node("d", "core:Delay", {"seconds": 9 * DAY_S})
    assert found(step("s"), delay, edges=("s.out > d.seconds",)) == []


def test_the_message_says_both_spans_and_the_setting() -> None:
    plan = compiled([node("d", "core:Delay", {"seconds": 3 * DAY_S})])
    (problem,) = waits_beyond(plan, DAY_S, NOW.timestamp())
    assert "259200 s" in problem.message
    assert "86400 s (INNKEEPER_RUN_TIMEOUT_S)" in problem.message
