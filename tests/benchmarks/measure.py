"""Rounds, ratios and the machine's noise."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.loads import Load
from tests.benchmarks.sides import Handle, Side

PAUSE_S = 0.15
"""Between two samples: what the server does behind a finished run must not fall into the next one."""
CALIBRATION_STEPS = 400_000


@dataclass(frozen=True)
class Sample:
    """Milliseconds of one load on one side.

    Attributes:
        wall: Seen from outside, until the result is there.
        own: From start to close as Temporal recorded them.
        cpu: Processor time of all processes, clean-up behind the result included. Other programs disturb it least.
        processes: That of each process of the side, by name.
    """

    wall: float
    own: float
    cpu: float
    processes: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Measured:
    """All samples of one load: side to samples, one per round. Calibration in ms, before and after."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    before: float = 0.0
    after: float = 0.0

    def walls(self, side: str) -> list[float]:
        return [sample.wall for sample in self.samples[side]]

    def owns(self, side: str) -> list[float]:
        return [sample.own for sample in self.samples[side]]

    def cpu_ratio(self, side: str, base: str) -> float:
        """Of all rounds together: the system counts processor time in ticks of 10 ms."""
        ours, theirs = (sum(sample.cpu for sample in self.samples[name]) for name in (side, base))
        return ours / theirs


async def measure(load: Load, sides: Mapping[str, Side], rounds: int) -> Measured:
    """Warm up, then measure each side once per round, in turning order."""
    for side in sides.values():
        await _sample(load, side, times=1)
    found = Measured({name: [] for name in sides}, before=calibrate())
    names = list(sides)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found.samples[name].append(await _sample(load, sides[name], times=load.times))
    found.after = calibrate()
    return found


async def _sample(load: Load, side: Side, times: int) -> Sample:
    gc.collect()
    walls, owns = [], []
    cpu, meter = _cpu_ms(), CpuMeter(side.pids)
    for _ in range(times):
        began = time.perf_counter()
        handles = await asyncio.gather(*(side.run(load) for _ in range(load.at_once)))
        walls.append((time.perf_counter() - began) * 1000)
        owns.append(await _own_ms(handles))
    await side.settle()
    cpu = (_cpu_ms() - cpu) / times
    processes = {name: seconds * 1000 / times for name, seconds in meter.read_s().items()}
    await asyncio.sleep(PAUSE_S)
    return Sample(median(walls), median(owns), cpu, processes)


async def _own_ms(handles: Sequence[Handle]) -> float:
    """From the start of the first run to the close of the last, by the server's clock."""
    facts = await asyncio.gather(*(handle.describe() for handle in handles))
    closed = [fact.close_time for fact in facts if fact.close_time is not None]
    return (max(closed) - min(fact.start_time for fact in facts)).total_seconds() * 1000


def _cpu_ms() -> float:
    """Processor time so far of this process and all it started: server, workers, gateway."""
    us = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (us, *us.children(recursive=True))) * 1000


def calibrate() -> float:
    """Milliseconds of a fixed piece of pure Python, the best known answer to "how busy is this machine now?"."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        total = 0
        for number in range(CALIBRATION_STEPS):
            total += number ^ (total & 255)
        took.append((time.perf_counter() - began) * 1000)
    return median(took)
