"""The rows of streams, beside the shortest way by hand.

By hand, a Temporal activity sends each chunk over one WebSocket to a small Starlette process that passes it on to the
client, without a log: nothing survives anything. The ratio is the price of durability.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from time import monotonic

from innkeeper.gateway.process.supervisor import ChildSpec
from tests.benchmarks.cpu import Work, cpu_parts
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Check, Done, Line, Part, Say, Spread, at_least, at_most, may_take_too_long
from tests.benchmarks.stack import children
from tests.benchmarks.streams_measure import Meter, Tally, Usage
from tests.benchmarks.streams_sides import Flow, Side, stream_sides

PACE_S = 0.02
SECONDS = 5.0
READY_S = 45.0
LEAD_S = 0.5
ROUNDS = 5
COUNT = int(SECONDS / PACE_S)
TICKS = Flow(COUNT, PACE_S)


@dataclass(frozen=True)
class Limits:
    """What to hold.

    Attributes:
        ratio: To the way by hand.
        gap_ms: The longest time in which no client gets any chunk.
        least_per_s: Chunks of a relay.
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    ratio: float | None = None
    gap_ms: float | None = None
    least_per_s: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; `streams` flow at the same time, `busy`: beside a process that never rests.

    Attributes:
        side: `recorded` is the way by hand that commits each chunk before it passes it on.
    """

    key: str
    title: str
    flow: Flow
    streams: int = 1
    limits: Limits = Limits()
    busy: bool = False
    side: str = "ours"


BATCHED = Flow(COUNT, PACE_S, batch=True)
STALL_MS = 1_000
"""A load that is too much may make chunks late. When nobody gets any for so long, everything stands still."""
RELAYED = Flow(COUNT, PACE_S, relay=True)
FULL_SPEED = Flow(40_000, 0, relay=True)
ROWS = (
    Row("ws-1", "1 stream to a client", TICKS, 1, Limits(p50_ms=2)),
    Row("ws-20", "20 streams", TICKS, 20, Limits(p50_ms=1.5, p99_ms=6)),
    Row("ws-100-batch", "100 streams, batched frames", BATCHED, 100, Limits(p50_ms=40, p99_ms=150)),
    Row("ws-150-batch", "150 streams, batched frames", BATCHED, 150, Limits(p50_ms=40, p99_ms=150)),
    Row("ws-200-batch", "200 streams, batched frames", BATCHED, 200, Limits(p50_ms=40, p99_ms=150)),
    Row("ws-200", "200 streams, a frame per chunk", TICKS, 200, Limits(p50_ms=200)),
    Row("ws-200-busy", "200 streams, batched, beside a busy process", BATCHED, 200, Limits(gap_ms=STALL_MS), busy=True),
    Row("ws-300-batch", "300 streams, batched frames", BATCHED, 300, Limits(gap_ms=STALL_MS)),
    *(
        Row(f"ws-{count}-floor", f"{count} streams by hand, recorded", TICKS, count, side="recorded")
        for count in (1, 20, 200)
    ),
    Row("relay-50", "through a relay, 50 chunks/s", RELAYED, 1, Limits(p50_ms=8)),
    Row("relay-max", "through a relay, as fast as it goes", FULL_SPEED, 1, Limits(ratio=1.5, least_per_s=10_000)),
)
BUSY = ChildSpec("busy", (sys.executable, "-c", "while True: pass"))
WARM_UP = Row("warm", "", Flow(25, PACE_S, relay=True))


@dataclass(frozen=True)
class Outcome:
    """One side of a row in one round.

    Attributes:
        p50_ms, p99_ms: Of the delays of chunks; None for a stream at full speed.
        longest_gap_ms: The longest time in which no client got any chunk.
        delays: Buckets of `Histogram`.
    """

    p50_ms: float | None
    p99_ms: float | None
    per_s: float
    lost: int
    misplaced: int
    usage: Mapping[str, Usage]
    longest_gap_ms: float = 0.0
    delays: Mapping[int, int] = field(default_factory=dict)


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    """Start everything, measure row by row, stop everything."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-streams-") as name:
        folder = Path(name)
        async with stream_sides(folder) as sides:
            for side in sides.values():
                await sample(side, WARM_UP, folder)
            for row in rows:
                say(row.key)
                with may_take_too_long(row.key, say):
                    done(await _line(row, sides, rounds or ROUNDS, folder))


