"""Progress and log lines of nodes that say odd things."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from innkeeper.activities.execution.node_reports import NodeLog, ProgressReporter
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.sanitize import MAX_MESSAGE_CHARS

ATTEMPT = NodeAttempt("r", "n", (1, 0))


class Sent:
    """A link that keeps what it would send."""

    def __init__(self) -> None:
        self.progressed: list[tuple[float, float]] = []

    def progress(self, attempt: NodeAttempt, value: float, maximum: float) -> None:
        self.progressed.append((value, maximum))


def node_log() -> NodeLog:
    return NodeLog(logging.getLogger("innkeeper.node"), {"run": "r", "node": "n"})


async def reported(*values: Any, maximum: Any = 10) -> list[tuple[float, float]]:
    link = Sent()
    progress = ProgressReporter(link, ATTEMPT, node_log())  # type: ignore[arg-type]
    for value in values:
        progress(value, maximum)
    await asyncio.sleep(0)
    return link.progressed


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "5", b"5", [1], {}, object(), True, 10**400])
async def test_progress_that_is_no_finite_number_is_ignored_and_warned_of_once(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert await reported(value, value, 3) == [(3, 10)]
    assert await reported(3, maximum=value) == []
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [(record.run, record.node) for record in warnings] == [("r", "n")] * 2  # type: ignore[attr-defined]


async def test_a_node_that_goes_on_behind_its_end_is_held_to_the_same_rate() -> None:
    assert await reported(*range(10, 1_000)) == [(10, 10)]


async def test_progress_after_the_worker_has_ended_is_no_error_in_the_thread_that_tells_it() -> None:
    link = Sent()

    async def made() -> ProgressReporter:
        return ProgressReporter(link, ATTEMPT, node_log())  # type: ignore[arg-type]

    late = await asyncio.to_thread(asyncio.run, made())
    late(1, 2)
    assert not link.progressed


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("msg", "args", "expected"),
    [
        ("%d of %s", (1, "two"), "1 of two"),
        ("%(a)s", ({"a": 1},), "1"),
        ("half \ud83d", (), "half \ufffd"),
        ("x" * 100_000, (), "x" * MAX_MESSAGE_CHARS),
        ("%s", ("y" * 100_000,), "y" * MAX_MESSAGE_CHARS),
        ("%d", ("no number",), "%d"),
        ("%s", (Odd(),), "%s"),
        (Odd(), (), "Odd"),
        (5, (), "5"),
    ],
)
def test_log_lines_are_bounded_and_clean(
    msg: Any, args: tuple[Any, ...], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node_log().info(msg, *args)
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_log_extras_are_bounded_and_the_line_is_of_the_node(caplog: pytest.LogCaptureFixture) -> None:
    node_log().warning("x", extra={"own": [float("nan"), Odd()], "run": "another"})
    node_log().warning("x", extra={"large": "z" * 1_000_000})
    first, second = caplog.records
    assert (first.own, first.run, first.node) == ([None, "Odd"], "r", "n")  # type: ignore[attr-defined]
    assert first.funcName == "test_log_extras_are_bounded_and_the_line_is_of_the_node"
    assert not hasattr(second, "large")
