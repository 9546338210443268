from __future__ import annotations

import pytest

from innkeeper.gateway.events.send_rate import SendRate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(send_rate: SendRate, clock: Clock, per_s: int, seconds: float, array: int = 1) -> list[float]:
    """Send evenly for a while, `array` events at a time; gives the delays a client is told that just got one."""
    delays = []
    for _ in range(round(per_s * seconds / array)):
        clock.now += array / per_s
        send_rate.frame_sent(array)
        delays.append(send_rate.delay_s(clock.now))
    return delays


def test_calm_gateway_never_delays() -> None:
    clock = Clock()
    assert set(run(SendRate(clock=clock), clock, 1400, 2)) == {0.0}


@pytest.mark.parametrize("array", [1, 50])
def test_busy_gateway_paces_every_client_also_while_it_gathers(array: int) -> None:
    clock = Clock()
    delays = run(SendRate(clock=clock), clock, 6000, 2, array)
    settled = delays[len(delays) // 4 :]
    assert settled == pytest.approx([0.03] * len(settled))


def test_client_that_waited_long_enough_is_served_at_once() -> None:
    clock = Clock()
    send_rate = SendRate(clock=clock)
    run(send_rate, clock, 6000, 1)
    assert send_rate.delay_s(clock.now - 0.02) == pytest.approx(0.01)
    assert send_rate.delay_s(clock.now - 0.04) == 0.0


def test_pace_ends_when_the_load_ends() -> None:
    clock = Clock()
    send_rate = SendRate(clock=clock)
    run(send_rate, clock, 6000, 1)
    clock.now += 0.4
    assert send_rate.rate == 0
    assert set(run(send_rate, clock, 1000, 1)) == {0.0}
    assert send_rate.total == 7000


@pytest.mark.parametrize(("per_s", "pace_s"), [(9_000, 0.03), (15_000, 0.045), (100_000, 0.06)])
def test_pace_gets_slower_with_the_rate_until_it_is_twice_as_slow(per_s: int, pace_s: float) -> None:
    """300 streams of 50 chunks/s cost as many system calls a second as 200."""
    clock = Clock()
    delays = run(SendRate(clock=clock), clock, per_s, 2)
    assert delays[-1] == pytest.approx(pace_s, rel=0.01)