async def _line(row: Row, sides: Mapping[str, Side], rounds: int, folder: Path) -> Line:
    """The sides take turns, so that both meet the same disturbances."""
    names = (row.side, "hand")
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    before = calibrate()
    for number in range(rounds):
        for name in names[:: -1 if number % 2 else 1]:
            found[name].append(await sample(sides[name], row, folder))
    return line_of(row, found[row.side], found["hand"], (before, calibrate()))


def line_of(row: Row, ours: Sequence[Outcome], hand: Sequence[Outcome], calibration: tuple[float, float]) -> Line:
    """Middle delays in ms, or chunks per second at full speed; then the ratio is still that of times.

    What was lost or misplaced in all rounds together counts.
    """
    paced = row.flow.pause > 0
    figures, counterpart = ([_figure(each) for each in side] for side in (ours, hand))
    ratio = Spread.of_ratios(figures, counterpart) if paced else Spread.of_ratios(counterpart, figures)
    passes_on = "gateway" if row.side == "ours" else "switch"
    cores = fmean(each.usage[passes_on].cores for each in ours)
    return Line(
        key=row.key,
        title=row.title,
        unit="ms p50" if paced else "chunks/s",
        ours=Spread.of(figures),
        base=Spread.of(counterpart),
        ratio=ratio,
        checks=_checks(row, ours, ratio.median),
        further={**(_further(ours, hand) if paced else {}), f"{passes_on} cores": cores},
        calibration=calibration,
        parts=[*_cpu(row, row.side, ours), *_cpu(row, "by hand", hand)],
        samples={"ours": [asdict(each) for each in ours], "hand": [asdict(each) for each in hand]},
    )


def _cpu(row: Row, side: str, outcomes: Sequence[Outcome]) -> list[Part]:
    seconds = [{name: usage.cpu_s for name, usage in each.usage.items()} for each in outcomes]
    return cpu_parts(row.key, side, seconds, Work(row.streams, chunks=row.streams * row.flow.count))


def _further(ours: Sequence[Outcome], hand: Sequence[Outcome]) -> dict[str, float]:
    return {
        "p99": median(map(_late, ours)),
        "p99 by hand": median(map(_late, hand)),
        "longest gap": _longest_gap_ms(ours),
        "longest gap by hand": _longest_gap_ms(hand),
        "lost": float(sum(each.lost for each in ours)),
        "lost by hand": float(sum(each.lost for each in hand)),
    }


def _checks(row: Row, ours: Sequence[Outcome], ratio: float) -> tuple[Check, ...]:
    limits, middle = row.limits, median(map(_figure, ours))
    return (
        *at_most("p50", middle, limits.p50_ms, "ms"),
        *at_most("p99", median(map(_late, ours)), limits.p99_ms, "ms"),
        *at_most("ratio", ratio, limits.ratio),
        *at_most("longest gap", _longest_gap_ms(ours), limits.gap_ms, "ms"),
        *at_least("speed", middle, limits.least_per_s, "chunks/s"),
        *(() if not row.flow.pause else (Check("none lost", not any(each.lost for each in ours)),)),
        *(() if not row.flow.pause else (Check("in order", not any(each.misplaced for each in ours)),)),
    )


def _longest_gap_ms(outcomes: Sequence[Outcome]) -> float:
    """Of all rounds: a stall in one of them is one."""
    return max(each.longest_gap_ms for each in outcomes)


def _figure(outcome: Outcome) -> float:
    return outcome.per_s if outcome.p50_ms is None else outcome.p50_ms


def _late(outcome: Outcome) -> float:
    return outcome.p99_ms or 0.0


async def sample(side: Side, row: Row, folder: Path) -> Outcome:
    gc.collect()
    async with children(folder, {"busy": BUSY} if row.busy else {}):
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
    tally = Tally()
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
    per_s = row.streams / row.flow.pause
    buckets = dict(tally.delays.buckets)
    return Outcome(p50, p99, per_s, lost, tally.misplaced, meter.read(), tally.longest_gap_ms, buckets)


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
