"""The identity of an attempt as a key: equal by value, and different by every part of it."""

from __future__ import annotations

import pytest

from innkeeper.activities.link.node_attempt import NodeAttempt


def test_equal_attempts_find_each_other_in_a_dict() -> None:
    assert {NodeAttempt("r", "a", (1, 0)): "x"}[NodeAttempt("r", "a", (1, 0))] == "x"


@pytest.mark.parametrize("other", [("q", "a", (1, 0)), ("r", "b", (1, 0)), ("r", "a", (2, 0)), ("r", "a", (1, 1))])
def test_every_part_counts(other: tuple[str, str, tuple[int, int]]) -> None:
    assert NodeAttempt(*other) not in {NodeAttempt("r", "a", (1, 0))}


def test_only_the_first_generation_of_the_first_attempt_is_first() -> None:
    first = NodeAttempt("r", "a", (1, 0))
    assert first.is_first
    assert first.next_generation() == NodeAttempt("r", "a", (1, 1))
    assert not first.next_generation().is_first
    assert not NodeAttempt("r", "a", (2, 0)).is_first
