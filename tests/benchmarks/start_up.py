"""What a start is made of: processor time of each process until all is ready, and the dearest imports."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.benchmarks.report import Part

ENTRIES = {
    "gateway": "innkeeper.gateway.app",
    "worker": "innkeeper.activities.worker",
    "up": "innkeeper.gateway.process.local_stack",
}
"""The module that loads nearly all that a process loads before it is ready."""
TOP = 10
_TIMED = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def cpu_at_ready(row: str, rounds: Sequence[Mapping[str, float]]) -> list[Part]:
    """A line per process with the mean of the rounds (processor seconds by process), and one for all together."""
    if not rounds:
        return []
    means = {name: sum(found.get(name, 0.0) for found in rounds) / len(rounds) for name in rounds[0]}
    means["all together"] = sum(means.values())
    return [Part("CPU until ready", row, name, {"s": seconds}) for name, seconds in means.items()]


def import_parts(row: str) -> list[Part]:
    """The dearest imports of each entry."""
    return [
        Part(f"imports: {entry}", row, package, {"ms": cost})
        for entry, module in ENTRIES.items()
        for package, cost in top_imports(_timed(module))
    ]


def top_imports(timed: str, count: int = TOP) -> list[tuple[str, float]]:
    """Packages (our own by folder) with the milliseconds of all their modules, the dearest first.

    Args:
        timed: What `python -X importtime` has written.
    """
    costs: Counter[str] = Counter()
    for micros, module in _TIMED.findall(timed):
        path = module.split(".")
        costs[".".join(path[: 2 if path[0] == "innkeeper" else 1])] += int(micros)
    return [(package, micros / 1e3) for package, micros in costs.most_common(count)]


def _timed(module: str) -> str:
    command = [sys.executable, "-P", "-X", "importtime", "-c", f"import gc; gc.disable(); import {module}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stderr
