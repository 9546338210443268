"""Measure streams beside the shortest way by hand: `python -m tests.benchmarks.streams [--rows ...] [FILE.json]`.

By hand, a Temporal activity sends each chunk over one WebSocket to a small Starlette process that passes it on to the
client, without a log: nothing survives anything. The ratio is the price of durability.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from time import monotonic
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.temporal_server import free_port
from nodes.errors import InnkeeperError
from tests.benchmarks.arguments import parser
from tests.benchmarks.measure import calibrate
from tests.benchmarks.streams_measure import Meter, Tally, Usage
from tests.benchmarks.streams_sides import Flow, Side, stream_sides

PACE_S = 0.02
SECONDS = 5.0
WARM_S = 1.0
READY_S = 45.0
LEAD_S = 0.5
COUNT = int(SECONDS / PACE_S)
TICKS = Flow(COUNT, PACE_S)


@dataclass(frozen=True)
class Limits:
    """What to hold. `above_ms` is how much slower than by hand, `cores` of the gateway, `least_per_s` of a relay."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    ratio: float | None = None
    above_ms: float | None = None
    cores: float | None = None
    least_per_s: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; `streams` flow at the same time."""

    key: str
    title: str
    flow: Flow
    streams: int = 1
    limits: Limits = Limits()


ROWS = (
    Row("ws-1", "1 stream to a client", TICKS, 1, Limits(p50_ms=3)),
    Row("ws-20", "20 streams", TICKS, 20, Limits(p50_ms=8, above_ms=2)),
    Row(
        "ws-200-batch",
        "200 streams, batched frames",
        Flow(COUNT, PACE_S, batch=True),
        200,
        Limits(p50_ms=100, p99_ms=300, ratio=4, cores=0.8),
    ),
    Row("ws-200", "200 streams, a frame per chunk", TICKS, 200, Limits(p50_ms=200)),
    Row("relay-50", "through a relay, 50 chunks/s", Flow(COUNT, PACE_S, relay=True), 1, Limits(p50_ms=8)),
    Row("relay-max", "through a relay, as fast as it goes", Flow(40_000, 0, relay=True), 1, Limits(least_per_s=10_000)),
)


@dataclass(frozen=True)
class Outcome:
    """One side of a row, medians of the rounds; what was lost or misplaced in all of them together."""

    p50_ms: float | None
    p99_ms: float | None
    per_s: float
    lost: int
    misplaced: int
    usage: Mapping[str, Usage]

    @classmethod
    def of(cls, rounds: Sequence[Outcome]) -> Outcome:
        names = rounds[0].usage
        return cls(
            _median([each.p50_ms for each in rounds]),
            _median([each.p99_ms for each in rounds]),
            median(each.per_s for each in rounds),
            sum(each.lost for each in rounds),
            sum(each.misplaced for each in rounds),
            {
                name: Usage(
                    fmean(each.usage[name].cores for each in rounds), max(each.usage[name].megabytes for each in rounds)
                )
                for name in names
            },
        )


@dataclass(frozen=True)
class Line:
    """A row with its figures. `broken` says in words which limits do not hold."""

    row: Row
    ours: Outcome
    hand: Outcome
    calibration_ms: tuple[float, float]
    broken: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "broken", tuple(self._broken()))

    @property
    def ratio(self) -> float:
        """Ours / by hand: of the middle delays, or of the time a chunk takes at full speed."""
        if self.ours.p50_ms is None or self.hand.p50_ms is None:
            return self.hand.per_s / self.ours.per_s
        return self.ours.p50_ms / self.hand.p50_ms

    def _broken(self) -> list[str]:
        limits, ours = self.row.limits, self.ours
        delay, late = ours.p50_ms or 0.0, ours.p99_ms or 0.0
        above, cores = delay - (self.hand.p50_ms or 0.0), ours.usage["gateway"].cores
        checks = {
            f"p50 <= {limits.p50_ms} ms": limits.p50_ms is None or delay <= limits.p50_ms,
            f"p99 <= {limits.p99_ms} ms": limits.p99_ms is None or late <= limits.p99_ms,
            f"p50 <= {limits.ratio} x by hand": limits.ratio is None or self.ratio <= limits.ratio,
            f"p50 <= by hand + {limits.above_ms} ms": limits.above_ms is None or above <= limits.above_ms,
            f"gateway <= {limits.cores} core": limits.cores is None or cores <= limits.cores,
            f">= {limits.least_per_s} chunks/s": limits.least_per_s is None or ours.per_s >= limits.least_per_s,
            "none lost": ours.lost == 0,
            "each in its place": ours.misplaced == 0,
        }
        return [name for name, holds in checks.items() if not holds]

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.row.key,
            "title": self.row.title,
            "ratio": self.ratio,
            "broken": list(self.broken),
            "ours": asdict(self.ours),
            "hand": asdict(self.hand),
            "calibrationMs": list(self.calibration_ms),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows. Exit code 0 when they were measured, whatever the verdicts."""
    chosen = parser("tests.benchmarks.streams", __doc__, ROWS, 1).parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        lines = asyncio.run(_measure(chosen.rows, chosen.rounds))
    except InnkeeperError as error:
        print(error.message, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    show(lines, chosen.rounds, console)
    if chosen.file is not None:
        chosen.file.write_text(json.dumps([line.to_json() for line in lines], indent=1) + "\n")
        console.print(f"written to {chosen.file}")
    return 0


async def _measure(rows: Sequence[Row], rounds: int) -> list[Line]:
    """Start everything, measure row by row, stop everything, on Ctrl-C and SIGTERM too."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="innkeeper-streams-") as name:
        folder = Path(name)
        async with stream_sides(folder, free_port()) as sides:
            for side in sides.values():
                await _sample(side, Row("warm", "", Flow(25, PACE_S, relay=True)), folder)
            return [await _line(row, sides, rounds, folder) for row in rows]


async def _line(row: Row, sides: Mapping[str, Side], rounds: int, folder: Path) -> Line:
    """The sides take turns, so that both meet the same disturbances."""
    found: dict[str, list[Outcome]] = {name: [] for name in sides}
    before = calibrate()
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            found[name].append(await _sample(sides[name], row, folder))
            print(f"{row.key}: {name} {number + 1}/{rounds}", file=sys.stderr)
    return Line(row, Outcome.of(found["ours"]), Outcome.of(found["hand"]), (before, calibrate()))


async def _sample(side: Side, row: Row, folder: Path) -> Outcome:
    gc.collect()
    outcome = await (_paced(side, row, folder) if row.flow.pause else _burst(side, row))
    await side.settle()
    return outcome


async def _burst(side: Side, row: Row) -> Outcome:
    meter = Meter(side.pids)
    async with asyncio.timeout(60):
        seconds = await side.burst_s(row.flow)
    return Outcome(None, None, row.flow.count / seconds, 0, 0, meter.read())


async def _paced(side: Side, row: Row, folder: Path) -> Outcome:
    """All streams are opened, then told to begin together, each a little apart from the others."""
    go = folder / f"go-{row.key}-{monotonic():.3f}"
    tally = Tally(skip=int(WARM_S / PACE_S))
    ready = asyncio.Semaphore(0)
    async with asyncio.timeout(READY_S + row.flow.count * row.flow.pause * 4), asyncio.TaskGroup() as clients:
        runs = await asyncio.gather(*(side.start(row.flow, str(go)) for _ in range(row.streams)))
        for run in runs:
            clients.create_task(_client(side, run, row.flow, tally, ready))
        for _ in runs:
            await ready.acquire()
        meter = Meter(side.pids)
        _tell(go, monotonic() + LEAD_S)
    lost = row.streams * row.flow.count - tally.received
    p50, p99 = tally.delays.quantile(0.5), tally.delays.quantile(0.99)
    return Outcome(p50, p99, row.streams / row.flow.pause, lost, tally.misplaced, meter.read())


async def _client(side: Side, run: str, flow: Flow, tally: Tally, ready: asyncio.Semaphore) -> None:
    expected = 0
    async for content in side.follow(run, flow):
        if content == "ready":
            ready.release()
        else:
            expected = tally.take(content, expected)


def _tell(go: Path, begin: float) -> None:
    # Renamed, so that nobody reads half of it.
    draft = go.with_suffix(".draft")
    draft.write_text(str(begin))
    draft.rename(go)


def show(lines: Sequence[Line], rounds: int, console: Console) -> None:
    """Print the figures, then what each process took."""
    table = Table(title=f"Streams of {1 / PACE_S:g} chunks/s, logged first, beside the way by hand; {rounds} round(s)")
    for name in ("row", "", "ours", "by hand", "ratio", "lost", "verdict", "loop ms"):
        table.add_column(name, justify="left" if name in ("row", "", "verdict") else "right")
    for line in lines:
        colour = "red" if line.broken else "green"
        verdict = f"[{colour}]{'over: ' + ', '.join(line.broken) if line.broken else 'holds'}[/]"
        lost = f"{line.ours.lost} / {line.hand.lost}"
        loop = "{:.0f} {:.0f}".format(*line.calibration_ms)
        figures = (_figures(line.ours), _figures(line.hand), f"{line.ratio:.2f}")
        table.add_row(line.row.key, line.row.title, *figures, lost, verdict, loop)
    console.print(table)
    console.print(_processes(lines))


def _figures(outcome: Outcome) -> str:
    if outcome.p50_ms is None or outcome.p99_ms is None:
        return f"{outcome.per_s:,.0f}/s"
    return f"p50 {outcome.p50_ms:.2f}\np99 {outcome.p99_ms:.2f} ms"


def _processes(lines: Sequence[Line]) -> Table:
    table = Table(title="Processes: cores, MB")
    names = {"ours": list(lines[0].ours.usage), "hand": list(lines[0].hand.usage)}
    table.add_column("row")
    for side, found in names.items():
        for name in found:
            table.add_column(f"{name}\n({side})", justify="right")
    for line in lines:
        usages = [
            *(line.ours.usage[name] for name in names["ours"]),
            *(line.hand.usage[name] for name in names["hand"]),
        ]
        table.add_row(line.row.key, *(f"{each.cores:.2f}, {each.megabytes:.0f}" for each in usages))
    return table


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


if __name__ == "__main__":
    sys.exit(main())
