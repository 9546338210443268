"""What a piece costs as there are more of them: `python -m tests.benchmarks.growth [--curves ...] [FILE.json]`.

Flat is good. The whole ends within a quarter of an hour: a size for which the time does not suffice is left out, and
the table says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from temporalio.service import RPCError

from tests.benchmarks import handwritten, log_resume
from tests.benchmarks.arguments import add_keys, console, parser, run, say
from tests.benchmarks.loads import INLINE, Load, chain, fan_out
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Spread, number, ranged, write
from tests.benchmarks.sides import Side
from tests.benchmarks.stack import sides as stack_sides

TOTAL_S = 720.0
"""After this no further size begins. Starting and stopping, and ending what is under way, come on top."""
CASE_S = 100.0
"""For all rounds of one side of one size."""
ROUNDS = 3
OURS, HAND = "ours", "by hand"
SIZES = (10, 100, 1_000, 10_000)
RUNS = (1, 10, 100)
EVENTS = (10_000, 100_000, 1_000_000)
EVENTS_PER_RUN = 5_000
LONGEST_BY_HAND = 1_000
"""Steps of a handwritten chain: six events each, and Temporal ends a history at 51,200."""


@dataclass(frozen=True)
class Point:
    """One size of a curve: figures by the name of their series, None where they are missing; `notes` say why."""

    size: int
    figures: Mapping[str, Spread | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """`sizes` is the heading of the sizes."""

    title: str
    sizes: str
    points: Sequence[Point]

    def to_json(self) -> dict[str, Any]:
        points = [
            {
                "size": point.size,
                "figures": {name: spread and spread.to_json() for name, spread in point.figures.items()},
                "notes": list(point.notes),
            }
            for point in self.points
        ]
        return {"title": self.title, "sizes": self.sizes, "points": points}


class Budget:
    """Seconds that are left for everything."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + seconds

    def share(self, most_s: float = CASE_S) -> float:
        """What one case may take now; 0 when nothing is left."""
        return max(0.0, min(most_s, self._end - self._now()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen curves. Exit code 0 when they were measured."""
    made = parser("tests.benchmarks.growth", __doc__)
    add_keys(made, "curves", {"all": list(CURVES)})
    return run(_measure(made.parse_args(arguments)))


async def _measure(chosen: argparse.Namespace) -> int:
    budget = Budget(TOTAL_S)
    rounds = chosen.rounds or ROUNDS
    out = console()
    curves: dict[str, Any] = {}
    for key in chosen.curves:
        say(key)
        before = calibrate()
        curve = await CURVES[key](rounds, budget)
        loops = (before, calibrate())
        out.print(table_of(curve))
        out.print("calibration loop: {:.1f} ms before, {:.1f} ms after\n".format(*loops))
        curves[key] = {**curve.to_json(), "calibrationMs": list(loops)}
    if chosen.file is not None:
        write(chosen.file, {"curves": curves})
        out.print(f"written to {chosen.file}")
    return 0


def table_of(curve: Curve) -> Table:
    table = Table(title=curve.title)
    table.add_column(curve.sizes, justify="right")
    for name in curve.points[0].figures:
        table.add_column(f"{name} (min..max)", justify="right")
        table.add_column("x smallest", justify="right")
    table.add_column(f"{OURS} / {HAND}", justify="right")
    table.add_column("notes")
    for cells in cells_of(curve.points):
        table.add_row(*cells)
    return table


def cells_of(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """For each size: itself, each series with its ratio to that of the first size, ours / by hand, notes."""
    rows = []
    for point in points:
        cells = [f"{point.size:,}"]
        for name, spread in point.figures.items():
            cells += [ranged(spread), _ratio(spread, points[0].figures[name])]
        between = _ratio(point.figures.get(OURS), point.figures.get(HAND))
        rows.append((*cells, between, "; ".join(point.notes)))
    return rows


def _ratio(one: Spread | None, other: Spread | None) -> str:
    return "-" if one is None or other is None else number(one.median / other.median)


# --- the curves -----------------------------------------------------------------------------------------------------


async def _chain(rounds: int, budget: Budget) -> Curve:
    loads = {size: Load(chain(size, INLINE), handwritten.CHAIN, size) for size in SIZES}
    points = await _points(loads, rounds, budget, hand_up_to=LONGEST_BY_HAND)
    return Curve("Chain of inline nodes, events on; by hand activities: ms per node", "nodes", points)


async def _fan_out(rounds: int, budget: Budget) -> Curve:
    loads = {size: Load(fan_out(size), handwritten.FAN_OUT, size) for size in SIZES}
    points = await _points(loads, rounds, budget)
    return Curve("Fan-out of activity nodes, events on: ms per node", "nodes", points)


async def _runs(rounds: int, budget: Budget) -> Curve:
    loads = {count: Load(chain(5), handwritten.CHAIN, 5, at_once=count) for count in RUNS}
    points = await _points(loads, rounds, budget)
    return Curve("Concurrent runs of 5 activity nodes, events on: ms per run", "runs at once", points)


async def _log(rounds: int, budget: Budget) -> Curve:
    points = []
    for events in EVENTS:
        say(f"  {events:,}")
        figures: dict[str, Spread | None] = dict.fromkeys((log_resume.CLIENT, log_resume.CONSUMER, log_resume.WORKER))
        seconds = budget.share(2 * CASE_S)
        try:
            with tempfile.TemporaryDirectory(prefix="innkeeper-log-") as name:
                async with asyncio.timeout(seconds):
                    found = await log_resume.measure(Path(name) / "events.db", events, events // EVENTS_PER_RUN)
        except TimeoutError:
            points.append(Point(events, figures, (f"not done in {seconds:.0f} s",)))
            continue
        figures |= {series: Spread.of(found.taken_ms[series]) for series in figures}
        points.append(Point(events, figures, (f"{found.megabytes:.0f} MB",)))
    return Curve(f"Resume from a log, runs of {EVENTS_PER_RUN:,} events: ms", "events", points)


CURVES: Mapping[str, Callable[[int, Budget], Awaitable[Curve]]] = {
    "runs": _runs,
    "log": _log,
    "chain": _chain,
    "fanout": _fan_out,
}


# --- measuring ------------------------------------------------------------------------------------------------------


async def _points(
    loads: Mapping[int, Load], rounds: int, budget: Budget, *, hand_up_to: int | None = None
) -> list[Point]:
    """Both sides at each size, in turns of whole samples; the first size is measured twice, to warm up."""
    points = []
    async with _both() as sides:
        for side in sides.values():
            await _taken_ms(side, loads[min(loads)], 1, budget.share())
        for size, load in loads.items():
            say(f"  {size:,}")
            figures: dict[str, Spread | None] = {}
            notes = []
            for name, side in sides.items():
                figures[name] = None
                if name == HAND and hand_up_to is not None and size > hand_up_to:
                    notes.append(f"{name}: more than one history holds")
                    continue
                seconds = budget.share()
                taken = await _taken_ms(side, load, rounds, seconds)
                if taken:
                    figures[name] = Spread.of(taken) / (size if load.at_once == 1 else load.at_once)
                if len(taken) < rounds:
                    notes.append(f"{name}: {len(taken)} of {rounds} rounds in {seconds:.0f} s")
            points.append(Point(size, figures, tuple(notes)))
    return points


@contextlib.asynccontextmanager
async def _both() -> AsyncIterator[dict[str, Side]]:
    with tempfile.TemporaryDirectory(prefix="innkeeper-growth-") as name:
        async with stack_sides(Path(name), gateway=True) as found:
            yield {OURS: found["on"], HAND: found["hand"]}


async def _taken_ms(side: Side, load: Load, rounds: int, seconds: float) -> list[float]:
    """As many samples as fit into the time; what is under way at its end is terminated."""
    taken: list[float] = []
    try:
        async with asyncio.timeout(seconds):
            for _ in range(rounds):
                began = time.perf_counter()
                await asyncio.gather(*(side.run(load) for _ in range(load.at_once)))
                taken.append((time.perf_counter() - began) * 1000)
                await side.settle()
    except TimeoutError:
        await _terminate_all(side)
    return taken


async def _terminate_all(side: Side) -> None:
    async for found in side.client.list_workflows("ExecutionStatus = 'Running'"):
        with contextlib.suppress(RPCError):  # it has just ended
            await side.client.get_workflow_handle(found.id).terminate("the time of the measurement is over")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            await side.settle()


if __name__ == "__main__":
    sys.exit(main())
