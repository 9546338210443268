"""The tables of growth, and the time that everything together may take."""

from __future__ import annotations

from tests.benchmarks.growth import Budget, Point, cells_of
from tests.benchmarks.report import Spread


def _flat(value: float) -> Spread:
    return Spread(value, value, value)


def test_each_series_is_compared_with_its_own_smallest_size() -> None:
    points = [
        Point(10, {"ours": Spread(4, 3, 8), "by hand": _flat(2)}),
        Point(1_000, {"ours": _flat(6), "by hand": _flat(5)}),
    ]

    assert cells_of(points) == [
        ("10", "4 (3..8)", "1", "2", "1", "2", ""),
        ("1,000", "6", "1.50", "5", "2.50", "1.20", ""),
    ]


def test_a_size_that_was_not_measured_says_why_and_spoils_no_other() -> None:
    points = [
        Point(10, {"ours": _flat(4), "by hand": _flat(2)}),
        Point(100, {"ours": None, "by hand": _flat(2)}, ("ours: 0 of 3 rounds in 100 s",)),
    ]

    assert cells_of(points)[1] == ("100", "-", "-", "2", "1", "-", "ours: 0 of 3 rounds in 100 s")


def test_series_without_a_counterpart_are_compared_with_themselves_only() -> None:
    points = [Point(10, {"client resumes": _flat(1)}), Point(20, {"client resumes": _flat(3)})]

    assert cells_of(points)[1] == ("20", "3", "3", "-", "")


def test_budget_gives_each_case_its_share_and_nothing_when_it_is_spent() -> None:
    clock = [0.0]
    budget = Budget(150, now=lambda: clock[0])

    assert budget.share(100) == 100
    clock[0] = 100
    assert budget.share(100) == 50
    clock[0] = 200
    assert budget.share(100) == 0
