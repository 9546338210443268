"""What is counted while streams flow: delays in a histogram, chunks that are not where they should be, processes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from tests.benchmarks.cpu import CpuMeter

_STEP = 1.02
"""Width of a bucket: a quantile is right to 2 %."""
_LEAST_MS = 0.01
WARM_CHUNKS = 50
"""The first chunks of each stream, whose delays are not counted: connections warm up."""


class Histogram:
    """Delays in milliseconds, in buckets that grow by 2 %."""

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets: Counter[int] = Counter(buckets)

    @property
    def count(self) -> int:
        return self.buckets.total()

    def add(self, ms: float) -> None:
        self.buckets[math.ceil(math.log(max(ms, _LEAST_MS) / _LEAST_MS, _STEP))] += 1

    def quantile(self, share: float) -> float:
        """The upper end of the bucket that holds this share of the delays; NaN when there are none."""
        left = math.ceil(share * self.count)
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return _LEAST_MS * _STEP**bucket
        return math.nan


@dataclass
class Tally:
    """What the clients of one side got.

    Attributes:
        received: Chunks, those at the beginning included.
        misplaced: Chunks that were not the next one.
        longest_gap_ms: The longest time in which no client got any chunk.
    """

    delays: Histogram = field(default_factory=Histogram)
    received: int = 0
    misplaced: int = 0
    longest_gap_ms: float = 0.0
    _last_ns: int = 0

    def take(self, content: str, expected: int) -> int:
        """Count one chunk `number nanoseconds`; gives the number of the one that must follow."""
        arrived = time.monotonic_ns()
        number, _, made = content.partition(" ")
        if self._last_ns:
            self.longest_gap_ms = max(self.longest_gap_ms, (arrived - self._last_ns) / 1e6)
        self._last_ns = arrived
        self.received += 1
        self.misplaced += int(number) != expected
        if int(number) >= WARM_CHUNKS:
            self.delays.add((arrived - int(made)) / 1e6)
        return int(number) + 1


@dataclass(frozen=True)
class Usage:
    """What a process took: processor cores and seconds, and resident memory at the end in MB."""

    cores: float
    megabytes: float
    cpu_s: float = 0.0


class Meter:
    """Measures processes, by name, from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._cpu = CpuMeter(pids)
        self._began = time.monotonic()

    def read(self) -> dict[str, Usage]:
        wall = time.monotonic() - self._began
        return {
            name: Usage(seconds / wall, self._processes[name].memory_info().rss / 1e6, seconds)
            for name, seconds in self._cpu.read_s().items()
        }
