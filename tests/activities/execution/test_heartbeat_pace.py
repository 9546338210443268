"""How often attempts heartbeat, and that an interrupted run is asked about at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.activities.execution.heartbeat_pace import HeartbeatPace
from innkeeper.activities.link.interrupts import Interrupts


def paced(count: int, *, told: bool = True) -> tuple[Interrupts, HeartbeatPace, list[str]]:
    """The pace beside `count` attempts, each of a run of its own, and the runs that were asked to heartbeat."""
    interrupts = Interrupts()
    pace = HeartbeatPace(interrupts)
    beaten: list[str] = []
    for number in range(count):
        pace.join(f"r{number}", lambda run=f"r{number}": beaten.append(run))  # type: ignore[misc]
    if told:
        interrupts.receive([])
    return interrupts, pace, beaten


@pytest.mark.parametrize(("count", "interval_s"), [(1, 1.0), (100, 1.0), (150, 1.5), (250, 2.5), (1000, 2.5)])
def test_a_worker_sends_100_heartbeats_a_second_until_they_are_2500_ms_apart(count: int, interval_s: float) -> None:
    _, pace, _ = paced(count)
    assert pace.interval_s("r0") == interval_s


def test_every_attempt_heartbeats_each_second_while_nobody_tells_of_interruptions() -> None:
    interrupts, pace, _ = paced(300, told=False)
    assert pace.interval_s("r0") == 1.0
    interrupts.receive([])
    assert pace.interval_s("r0") == 2.5
    interrupts.lost()
    assert pace.interval_s("r0") == 1.0


def test_attempts_of_an_interrupted_run_heartbeat_now_and_then_each_second() -> None:
    interrupts, pace, beaten = paced(300)
    pace.join("r7", beat := lambda: beaten.append("r7 again"))
    interrupts.receive(["r7", "elsewhere"])
    assert beaten == ["r7", "r7 again"]
    assert (pace.interval_s("r7"), pace.interval_s("r8")) == (1.0, 2.5)
    pace.leave("r7", beat)
    assert pace.interval_s("r7") == 1.0


def test_attempts_that_have_ended_are_forgotten() -> None:
    interrupts = Interrupts()
    pace = HeartbeatPace(interrupts)
    interrupts.receive([])
    beats = [lambda: None for _ in range(300)]
    for beat in beats:
        pace.join("r", beat)
    interrupts.receive(["r"])
    for beat in beats:
        pace.leave("r", beat)
    assert pace.interval_s("r") == 1.0
    pace.join("r", lambda: None)
    assert not pace._interrupted


async def test_heartbeat_that_the_link_asks_for_is_one_of_its_activity() -> None:
    """The link's task is in no activity: there `activity.heartbeat` would raise."""
    interrupts = Interrupts()
    pace = HeartbeatPace(interrupts)
    beaten, started = asyncio.Event(), asyncio.Event()

    async def works() -> None:
        heartbeat = Heartbeat(pace=pace, run="r")
        heartbeat.start()
        started.set()
        await beaten.wait()
        heartbeat.stop()

    def heard(*details: Any) -> None:
        beaten.set()

    env = ActivityEnvironment()
    env.on_heartbeat = heard
    working = asyncio.create_task(env.run(works))
    async with asyncio.timeout(0.9):  # before its own first heartbeat
        await started.wait()
        interrupts.receive(["r"])
        await working
