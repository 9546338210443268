"""Measure the engine beside handwritten Temporal workflows: `python -m tests.benchmarks [--rows ...] [FILE.json]`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from nodes.errors import InnkeeperError
from tests.benchmarks import report
from tests.benchmarks.arguments import parser
from tests.benchmarks.loads import LOADS, ROWS, Row
from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.report import HAND, Line
from tests.benchmarks.stack import sides


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows. Exit code 0 when they were measured, whatever the verdicts."""
    chosen = parser("tests.benchmarks", __doc__, ROWS, 7).parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 170)
    try:
        measured = asyncio.run(_measure(chosen.rows, chosen.rounds))
    except InnkeeperError as error:
        print(error.message, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    lines = [Line.of(row, measured[row.load]) for row in chosen.rows]
    report.show(lines, chosen.rounds, console)
    if chosen.file is not None:
        report.write(chosen.file, lines, measured, chosen.rounds)
        console.print(f"written to {chosen.file}")
    return 0


async def _measure(rows: Sequence[Row], rounds: int) -> dict[str, Measured]:
    """Start everything, measure load by load, stop everything, on Ctrl-C and SIGTERM too."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    # One load serves all its rows, so that they share the handwritten samples.
    wanted: dict[str, list[str]] = {}
    for row in rows:
        wanted.setdefault(row.load, [HAND]).append(row.side)
    gateway = any(row.side == "on" for row in rows)
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as folder, _progress() as progress:
        async with sides(Path(folder), gateway=gateway) as found:
            measured = {}
            for load, names in wanted.items():
                bar = progress.add_task(load, total=len(names) * (rounds + 1))
                chosen = {name: found[name] for name in names}
                measured[load] = await measure(LOADS[load], chosen, rounds, partial(progress.advance, bar))
            return measured


def _progress() -> contextlib.AbstractContextManager[Progress]:
    return Progress(console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
