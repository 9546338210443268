"""The line before a limit: order, fair shares, and places of those who leave."""

from __future__ import annotations

from innkeeper.gateway.usage.line import HOLD_S, KEEP_S, Line, Waiter


def waiter(run: str, node: int, priority: int = 3) -> Waiter:
    return Waiter((run, f"n{node}", "x"), {"k": 1.0}, due=100.0, priority=priority)


def order(line: Line, last: Waiter) -> list[str]:
    return ["/".join(found.place[:2]) for found in (*line.ahead(last), last)]


def test_one_run_is_served_in_the_order_of_arrival() -> None:
    line, waiters = Line("k"), [waiter("a", node) for node in range(5)]
    for each in waiters:
        line.join(each)
    assert order(line, waiters[4]) == ["a/n0", "a/n1", "a/n2", "a/n3", "a/n4"]
    assert [line.place(each) for each in waiters] == [1, 2, 3, 4, 5]


def test_a_run_of_a_thousand_does_not_stand_before_another_runs_first() -> None:
    line, many = Line("k"), [waiter("big", node) for node in range(1_000)]
    for each in many:
        line.join(each)
    for gone in many[:300]:
        line.leave(gone, went=True)
    small = [waiter("small", node) for node in range(3)]
    for each in small:
        line.join(each)
    assert [line.place(each) for each in small] == [2, 4, 6]


def test_a_run_that_was_served_gets_no_credit_for_its_silence() -> None:
    line, early = Line("k"), waiter("early", 0)
    line.join(early)
    others = [waiter("late", node) for node in range(4)]
    for each in others:
        line.join(each)
    line.leave(early, went=True)
    for each in others[:3]:
        line.leave(each, went=True)
    again = [waiter("early", node) for node in range(1, 4)]
    for each in again:
        line.join(each)
    assert order(line, again[2])[:2] == ["late/n3", "early/n1"]


def test_a_higher_priority_goes_first_and_within_one_runs_take_turns() -> None:
    line, many = Line("k"), [waiter("usual", node) for node in range(100)]
    for each in many:
        line.join(each)
    for gone in many[:50]:
        line.leave(gone, went=True)
    late = [waiter("idle", 0, 5), waiter("urgent", 0, 1), waiter("urgent", 1, 1), waiter("also", 0, 1)]
    for each in late:
        line.join(each)
    assert order(line, late[0])[:4] == ["urgent/n0", "also/n0", "urgent/n1", "usual/n50"]
    assert line.place(late[0]) == len(line)


def test_who_joins_twice_keeps_the_place() -> None:
    line, first, second = Line("k"), waiter("a", 0), waiter("a", 1)
    for each in (first, second, first):
        line.join(each)
    assert (line.place(first), len(line)) == (1, 2)


def test_who_leaves_without_going_makes_room() -> None:
    line, waiters = Line("k"), [waiter("a", node) for node in range(3)]
    for each in waiters:
        line.join(each)
    line.leave(waiters[1], went=False)
    line.leave(waiters[1], went=False)
    assert order(line, waiters[2]) == ["a/n0", "a/n2"]


def test_runs_that_come_and_go_are_not_remembered_for_ever() -> None:
    line, stays = Line("k"), waiter("stays", 0)
    line.join(stays)
    for run in range(2_000):
        passing = waiter(f"r{run}", 0)
        line.join(passing)
        line.leave(passing, went=True)
    assert len(line._last_of_run) < 200


def test_a_waiter_is_expected_at_its_turn_then_late_then_gone() -> None:
    found = waiter("a", 0)
    assert not found.is_present(50)
    assert found.is_present(99.5, within_s=1)
    assert found.is_present(100 + HOLD_S)
    assert found.is_late(100.1 + HOLD_S)
    assert not found.is_gone(100 + KEEP_S)
    assert found.is_gone(100.1 + KEEP_S)
