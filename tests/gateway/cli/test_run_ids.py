"""Runs by the beginning of their id, by `last`, or by their age."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from innkeeper.gateway.cli.run_ids import UnclearRun, before_moment, match_run, older

NOW = datetime.datetime(2026, 5, 10, 12, tzinfo=datetime.UTC)
RUNS: list[dict[str, Any]] = [
    {"promptId": "abc-1", "submittedAt": "2026-05-01T00:00:00+00:00"},
    {"promptId": "abc-2", "submittedAt": 1_778_400_000_000},
    {"promptId": "xyz", "submittedAt": "2026-05-09T00:00:00Z"},
    {"promptId": "x"},
]


@pytest.mark.parametrize(
    ("text", "run"), [("abc-1", "abc-1"), ("xy", "xyz"), ("x", "x"), ("nobody", "nobody"), ("last", "abc-2")]
)
def test_one_run_is_meant(text: str, run: str) -> None:
    assert match_run(text, RUNS) == run


def test_what_begins_several_ids_is_told_with_them() -> None:
    with pytest.raises(UnclearRun, match="begins 2 ids of runs; write more of one: abc-1, abc-2"):
        match_run("abc", RUNS)


def test_the_last_of_no_runs() -> None:
    with pytest.raises(UnclearRun, match="there is no run yet"):
        match_run("last", [])


@pytest.mark.parametrize(
    ("text", "hours"), [("7d", 168), ("12h", 12), ("90 m", 1.5), ("1w", 168), ("2026-05-10T10:00:00+00:00", 2)]
)
def test_ages_and_dates(text: str, hours: float) -> None:
    assert NOW - before_moment(text, NOW) == datetime.timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "soon", "-1d", "7", "9" * 400 + "d", "2026-13-01"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UnclearRun, match="write 7d"):
        before_moment(text, NOW)


def test_older_runs() -> None:
    assert older(RUNS[:3], before_moment("2d", NOW)) == ["abc-1"]
