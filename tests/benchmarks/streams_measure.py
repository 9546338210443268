"""What is counted while streams flow: delays in a histogram, chunks that are not where they should be, processes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

_STEP = 1.02
"""Width of a bucket: a quantile is right to 2 %."""
_LEAST_MS = 0.01


class Histogram:
    """Delays in milliseconds, in buckets that grow by 2 %."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, ms: float) -> None:
        self._buckets[math.ceil(math.log(max(ms, _LEAST_MS) / _LEAST_MS, _STEP))] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """The upper end of the bucket that holds this share of the delays; NaN when there are none."""
        left = math.ceil(share * self.count)
        for bucket, count in sorted(self._buckets.items()):
            left -= count
            if left <= 0:
                return _LEAST_MS * _STEP**bucket
        return math.nan


@dataclass
class Tally:
    """What the clients of one side got.

    Attributes:
        skip: The first chunks of each stream, whose delays are not counted: connections warm up.
        received: Chunks, those at the beginning included.
        misplaced: Chunks that were not the next one.
    """

    skip: int
    delays: Histogram = field(default_factory=Histogram)
    received: int = 0
    misplaced: int = 0

    def take(self, content: str, expected: int) -> int:
        """Count one chunk `number nanoseconds`; gives the number of the one that must follow."""
        arrived = time.monotonic_ns()
        number, _, made = content.partition(" ")
        self.received += 1
        self.misplaced += int(number) != expected
        if int(number) >= self.skip:
            self.delays.add((arrived - int(made)) / 1e6)
        return int(number) + 1


@dataclass(frozen=True)
class Usage:
    """What a process took: processor cores, and resident memory at the end in MB."""

    cores: float
    megabytes: float


class Meter:
    """Measures processes, by name, from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._before = {name: _cpu_s(process) for name, process in self._processes.items()}
        self._began = time.monotonic()

    def read(self) -> dict[str, Usage]:
        wall = time.monotonic() - self._began
        return {
            name: Usage((_cpu_s(process) - self._before[name]) / wall, process.memory_info().rss / 1e6)
            for name, process in self._processes.items()
        }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
