"""Processor time of processes, and what each of them spends on a run, a node and a chunk."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from tests.benchmarks.report import Part

TABLE = "CPU"
"""Title of the table that the parts of `cpu_parts` make."""
_NAMES = {"temporal": "server", "worker-1": "worker"}
_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED of the kernel: the whole process, threads that have ended included."""


def cpu_s(pid: int) -> float:
    """Processor time so far of one process: on Linux to the nanosecond, elsewhere in ticks of about 10 ms.

    Raises:
        psutil.NoSuchProcess: It has ended.
    """
    if sys.platform == "linux":
        try:
            return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)
        except OSError as error:
            raise psutil.NoSuchProcess(pid) from error
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class CpuMeter:
    """Measures processes, by name, from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_s(pid) for name, pid in self._pids.items()}

    def read_s(self) -> dict[str, float]:
        """Seconds of each process since the beginning. One that has ended is left out."""
        found = {}
        for name, pid in self._pids.items():
            try:
                found[name] = cpu_s(pid) - self._before[name]
            except psutil.NoSuchProcess:
                continue
        return found


@dataclass(frozen=True)
class Work:
    """What was done in one sample."""

    runs: int
    nodes: int = 0
    chunks: int = 0


def cpu_parts(row: str, side: str, samples: Sequence[Mapping[str, float]], work: Work) -> list[Part]:
    """A line per process: the mean of the samples (processor seconds by process) for one run, node and chunk."""
    if not samples:
        return []
    parts = []
    for name in samples[0]:
        seconds = sum(sample.get(name, 0.0) for sample in samples) / len(samples)
        figures = {"ms/run": seconds * 1e3 / work.runs}
        if work.nodes:
            figures["ms/node"] = seconds * 1e3 / work.nodes
        if work.chunks:
            figures["µs/chunk"] = seconds * 1e6 / work.chunks
        parts.append(Part(TABLE, row, f"{side}: {_NAMES.get(name, name)}", figures))
    return parts
