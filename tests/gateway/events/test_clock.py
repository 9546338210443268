"""A wall clock that jumps, and how long nothing is deleted after it."""

from __future__ import annotations

import pytest

from innkeeper.gateway.events.clock import LOOK_S, PATIENCE_S, AgeGuard, steady_s

DAY_S, YEAR_S = 86_400.0, 31_536_000.0


class Clocks:
    """The wall clock, and the one that nobody can set. `pass_by` lets time go on, `jump` sets the first one."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0
        self.guard = AgeGuard(lambda: self.wall, lambda: self.steady)

    def jump(self, seconds: float) -> bool:
        self.wall += seconds
        return self.pass_by(LOOK_S)

    def pass_by(self, seconds: float) -> bool:
        self.wall += seconds
        self.steady += seconds
        return self.guard.is_calm()


@pytest.mark.parametrize("seconds", [DAY_S, YEAR_S])
def test_after_a_jump_forward_ages_are_not_believed_for_a_day(seconds: float) -> None:
    clocks = Clocks()
    assert clocks.pass_by(9 * DAY_S)
    assert not clocks.jump(seconds)
    assert not clocks.pass_by(PATIENCE_S - 2 * LOOK_S)
    assert clocks.pass_by(2 * LOOK_S)


@pytest.mark.parametrize("seconds", [DAY_S, YEAR_S])
def test_a_clock_that_is_corrected_is_believed_at_once(seconds: float) -> None:
    clocks = Clocks()
    assert not clocks.jump(seconds)
    assert clocks.jump(-seconds)


@pytest.mark.parametrize("seconds", [-DAY_S, -YEAR_S, -60.0, 0.0, 60.0, 1_800.0])
def test_what_was_set_back_or_by_less_than_an_hour_deletes_nothing_too_early(seconds: float) -> None:
    assert Clocks().jump(seconds)


def test_time_that_passes_is_no_jump() -> None:
    clocks = Clocks()
    assert all(clocks.pass_by(seconds) for seconds in (LOOK_S, YEAR_S, 10 * YEAR_S))


def test_the_steady_clock_goes_on() -> None:
    before = steady_s()
    assert steady_s() >= before > 0
