"""The rows of a chunk's way: how old chunks are at each hop from the worker to the client.

The processes of these rows note what passes (`hops_trace`), which costs them some time: the rows of `streams` are
those that count.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks import hops_trace, streams
from tests.benchmarks.hops_trace import CLIENT, HOPS, WRITE_EVERY_S
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Done, Line, Part, Say, Spread, may_take_too_long
from tests.benchmarks.streams_measure import Histogram
from tests.benchmarks.streams_sides import Flow, Side, Tracing, stream_sides

ROUNDS = 3
TABLE = "Age of a chunk at each hop, ms"
TRACING = Path(__file__).resolve().parent / "tracing"


@dataclass(frozen=True)
class Row:
    """`streams` of 50 chunks/s each flow at the same time."""

    key: str
    title: str
    streams: int


ROWS = (
    Row("hops-1", "hops of the chunks of 1 stream", 1),
    Row("hops-20", "hops of the chunks of 20 streams", 20),
    Row("hops-200", "hops of the chunks of 200 streams, batched frames", 200),
)


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    """Start a stack whose processes note their hops, measure row by row, stop everything."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-hops-") as name:
        folder = Path(name)
        notes = folder / "hops"
        notes.mkdir()
        tracing = Tracing(TRACING, {"BENCH_HOPS": str(notes)})
        async with stream_sides(folder, tracing) as sides:
            ours = sides["ours"]
            await streams.sample(ours, streams.WARM_UP, folder)
            for row in rows:
                say(row.key)
                with may_take_too_long(row.key, say):
                    done(await _line(row, ours, rounds or ROUNDS, (folder, notes)))


async def _line(row: Row, side: Side, rounds: int, folders: tuple[Path, Path]) -> Line:
    folder, notes = folders
    before = calibrate()
    earlier = await _noted(notes)
    flow = Flow(streams.COUNT, streams.PACE_S, batch=row.streams > 20)
    outcomes = [await streams.sample(side, streams.Row(row.key, "", flow, row.streams), folder) for _ in range(rounds)]
    hops = since(earlier, await _noted(notes))
    hops[CLIENT] = Histogram(sum((Counter(outcome.delays) for outcome in outcomes), Counter()))
    return Line(
        key=row.key,
        title=row.title,
        unit="ms p50",
        ours=Spread.of([outcome.p50_ms or 0.0 for outcome in outcomes]),
        further={"p99": hops[CLIENT].quantile(0.99), "lost": float(sum(outcome.lost for outcome in outcomes))},
        parts=parts_of(row.key, hops),
        calibration=(before, calibrate()),
        samples={
            "ours": [asdict(outcome) for outcome in outcomes],
            "hops": [{"hop": hop, "buckets": sorted(hops[hop].buckets.items())} for hop in HOPS if hop in hops],
        },
    )


async def _noted(notes: Path) -> dict[str, Counter[int]]:
    await asyncio.sleep(2 * WRITE_EVERY_S)
    return hops_trace.read(notes)


def since(before: Mapping[str, Counter[int]], after: Mapping[str, Counter[int]]) -> dict[str, Histogram]:
    """What was noted between two readings."""
    return {hop: Histogram(buckets - before.get(hop, Counter())) for hop, buckets in after.items()}


def parts_of(row: str, hops: Mapping[str, Histogram]) -> list[Part]:
    """A line per hop, in the order of the way; one that nothing passed is there with no figure."""
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "greatest": 1.0}
    return [
        Part(TABLE, row, hop, {name: hops[hop].quantile(share) for name, share in quantiles.items()})
        if hop in hops and hops[hop].count
        else Part(TABLE, row, hop, {})
        for hop in HOPS
    ]
